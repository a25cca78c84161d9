"""A plan as a picture: the trunk, what leaves it, what runs beside it, and what is made of these.

Steps go from left to right, one line a branch; a line's colour is the strategy that it serves, and
what tests the sharing is dashed.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from trainonce.plan.plan import Plan, Role
from trainonce.report.branches import Branch, branches
from trainonce.study.schema import AA

_LEFT, _AXIS, _MERGE, _WIDTH = 28, 520, 64, 1040
_LABEL = _LEFT + _AXIS + _MERGE + 20
_TOP, _HEAD, _LINE, _GAP, _BEND = 84, 17, 15, 11, 10
_LETTERS = 62
_CLOSE, _CLOSE_MADE = 7, 15
_MOST_LINES, _MOST_BRANCHES, _MOST_TOLD = 4, 60, 8

STYLE = """
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
.plan .merge { fill: none; stroke-linecap: round; stroke-opacity: 0.55; stroke-width: 2; }
.plan .made { fill: var(--paper); stroke-width: 2.5; }
.plan .left { fill: var(--paper); stroke-width: 2; }
"""


@dataclass(frozen=True)
class _Row:
    number: int
    branch: Branch
    y: float
    words: tuple[str, ...]


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
    rows = _rows(drawn[:_MOST_BRANCHES])
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
    sub = f"Each line is a run{f', at each of {seeds} seeds' * (seeds > 1)}; steps go to the right."
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
            *(part for row in rows for part in _run(row, known, steps, reached)),
            *(part for row in rows for part in _words(row)),
            *_legend(drawn, height),
            "</svg>",
        ]
    )


def ways(plan: Plan, reached: Mapping[str, float]) -> list[str]:
    """For each line of the picture, the path as far as its runs have come, empty for none."""
    drawn = branches(plan)
    rows = _rows(drawn[:_MOST_BRANCHES])
    known = {row.branch.name: row for row in rows}
    steps = max((branch.end for branch in drawn), default=1)
    return [_way(row, known, steps, reached.get(row.branch.name, 0.0)) for row in rows]


def _rows(drawn: Iterable[Branch]) -> list[_Row]:
    """A row a branch; those that are alike stand close together, under one heading."""
    rows, y = list[_Row](), float(_TOP + _HEAD)
    for _, alike in itertools.groupby(drawn, _bundle):
        bundle = list(alike)
        close = _CLOSE_MADE if bundle[0].made else _CLOSE
        title, lines = _heading(bundle)
        for place, branch in enumerate(bundle):
            words = (title, *lines) if place == 0 else ()
            rows.append(_Row(len(rows), branch, y + close * place, words))
        y += max(_HEAD + _LINE * len(lines), close * len(bundle)) + _GAP
    return rows


def _bundle(branch: Branch) -> tuple[object, ...]:
    """What branches under one heading have in common."""
    serves = () if branch.is_check else branch.questions
    parents = () if branch.made else branch.parents
    return (
        branch.is_check,
        branch.made,
        branch.strategy,
        branch.begin,
        branch.end,
        parents,
        serves,
    )


def _heading(bundle: Sequence[Branch]) -> tuple[str, list[str]]:
    """A title with cost, and what there is to say below it."""
    first, cost = bundle[0], sum(branch.run_equivalents for branch in bundle)
    names = ", ".join(name for name in first.questions if name != AA)
    if first.is_check:
        names = "what tests that sharing did no harm"
    title = first.title
    if len(bundle) > 1:
        kind = "check" if first.is_check else first.role
        title = f"{len(bundle)} {kind}s"
        told = ", ".join(branch.title for branch in bundle)
        for prefix in ("rung ", "average for ", "real run of "):
            told = told.replace(prefix, "")
        names = f"{told}: {names}"
    role = "check" if first.is_check else first.strategy
    lines = textwrap.wrap(
        names, _LETTERS, max_lines=_MOST_LINES, placeholder=" \u2026", break_on_hyphens=False
    )
    return f"{title}\t{role}, {cost:.2f}", lines


def _x(step: float, steps: int) -> float:
    return _LEFT + _AXIS * step / steps


def _axis(steps: int, bottom: float) -> Iterable[str]:
    for part in range(5):
        x = _x(part, 4)
        yield f'<path class="grid" d="M{x:g} {_TOP - 2}V{bottom:g}"/>'
        where = "start" if part == 0 else "middle"
        label = f"{steps * part // 4:,}" if part else "step 0"
        yield _text(x, bottom + 14, label, "quiet", anchor=where)


def _run(
    row: _Row, known: Mapping[str, _Row], steps: int, reached: Mapping[str, float] | None
) -> Iterable[str]:
    branch, y = row.branch, row.y - 5
    colour = f"var(--{'check' if branch.is_check else branch.strategy})"
    parents = [known[name] for name in branch.parents if name in known]
    live = reached is not None
    bound = f' class="branch" data-bind="state branch.{row.number}.state"' if live else ""
    yield f'<g stroke="{colour}"{bound}><title>{escape(_told(branch))}</title>'
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
    kind = "run"
    if branch.is_check or branch.title == Role.TRUNK:
        kind += " check" if branch.is_check else " trunk"
    whole = _way(row, known, steps, branch.end)
    if reached is None:
        yield f'<path class="{kind}" d="{whole}"/>'
    else:
        way = _way(row, known, steps, reached.get(branch.name, 0.0))
        yield f'<path class="{kind} faint" d="{whole}"/>'
        yield f'<path class="{kind}" d="{way}" data-bind="d branch.{row.number}.way"/>'
    if parents:
        yield (
            f'<circle class="left" cx="{_x(branch.begin, steps):g}" cy="{parents[0].y - 5:g}" '
            'r="4.5"/>'
        )
    yield (
        f'<circle class="end" cx="{_x(branch.end, steps):g}" cy="{y:g}" r="4" fill="{colour}"/></g>'
    )


def _way(row: _Row, known: Mapping[str, _Row], steps: int, reached: float) -> str:
    """The line of a branch's runs up to a step, after the bend by which it leaves its parent."""
    branch, y = row.branch, row.y - 5
    if branch.made or reached <= branch.begin:
        return ""
    begin, end = _x(branch.begin, steps), _x(min(reached, branch.end), steps)
    parents = [known[name] for name in branch.parents if name in known]
    if not parents:
        return f"M{begin:g} {y:g}H{end:g}"
    bend = min(begin + _BEND, max(begin, end))
    top = parents[0].y - 5
    return f"M{begin:g} {top:g}V{y - _BEND:g}Q{begin:g} {y:g} {bend:g} {y:g}H{end:g}"


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
