"""What a checkpoint or a job is, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trainonce.run.inspection import Inspection


def inspection_view(found: Inspection) -> RenderableType:
    """How far it is, whether it is whole, and what it has seen of each question."""
    left_out = ", ".join(map(str, found.left_out[:10])) + (", ..." * (len(found.left_out) > 10))
    lines = [
        ("job", f"{found.job} ({found.kind}, seed {found.seed})"),
        ("folder", str(found.place)),
        ("step", f"{found.step:,} of {found.steps:,}, {found.tokens_seen:,} tokens seen"),
        ("left out", f"{len(found.left_out)} updates, at steps {left_out}" if left_out else "none"),
        ("plan", found.plan or "not recorded"),
        ("parents", ", ".join(found.parents) or "none"),
        ("hash", found.hash or "none"),
        ("checksums", found.damage or "all hold"),
    ]
    facts = Table.grid(padding=(0, 2))
    for name, value in lines:
        style = "bold red" if name == "checksums" and found.damage else ""
        facts.add_row(Text(name, style="bold"), Text(value, style=style))
    return Group(Text(f"A {found.what}", style="bold"), facts, Text(""), _ledger(found))


def _ledger(found: Inspection) -> RenderableType:
    if found.ledger is None:
        return Text("The corpus is not in this cache, so nothing can be said of insertions.")
    if not found.ledger:
        return Text("Nothing was inserted into this run.")
    table = Table(title="Insertions seen", title_justify="left", expand=False)
    for name in ("question", "method", "dose", "items", "seen", "of", "first step", "last step"):
        table.add_column(name, justify="left" if name in ("question", "method") else "right")
    for question in found.ledger:
        for row in question.doses:
            numbers = (row.dose, row.items, row.seen, row.copies, row.first, row.last)
            shown = ("" if number is None else f"{number:,}" for number in numbers)
            table.add_row(Text(question.question), question.method, *shown)
    return table
