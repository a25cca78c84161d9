"""What a plan could tell with more items, seeds or steps, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trainonce.plan.plan import Plan
from trainonce.plan.sensitivity import MOST_ITEMS, MOST_SEEDS, MOST_STEPS, Change, Sensitivity
from trainonce.report.sentences import detectable, number


def precision_view(plan: Plan, found: Sequence[Sensitivity]) -> RenderableType:
    """The smallest detectable effects of designs, and what would be enough for each question.

    Args:
        plan: the plan.
        found: of its questions.
    """
    now = len(plan.seeds)
    seeds = list(dict.fromkeys((now + 1, 2 * now, 4 * now)))
    columns = [("items", 2), ("items", 4), *(("seeds", number) for number in seeds)]
    columns += [("steps", 2), ("steps", 4)]
    table = Table(title="Smallest detectable effects", title_justify="left", expand=False)
    table.add_column("question", overflow="fold")
    for name in ("wanted", "planned", *(_heading(what, by) for what, by in columns)):
        table.add_column(name, justify="right")
    for one in found:
        cells = [_cell(one.changes, what, by) for what, by in columns]
        table.add_row(Text(one.question), number(one.smallest), detectable(one.detectable), *cells)
    said = [Text(precision_sentence(one)) for one in found]
    notes = (
        "Found with 80 % power at the corrected level. In brackets: more tokens than allow_changed "
        "has room for. Longer runs make room for more items; costs count the checks too.",
    )
    return Group(
        Text(plan.study, style="bold"), Text(""), table, Text(""), *said, *map(Text, notes)
    )


def precision_sentence(found: Sensitivity) -> str:
    """Whether a question finds what it is asked to find, and the cheapest change if not."""
    spread = f"spread {number(found.spread.value)}, {found.spread.source}"
    smallest = number(found.smallest)
    if found.reached:
        return f"{found.question}: finds the wanted {smallest} as planned ({spread})."
    if found.cheapest is None:
        reason = f"up to {MOST_SEEDS} seeds"
        if found.unit == "item":
            reason += f", {MOST_ITEMS} times the items or {MOST_STEPS} times the steps"
        return (
            f"{found.question}: no change within reason finds {smallest} ({reason}; {spread}). Ask "
            "for a larger `smallest_effect`, or measure an outcome that varies less."
        )
    return f"{found.question}: {change_sentence(found.cheapest)} finds {smallest} ({spread})."


def change_sentence(change: Change) -> str:
    """A change with what it costs."""
    text = f"{change.what}: {change.before} -> {change.after}"
    if change.what == "steps":
        text += f" with {change.items} items"
    return f"{text} (+{change.run_equivalents:.1f} run-equivalents)"


def _heading(what: str, by: int) -> str:
    return f"{by} seeds" if what == "seeds" else f"{what} x{by}"


def _cell(changes: Sequence[Change], what: str, by: int) -> str:
    for one in changes:
        if one.what == what and (one.after == by if what == "seeds" else _times(one, by)):
            return detectable(one.detectable) if one.fits else f"({detectable(one.detectable)})"
    return "-"


def _times(change: Change, by: int) -> bool:
    return change.after == by * change.before
