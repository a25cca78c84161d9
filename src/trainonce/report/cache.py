"""The job cache, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trainonce.report.sentences import few
from trainonce.report.times import duration
from trainonce.run.entries import Entry, Leftover
from trainonce.run.prune import Pruning


def entries_view(
    home: Path, found: Sequence[Entry], left: Sequence[Leftover], now: float
) -> RenderableType:
    """The finished jobs as a table, and how many bytes they are together."""
    whole = sum(entry.size for entry in found)
    seconds = sum(entry.seconds or 0.0 for entry in found)
    text = f"{len(found)} jobs, {size(whole)}, {duration(seconds)} of work in {home}"
    if left:
        text += f"; unfinished: {len(left)}, {size(sum(one.size for one in left))}"
    return Group(_table("Finished jobs", found, now), Text(text))


def pruning_view(pruning: Pruning, dropped: Sequence[str], now: float) -> RenderableType:
    """What goes, and why the rest of what was asked for stays."""
    parts: list[RenderableType] = []
    if pruning.jobs:
        parts.append(_table("Dropped" if dropped else "Would be dropped", pruning.jobs, now))
    for one in pruning.work:
        what = ", ".join(one.jobs) or "nothing saved"
        parts.append(Text(f"left of a job: {one.folder.name}, {size(one.size)} ({what})"))
    parts += [Text(f"{key} stays: {why}") for key, why in pruning.kept.items()]
    if dropped:
        missed = len(pruning.jobs) + len(pruning.work) - len(dropped)
        late = f"; {missed} began to run meanwhile and stay" if missed else ""
        parts.append(Text(f"dropped {len(dropped)}{late}"))
    count = len(pruning.jobs) + len(pruning.work)
    parts.append(Text(f"{count} to drop, {size(pruning.size)}" if count else "nothing to drop"))
    return Group(*parts)


def _table(title: str, found: Sequence[Entry], now: float) -> Table:
    table = Table(title=title, title_justify="left", expand=False)
    for name in ("job", "kind", "study", "questions", "size", "used", "took"):
        right = name in ("size", "used", "took")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "job")
    for entry in found:
        table.add_row(
            entry.key,
            entry.kind,
            Text(", ".join(entry.studies)),
            Text(few(entry.questions)),
            size(entry.size),
            f"{duration(max(0.0, now - entry.used))} ago",
            "" if entry.seconds is None else duration(entry.seconds),
        )
    return table


def size(count: int) -> str:
    """Bytes as a person says them."""
    for name, unit in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"
