"""A plan as a picture: the trunk, what leaves it, what runs beside it, and what is made of these.

Steps go from left to right, one line a branch; a line's colour is the strategy that it serves, and
what tests the sharing is dashed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from trainonce.plan.plan import Plan, Role
from trainonce.report.branches import Branch, branches
from trainonce.study.schema import AA

_LEFT, _AXIS, _MERGE, _WIDTH = 28, 520, 64, 1040
_LABEL = _LEFT + _AXIS + _MERGE + 20
_TOP, _HEAD, _LINE, _GAP, _BEND = 84, 17, 15, 11, 10
_LETTERS = 62
_MOST_LINES, _MOST_BRANCHES, _MOST_TOLD = 4, 60, 8

_STYLE = """
.plan { --ink: #1c1b19; --quiet: #5d5a54; --hair: #e2ded5; --paper: #fdfcf9; --check: #8d887e;
  --multiplex: #1f5a94; --fork: #17693f; --replicate: #9a6200; --average: #7a3b8f;
  --extrapolate: #b03a2e; --emulate: #0b7285;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
@media screen and (prefers-color-scheme: dark) { .plan { --ink: #e9e6df; --quiet: #a8a49b;
  --hair: #34322e; --paper: #161614; --check: #8b877f; --multiplex: #86b7ea; --fork: #7fcda0;
  --replicate: #e2b65f; --average: #cf9be3; --extrapolate: #f0938a; --emulate: #6fcbdc; } }
.plan text { fill: var(--ink); font-size: 13px; }
.plan .quiet { fill: var(--quiet); font-size: 12px; }
.plan .title { font-size: 16px; font-weight: 600; }
.plan .name { font-weight: 600; }
.plan .run { fill: none; stroke-linecap: round; stroke-width: 3.5; }
.plan .trunk { stroke-width: 7; }
.plan .check { stroke-dasharray: 2 8; }
.plan .grid { stroke: var(--hair); }
"""


@dataclass(frozen=True)
class _Row:
    branch: Branch
    y: float
    lines: tuple[str, ...]


def plan_svg(plan: Plan) -> str:
    """The picture as an SVG document, in light or dark as the reader has it."""
    drawn = branches(plan)
    left_out = len(drawn) - _MOST_BRANCHES
    rows = _rows(drawn[:_MOST_BRANCHES])
    known = {row.branch.name: row for row in rows}
    steps = max((branch.end for branch in drawn), default=1)
    bottom = (rows[-1].y + _LINE * len(rows[-1].lines) + 2 * _GAP) if rows else _TOP
    height = round(bottom + 52)
    asked = sum(planned.question.id != AA for planned in plan.questions)
    one_run = plan.one_run_a_question
    head = (
        f"{asked} question{'s' * (asked != 1)}: {plan.run_equivalents:.1f} run-equivalents in "
        f"place of {one_run:.1f} with one run a question"
    )
    seeds = len(plan.seeds)
    sub = f"Each line is a run{f', at each of {seeds} seeds' * (seeds > 1)}; steps go to the right."
    if left_out > 0:
        sub += f" {left_out} more lines are not drawn."
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="plan" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img">',
            f"<title>{escape(f'The plan of {plan.study}')}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{_WIDTH}" height="{height}" style="fill: var(--paper)"/>',
            _text(_LEFT, 28, plan.study, "title"),
            _text(_LEFT, 48, head),
            _text(_LEFT, 65, sub, "quiet"),
            *_axis(steps, bottom),
            *(part for row in rows for part in _run(row, known, steps)),
            *(part for row in rows for part in _words(row)),
            *_legend(drawn, height),
            "</svg>",
        ]
    )


def _rows(drawn: Iterable[Branch]) -> list[_Row]:
    rows, y = list[_Row](), float(_TOP + _HEAD)
    for branch in drawn:
        names = ", ".join(name for name in branch.questions if name != AA)
        if branch.is_check:
            names = "what tests that sharing did no harm"
        lines = textwrap.wrap(
            names,
            _LETTERS,
            max_lines=_MOST_LINES,
            placeholder=" \u2026",
            break_on_hyphens=False,
        )
        rows.append(_Row(branch, y, tuple(lines)))
        y += _HEAD + _LINE * len(lines) + _GAP
    return rows


def _x(step: float, steps: int) -> float:
    return _LEFT + _AXIS * step / steps


def _axis(steps: int, bottom: float) -> Iterable[str]:
    for part in range(5):
        x = _x(part, 4)
        yield f'<path class="grid" d="M{x:g} {_TOP - 2}V{bottom:g}"/>'
        where = "start" if part == 0 else "middle"
        label = f"{steps * part // 4:,}" if part else "step 0"
        yield _text(x, bottom + 14, label, "quiet", anchor=where)


def _run(row: _Row, known: Mapping[str, _Row], steps: int) -> Iterable[str]:
    branch, y = row.branch, row.y - 5
    colour = f"var(--{'check' if branch.is_check else branch.strategy})"
    parents = [known[name] for name in branch.parents if name in known]
    yield f'<g style="stroke: {colour}"><title>{escape(_told(branch))}</title>'
    if branch.made:
        x = _LEFT + _AXIS + _MERGE - 18
        for parent in parents:
            start, top = _x(parent.branch.end, steps), parent.y - 5
            yield (
                f'<path class="run" stroke-opacity="0.55" style="stroke-width: 2" d="M{start:g} '
                f'{top:g}C{x:g} {top:g} {x - 30:g} {y:g} {x:g} {y:g}"/>'
            )
        yield (
            f'<path d="M{x - 7:g} {y:g}l7 -7l7 7l-7 7z" style="fill: var(--paper); '
            'stroke-width: 2.5"/></g>'
        )
        return
    begin, end = _x(branch.begin, steps), _x(branch.end, steps)
    kind = "run"
    if branch.is_check or branch.title == Role.TRUNK:
        kind += " check" if branch.is_check else " trunk"
    if parents:
        top = parents[0].y - 5
        way = f"M{begin:g} {top:g}V{y - _BEND:g}Q{begin:g} {y:g} {begin + _BEND:g} {y:g}H{end:g}"
    else:
        way = f"M{begin:g} {y:g}H{end:g}"
    yield f'<path class="{kind}" d="{way}"/>'
    if parents:
        yield (
            f'<circle cx="{begin:g}" cy="{parents[0].y - 5:g}" r="4.5" '
            'style="fill: var(--paper); stroke-width: 2"/>'
        )
    yield f'<circle cx="{end:g}" cy="{y:g}" r="4" style="fill: {colour}"/></g>'


def _words(row: _Row) -> Iterable[str]:
    branch = row.branch
    role = "check" if branch.is_check else branch.strategy
    yield (
        f'<text x="{_LABEL}" y="{row.y:g}"><tspan class="name">{escape(branch.title)}</tspan>'
        f'<tspan class="quiet"> {escape(f"{role}, {branch.run_equivalents:.2f}")}</tspan></text>'
    )
    for number, line in enumerate(row.lines, start=1):
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
        yield (
            f'<path d="M{x:g} {height - 16}h18" class="run {name}" style="stroke: var(--{name})"/>'
        )
        yield _text(x + 26, height - 12, told, "quiet")
        x += 26 + 6.6 * len(told) + 24


def _told(branch: Branch) -> str:
    """What a reader who points at a line is told."""
    jobs = (*branch.jobs, *branch.measured)
    reasons = [job.reason for job in jobs if job.seed == jobs[0].seed]
    return "\n".join(
        [f"{branch.title}: {branch.run_equivalents:.3f} run-equivalents", *reasons[:_MOST_TOLD]]
    )


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    where = f' text-anchor="{anchor}"' if anchor != "start" else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{named}{where}>{escape(words)}</text>'
