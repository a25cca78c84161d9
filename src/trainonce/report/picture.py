"""A plan as a picture: the trunk, what leaves it, what runs beside it, and what is made of these.

Steps go from left to right, one line a branch; a line's colour is the strategy that it serves, and
what tests the sharing is dashed. The trunk has a strand a seed, and under it a dotted line for each
question whose items are inserted into it, where they may be. A reader who points at a line, at a
place where a state is kept or something measured, or at an end, is told of the jobs there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.report.branches import Branch, branches
from trainonce.report.bundles import bundle_of, heading
from trainonce.report.sentences import short
from trainonce.study.questions import ItemQuestion
from trainonce.study.schema import AA

_LEFT, _AXIS, _MERGE, _WIDTH = 28, 520, 64, 1040
_LABEL = _LEFT + _AXIS + _MERGE + 20
_TOP, _HEAD, _LINE, _GAP, _BEND = 84, 17, 15, 11, 10
_CLOSE, _CLOSE_MADE = 7, 15
FEWEST_STEPS = 4  # that an axis is drawn for: a task's trials count none
_MOST_BRANCHES, _MOST_TOLD = 60, 12
_STRAND, _MOST_STRANDS, _MOST_THREADS = 3.5, 6, 12

LIGHT = {
    "ink": "#1c1b19",
    "quiet": "#5d5a54",
    "hair": "#e2ded5",
    "paper": "#fdfcf9",
    "check": "#8d887e",
    "multiplex": "#1f5a94",
    "fork": "#17693f",
    "replicate": "#9a6200",
    "average": "#7a3b8f",
    "extrapolate": "#b03a2e",
    "emulate": "#0b7285",
}
DARK = {
    "ink": "#e9e6df",
    "quiet": "#a8a49b",
    "hair": "#34322e",
    "paper": "#161614",
    "check": "#8b877f",
    "multiplex": "#86b7ea",
    "fork": "#7fcda0",
    "replicate": "#e2b65f",
    "average": "#cf9be3",
    "extrapolate": "#f0938a",
    "emulate": "#6fcbdc",
}


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


STYLE = f"""
.plan {{ {_variables(LIGHT)}
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial,
    sans-serif; }}
@media screen and (prefers-color-scheme: dark) {{ .plan {{ {_variables(DARK)} }} }}
"""
STYLE += """
.plan text { fill: var(--ink); font-size: 13px; }
.plan .quiet { fill: var(--quiet); font-size: 12px; }
.plan .title { font-size: 16px; font-weight: 600; }
.plan .name { font-weight: 600; }
.plan .run { fill: none; stroke-linecap: round; stroke-width: 3.5; }
.plan .trunk { stroke-width: 7; }
.plan .check { stroke-dasharray: 2 8; }
.plan .grid { stroke: var(--hair); }
.plan .merge { fill: none; stroke-linecap: round; stroke-opacity: 0.55; stroke-width: 2; }
.plan .made { fill: var(--paper); stroke-width: 2.5; }
.plan .left { fill: var(--paper); stroke-width: 2; }
.plan .stem { fill: none; stroke: var(--check); stroke-width: 2; }
.plan .strand { stroke: var(--paper); stroke-width: 1; }
.plan .thread { fill: none; stroke-dasharray: 0.1 7; stroke-linecap: round; stroke-width: 3; }
.plan .tick { stroke-linecap: round; stroke-width: 2.5; }
.plan g:hover .run, .plan g:hover .merge { stroke-opacity: 1; filter: brightness(1.25); }
"""


@dataclass(frozen=True)
class _Thread:
    """A question whose items are inserted into a run: between which shares of it."""

    question: str
    told: str
    window: tuple[float, float]


@dataclass(frozen=True)
class _Row:
    number: int
    branch: Branch
    y: float
    words: tuple[str, ...]
    threads: tuple[_Thread, ...] = ()


def plan_svg(plan: Plan, reached: Mapping[str, float] | None = None) -> str:
    """The picture as an SVG document, in light or dark as the reader has it.

    Args:
        plan: what to draw.
        reached: by the name of a branch, the step that its runs have come to. Where it is given,
            lines are faint from there on, and what changes carries the name that it has on the
            live page.
    """
    drawn = branches(plan)
    left_out = len(drawn) - _MOST_BRANCHES
    rows = _rows(plan, drawn[:_MOST_BRANCHES])
    known = {row.branch.name: row for row in rows}
    steps = max((branch.end for branch in drawn), default=1)
    bottom = max((r.y + _LINE * max(0, len(r.words) - 1) for r in rows), default=_TOP) + 2 * _GAP
    height = round(bottom + 52)
    asked = sum(planned.question.id != AA for planned in plan.questions)
    one_run = plan.one_run_a_question
    head = (
        f"{asked} question{'s' * (asked != 1)}: {plan.run_equivalents:.1f} run-equivalents in "
        f"place of {one_run:.1f} with one run a question"
    )
    seeds = len(plan.seeds)
    right = "; steps go to the right" * (steps >= FEWEST_STEPS)
    sub = f"Each line is a run{f', at each of {seeds} seeds' * (seeds > 1)}{right}."
    if left_out > 0:
        sub += f" {left_out} more lines are not drawn."
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="plan" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img">',
            f"<title>{escape(f'The plan of {plan.study}')}</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="var(--paper)"/>',
            _text(_LEFT, 28, plan.study, "title"),
            _text(_LEFT, 48, head),
            _text(_LEFT, 65, sub, "quiet"),
            *_axis(steps, bottom),
            *_stems(rows, known, steps),
            *(part for row in rows for part in _stitches(row, steps)),
            *(part for row in rows for part in _run(row, known, steps, reached)),
            *(part for row in rows for part in _words(row)),
            *_legend(drawn, height),
            "</svg>",
        ]
    )


def ways(plan: Plan, reached: Mapping[str, float]) -> list[str]:
    """For each line of the picture, the path as far as its runs have come, empty for none."""
    drawn = branches(plan)
    rows = _rows(plan, drawn[:_MOST_BRANCHES])
    known = {row.branch.name: row for row in rows}
    steps = max((branch.end for branch in drawn), default=1)
    return [_way(row, known, steps, reached.get(row.branch.name, 0.0)) for row in rows]


def _rows(plan: Plan, drawn: Iterable[Branch]) -> list[_Row]:
    """A row a branch; those that are alike stand close together, under one heading."""
    rows, y = list[_Row](), float(_TOP + _HEAD)
    threads = _threads(plan)
    for _, alike in itertools.groupby(drawn, bundle_of):
        bundle = list(alike)
        close = _CLOSE_MADE if bundle[0].made else _CLOSE
        shared = bundle[0].title == Role.TRUNK and not bundle[0].is_check
        own = tuple(t for t in threads if shared and t.question in bundle[0].questions)
        own = own[:_MOST_THREADS]
        title, lines = heading(bundle, {thread.question for thread in own})
        lines = [*(thread.question for thread in own), *lines]
        for place, branch in enumerate(bundle):
            words = (title, *lines) if place == 0 else ()
            rows.append(_Row(len(rows), branch, y + close * place, words, own))
        y += max(_HEAD + _LINE * len(lines), close * len(bundle)) + _GAP
    return rows


def _threads(plan: Plan) -> tuple[_Thread, ...]:
    """The questions whose items are inserted, in the order of the study."""
    return tuple(
        _Thread(planned.question.id, planned.question.ask, planned.question.window)
        for planned in plan.questions
        if isinstance(planned.question, ItemQuestion) and planned.question.id != AA
    )


def _x(step: float, steps: int) -> float:
    return _LEFT + _AXIS * step / steps


def _axis(steps: int, bottom: float) -> Iterable[str]:
    for part in range(5):
        x = _x(part, 4)
        yield f'<path class="grid" d="M{x:g} {_TOP - 2}V{bottom:g}"/>'
        if steps < FEWEST_STEPS:
            continue
        where = "start" if part == 0 else "middle"
        label = f"{steps * part // 4:,}" if part else "step 0"
        yield _text(x, bottom + 14, label, "quiet", anchor=where)


def _stems(rows: Sequence[_Row], known: Mapping[str, _Row], steps: int) -> Iterable[str]:
    """One line down from each place that branches leave, as far as the last of them."""
    lowest: dict[tuple[str, int], float] = {}
    for row in rows:
        if row.branch.parents and not row.branch.made and row.branch.parents[0] in known:
            place = (row.branch.parents[0], row.branch.begin)
            lowest[place] = max(lowest.get(place, 0.0), row.y - 5)
    for (parent, begin), y in lowest.items():
        x, top = _x(begin, steps), known[parent].y - 5
        yield f'<path class="stem" d="M{x:g} {top:g}V{y - _BEND:g}"/>'


def _run(
    row: _Row, known: Mapping[str, _Row], steps: int, reached: Mapping[str, float] | None
) -> Iterable[str]:
    branch, y = row.branch, row.y - 5
    colour = f"var(--{'check' if branch.is_check else branch.strategy})"
    parents = [known[name] for name in branch.parents if name in known]
    live = reached is not None
    bound = f' class="branch" data-bind="state branch.{row.number}.state"' if live else ""
    yield f'<g stroke="{colour}"{bound}><title>{escape(_told(branch, branch.runs))}</title>'
    if branch.made:
        x = _LEFT + _AXIS + _MERGE - 18
        for parent in parents:
            start, top = _x(parent.branch.end, steps), parent.y - 5
            yield (
                f'<path class="merge" d="M{start:g} '
                f'{top:g}C{x:g} {top:g} {x - 30:g} {y:g} {x:g} {y:g}"/>'
            )
        yield f'<path class="made" d="M{x - 7:g} {y:g}l7 -7l7 7l-7 7z"/></g>'
        return
    kind, width = "run", ""
    if branch.is_check or branch.title == Role.TRUNK:
        kind += " check" if branch.is_check else " trunk"
    strands = _strands(branch) if kind == "run trunk" else 1
    if strands > 1:
        width = f' style="stroke-width: {_STRAND * strands:g}"'
    whole = _way(row, known, steps, branch.end)
    if reached is None:
        yield f'<path class="{kind}"{width} d="{whole}"/>'
    else:
        way = _way(row, known, steps, reached.get(branch.name, 0.0))
        yield f'<path class="{kind} faint"{width} d="{whole}"/>'
        yield f'<path class="{kind}"{width} d="{way}" data-bind="d branch.{row.number}.way"/>'
    for strand in range(1, strands):
        at = y + _STRAND * (strand - strands / 2)
        yield (
            f'<path class="strand" d="M{_x(branch.begin, steps):g} {at:g}'
            f'H{_x(branch.end, steps):g}"/>'
        )
    if parents:
        yield (
            f'<circle class="left" cx="{_x(branch.begin, steps):g}" cy="{parents[0].y - 5:g}" '
            'r="4.5"/>'
        )
    yield from _marks(branch, y, steps, colour, _STRAND * strands / 2)
    yield "</g>"


def _stitches(row: _Row, steps: int) -> Iterable[str]:
    """Under the trunk a dotted line for each question in it, where its items may be inserted."""
    for number, thread in enumerate(row.threads, start=1):
        span = row.branch.end - row.branch.begin
        begin, end = (_x(row.branch.begin + share * span, steps) for share in thread.window)
        y = row.y - 5 + _LINE * number
        yield (
            f'<path class="thread" d="M{begin:g} {y:g}H{end:g}" stroke="var(--multiplex)">'
            f"<title>{escape(f'{thread.question}: {thread.told}')}</title></path>"
        )


def _marks(branch: Branch, y: float, steps: int, colour: str, half: float) -> Iterable[str]:
    """Where states are kept and where something is measured, each with the jobs that do it."""
    for step, jobs in branch.stops.items():
        x, told = _x(step, steps), f"<title>{escape(_told(branch, jobs))}</title>"
        if step == branch.end:
            yield f'<circle class="end" cx="{x:g}" cy="{y:g}" r="4" fill="{colour}">{told}</circle>'
        elif jobs[0].kind == "state":
            yield f'<circle class="left" cx="{x:g}" cy="{y:g}" r="4.5">{told}</circle>'
        else:
            yield (f'<path class="tick" d="M{x:g} {y - half - 5:g}V{y + half + 5:g}">{told}</path>')


def _strands(branch: Branch) -> int:
    """How many lines the trunk is drawn as: one a seed, as far as they can be told apart."""
    return min(branch.seeds, _MOST_STRANDS)


def _way(row: _Row, known: Mapping[str, _Row], steps: int, reached: float) -> str:
    """The line of a branch's runs up to a step, after the bend by which it leaves a stem."""
    branch, y = row.branch, row.y - 5
    if branch.made or reached <= branch.begin:
        return ""
    begin, end = _x(branch.begin, steps), _x(min(reached, branch.end), steps)
    if not any(name in known for name in branch.parents):
        return f"M{begin:g} {y:g}H{end:g}"
    bend = min(begin + _BEND, max(begin, end))
    return f"M{begin:g} {y - _BEND:g}Q{begin:g} {y:g} {bend:g} {y:g}H{end:g}"


def _words(row: _Row) -> Iterable[str]:
    if not row.words:
        return
    title, _, cost = row.words[0].partition("\t")
    yield (
        f'<text x="{_LABEL}" y="{row.y:g}"><tspan class="name">{escape(title)}</tspan>'
        f'<tspan class="quiet"> {escape(cost)}</tspan></text>'
    )
    for number, line in enumerate(row.words[1:], start=1):
        yield _text(_LABEL, row.y + _LINE * number, line, "quiet")


def _legend(drawn: Iterable[Branch], height: int) -> Iterable[str]:
    """What each strategy costs, all its lines together."""
    costs: dict[str, float] = {}
    for branch in drawn:
        name = "check" if branch.is_check else branch.strategy
        costs[name] = costs.get(name, 0.0) + branch.run_equivalents
    x = float(_LEFT)
    for name, cost in costs.items():
        told = f"{name} {cost:.2f}"
        yield (f'<path d="M{x:g} {height - 16}h18" class="run {name}" stroke="var(--{name})"/>')
        yield _text(x + 26, height - 12, told, "quiet")
        x += 26 + 6.6 * len(told) + 24


def _told(branch: Branch, jobs: Sequence[Job]) -> str:
    """What a reader who points at a line or a mark is told: the branch, and each of these jobs."""
    cost = sum(job.run_equivalents for job in jobs)
    more = len(jobs) - _MOST_TOLD
    return "\n".join(
        [
            f"{branch.title}: {cost:.3f} run-equivalents",
            *(f"{short(job.key)}  {job.reason}" for job in jobs[:_MOST_TOLD]),
            *([f"and {more} more"] if more > 0 else []),
        ]
    )


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    where = f' text-anchor="{anchor}"' if anchor != "start" else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{named}{where}>{escape(words)}</text>'
