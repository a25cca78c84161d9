"""What a dependence test found, for people: a matrix in a terminal, a heat map on the page."""

from __future__ import annotations

from html import escape

import plotly.graph_objects as go
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trainonce.analysis.dependence.contrasts import Decision, Reading
from trainonce.analysis.dependence.results import OTHERS, Cell, Dependence, Interaction
from trainonce.plan.dependence import DependencePlan
from trainonce.report.figures import blank
from trainonce.report.sentences import interval, number, p_value

_STYLES = {
    Decision.SHARE: "green",
    Decision.SPLIT: "bold red",
    Decision.CANNOT_TELL: "yellow",
}
_MARKS = {Decision.SHARE: "=", Decision.SPLIT: "!", Decision.CANNOT_TELL: "?", None: ""}
_MOST_COLUMNS = 4  # with numbers in them, that fit a terminal
_MOST_PAIRS = 12
_MOST_INTERACTIONS = 5  # that a terminal shows; JSON and the page have all


def matrix_view(found: Dependence) -> RenderableType:
    """The matrix, a decision for each pair, and what it rests on."""
    table = _marks(found) if len(found.experiments) > _MOST_COLUMNS else _numbers(found)
    lines = [Text(sentence) for sentence in sentences(found)]
    decided = Table(title="Pairs", title_justify="left")
    for column in ("decision", "pairs"):
        decided.add_column(column)
    for decision in (Decision.SPLIT, Decision.SHARE, Decision.CANNOT_TELL):
        pairs = [f"{one.first} and {one.second}" for one in found.pairs if one.decision is decision]
        told = "; ".join(pairs)
        if decision is Decision.CANNOT_TELL and len(pairs) > _MOST_PAIRS:
            told = f"{len(pairs)} pairs"
        if pairs:
            decided.add_row(Text(decision.value, style=_STYLES[decision]), Text(told))
    shown = sorted(found.interactions, key=lambda one: one.p_adjusted)[:_MOST_INTERACTIONS]
    mixed = [Text(interaction_sentence(one)) for one in shown]
    return Group(table, Text(""), decided, *([Text(""), *mixed] if mixed else []), Text(""), *lines)


def _numbers(found: Dependence) -> Table:
    """What each experiment does to each one's items."""
    table = Table(title="Change of the outcome (of the effect)", title_justify="left")
    table.add_column("present", no_wrap=True)
    for one in found.experiments:
        table.add_column(Text(f"{one.id}: {one.outcome}"), justify="right")
    for name in (*(one.id for one in found.experiments), OTHERS):
        cells = [found.cell(name, one.id) for one in found.experiments]
        table.add_row(Text(name), *(_cell_text(cell) for cell in cells))
    return table


def _marks(found: Dependence) -> Table:
    """The same where there is no room for numbers; JSON and the page have them."""
    table = Table(title="What is present (row), and whose items it changes", title_justify="left")
    table.add_column("present", no_wrap=True)
    for place, _ in enumerate(found.experiments, start=1):
        table.add_column(str(place), justify="center")
    names = [one.id for one in found.experiments]
    for place, name in enumerate((*names, OTHERS), start=1):
        cells = [found.cell(name, measured) for measured in names]
        marks = [
            Text(_MARKS[cell.decision], style=_STYLES[cell.decision] if cell.decision else "")
            for cell in cells
        ]
        table.add_row(Text(f"{place} {name}" if name != OTHERS else name), *marks)
    return table


def sentences(found: Dependence) -> list[str]:
    """What was done, how to read it, and what it does not say."""
    seeds = ", ".join(map(str, found.seeds))
    layout = (
        f"each experiment alone, all and none: {found.runs} runs a seed"
        if found.layout == "alone"
        else f"a factorial of {found.runs} runs a seed" + _design_words(found)
    )
    read = "; ".join(f"{one.id} {one.inside} of {one.copies}" for one in found.experiments)
    nothing = [one.id for one in found.experiments if one.inside == 0]
    absent = f" {', '.join(nothing)} inserts nothing there: that row says nothing."
    margins = "; ".join(f"{one.id} {number(one.margin)}" for one in found.experiments)
    return [
        f"Forks of the {found.parent} from step {found.start} to {found.end} of {found.steps} at "
        f"seed {seeds}; {layout}. {found.run_equivalents:.2f} run-equivalents beside it.",
        f"= share: both intervals lie within the smallest effect of interest ({margins}). "
        "! split: corrected p under 0.05, and they do not. ? cannot tell.",
        f"The forks read these of the copies that the whole run inserts: {read}."
        + (absent if nothing else "")
        + " What is found is of this stretch.",
        *_more_items(found),
        *(
            f"Interactions of three and more on the items of {one.measured} lie within "
            f"{number(one.level)} (effect: {number(one.answer)}), by {one.columns} contrast"
            f"{'s' * (one.columns > 1)}."
            for one in found.higher
        ),
    ]


def _more_items(found: Dependence) -> list[str]:
    """How many items of each experiment could tell what these could not."""
    units = {one.id: one.units for one in found.experiments}
    needed = {name: found.units_needed(name) for name in units}
    told = [f"{name} {more} in place of {units[name]}" for name, more in needed.items() if more]
    return [f"Items that could tell, at the spread seen: {'; '.join(told)}."] if told else []


def interaction_sentence(one: Interaction) -> str:
    """An interaction with the pairs that it cannot be told from."""
    names = " or ".join(f"{first} and {second}" for first, second in one.pairs)
    return (
        f"{names} on the items of {one.measured}: {_reading(one.change.level)}; effect "
        f"{_reading(one.change.answer)}; corrected {p_value(one.p_adjusted)}."
    )


def cell_sentence(cell: Cell) -> str:
    """One cell in words."""
    corrected = "" if cell.p_adjusted is None else f", corrected {p_value(cell.p_adjusted)}"
    told = "" if cell.decision is None else f": {cell.decision.value}"
    return (
        f"{cell.present} on the items of {cell.measured}: outcome {_reading(cell.change.level)}, "
        f"effect {_reading(cell.change.answer)}{corrected}{told}"
    )


def cost_sentence(found: DependencePlan) -> str:
    """What a dependence test takes, and what of it the study's own trunk needs anyway."""
    plan = found.plan
    return (
        f"{plan.checks_run_equivalents:.2f} run-equivalents for {len(found.runs)} runs a seed "
        f"from step {found.start} to {found.end}, beside {plan.run_equivalents:.2f} of the "
        f"{found.parent} itself, which goes on from there. A {found.parent} that is finished and "
        "kept no state there trains that part again."
    )


def heat_map(found: Dependence) -> go.Figure:
    """The larger change of each cell, in smallest effects of interest; darkest at two of them."""
    names = [one.id for one in found.experiments]
    rows = [*names, OTHERS]
    margins = {one.id: one.margin for one in found.experiments}
    grid = [[found.cell(row, name) for name in names] for row in rows]
    figure = blank(60 + 44 * len(rows))
    figure.add_trace(
        go.Heatmap(
            x=[escape(name) for name in names],
            y=[escape(row) for row in rows],
            z=[[_shift(cell) / margins[cell.measured] for cell in row] for row in grid],
            text=[[escape(_short(cell)) for cell in row] for row in grid],
            customdata=[[escape(cell_sentence(cell)) for cell in row] for row in grid],
            hovertemplate="%{customdata}<extra></extra>",
            texttemplate="%{text}",
            colorscale=[[0, "var(--paper)"], [1, "var(--faint)"]],
            zmin=0,
            zmax=2,
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    figure.update_xaxes(title_text="items of", side="bottom", showgrid=False)
    figure.update_yaxes(title_text="present", autorange="reversed", showgrid=False)
    figure.update_layout(font_color="var(--ink)")
    return figure


def matrix_in_words(found: Dependence) -> str:
    """What the heat map shows, for those who do not see it. Not escaped."""
    cells = [cell for cell in (*found.cells, *found.joint) if cell.decision is not None]
    return f"What the presence of one experiment changes. {'; '.join(map(cell_sentence, cells))}."


def _design_words(found: Dependence) -> str:
    if found.resolution is None:
        return ", in which nothing is mixed"
    by = f" ({'; '.join(found.generators)})" if found.generators else ""
    mixed = (
        "no main effect is mixed with a pair, pairs with each other"
        if found.resolution == 4
        else "neither main effects nor pairs are mixed with each other"
    )
    return f" of resolution {found.resolution}{by}: {mixed}"


def _cell_text(cell: Cell) -> Text:
    return Text(_short(cell), style=_STYLES[cell.decision] if cell.decision else "dim")


def _short(cell: Cell) -> str:
    level, answer = cell.change.level.value, cell.change.answer.value
    return f"{number(level)} ({number(answer)}) {_MARKS[cell.decision]}".strip()


def _shift(cell: Cell) -> float:
    return max(abs(cell.change.level.value), abs(cell.change.answer.value))


def _reading(reading: Reading) -> str:
    return f"{number(reading.value)} ({interval(reading.low, reading.high)})"
