"""A plan's graph of jobs, drawn: as a tree in a terminal, and as SVG.

Runs and states are boxes; the measurements of one model are a line in its box, since there are
many of them and all hang from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from html import escape

from rich.text import Text
from rich.tree import Tree

from trainonce.plan.plan import Job, Plan
from trainonce.tasks.specs import DecideSpec

_BOX, _GAP, _COLUMN, _LINE, _PAD = 330, 18, 390, 18, 10
_SHOWN = 2
_HEAD, _BODY = 'font-weight="600"', 'fill-opacity="0.75"'


@dataclass(frozen=True, kw_only=True)
class Node:
    """A run or a state with the measurements of its model.

    Attributes:
        job: the run or the state.
        measured: its measurements.
        parents: keys of the nodes that it begins with.
        depth: how many nodes lie before it on the longest way.
    """

    job: Job
    measured: tuple[Job, ...]
    parents: tuple[str, ...]
    depth: int

    @property
    def title(self) -> str:
        """What it is."""
        if isinstance(self.job.spec, DecideSpec):
            return f"decision after step {self.job.spec.step}"
        seed = f"seed {self.job.seed}"
        if self.job.kind == "state":
            return f"state after step {self.job.key.rpartition('@')[2]}, {seed}"
        return f"{self.job.label or self.job.role.value}, {seed}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What else there is to say, in short lines."""
        cost = sum(job.run_equivalents for job in (self.job, *self.measured))
        found = [f"{self.job.strategy.value}, {cost:.2f} run-equivalents"]
        if self.job.stack:
            found.append(f"trained in stack {self.job.stack[:8]}")
        if self.measured:
            found.append(f"{len(self.measured)} measurements: {_named(self.measured)}")
        return tuple(found)


def nodes(plan: Plan) -> tuple[Node, ...]:
    """The runs and states of ``plan``, each after its parents."""
    own = {job.key: job for job in plan.jobs if job.kind != "measure"}
    measured: dict[str, list[Job]] = {key: [] for key in own}
    for job in plan.jobs:
        if job.kind == "measure":
            for parent in job.parents:
                measured[parent].append(job)
    found: dict[str, Node] = {}
    for key, job in own.items():
        parents = tuple(parent for parent in job.parents if parent in own)
        found[key] = Node(
            job=job,
            measured=tuple(measured[key]),
            parents=parents,
            depth=1 + max((found[parent].depth for parent in parents), default=-1),
        )
    return tuple(found.values())


def graph_tree(plan: Plan, done: Collection[str]) -> Tree:
    """The graph as a tree; a node with several parents stands below the first.

    Args:
        plan: the plan.
        done: keys of the jobs that are finished already.
    """
    tree = Tree(Text(plan.study, style="bold"))
    branches: dict[str, Tree] = {}
    for node in nodes(plan):
        place = branches[node.parents[0]] if node.parents else tree
        label = Text.assemble(
            (node.title, "bold"),
            f"  {node.job.key[:8]}  ",
            ("done", "green") if node.job.key in done else ("new", "yellow"),
            *(f"\n{line}" for line in node.lines),
            *(f"\nand from {parent[:8]}" for parent in node.parents[1:]),
        )
        branches[node.job.key] = place.add(label)
    return tree


def graph_svg(plan: Plan) -> str:
    """The graph as an SVG document, left to right; colours follow the page that it stands in."""
    places: dict[str, tuple[int, int, int]] = {}
    heights: dict[int, int] = {}
    drawn = nodes(plan)
    for node in drawn:
        height = 2 * _PAD + _LINE * (1 + len(node.lines))
        y = heights.get(node.depth, 0)
        if node.parents:
            y = max(y, min(places[parent][1] for parent in node.parents))
        places[node.job.key] = (_COLUMN * node.depth, y, height)
        heights[node.depth] = y + height + _GAP
    width = max((x for x, _, _ in places.values()), default=0) + _BOX + 2
    whole = max(heights.values(), default=_GAP) - _GAP + 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {width} {whole}" '
        f'width="{width}" height="{whole}" role="img" font-size="13">',
        f"<title>{escape(f'The jobs of {plan.study}')}</title>",
    ]
    for node in drawn:
        parts += [_edge(places[parent], places[node.job.key]) for parent in node.parents]
    parts += [_box(node, *places[node.job.key]) for node in drawn]
    return "\n".join([*parts, "</svg>"])


def _edge(start: tuple[int, int, int], end: tuple[int, int, int]) -> str:
    x, y = start[0] + _BOX, start[1] + start[2] // 2
    to_x, to_y = end[0], end[1] + end[2] // 2
    middle = (x + to_x) // 2
    return (
        f'<path d="M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}" fill="none" '
        'stroke="currentColor" stroke-opacity="0.5"/>'
    )


def _box(node: Node, x: int, y: int, height: int) -> str:
    dashed = ' stroke-dasharray="4 3"' if node.job.is_check else ""
    texts = [
        f'<text x="{x + _PAD}" y="{y + _PAD + 13 + _LINE * row}" fill="currentColor" '
        f"{_HEAD if row == 0 else _BODY}>{escape(line)}</text>"
        for row, line in enumerate((node.title, *node.lines))
    ]
    return (
        f"<g><title>{escape(node.job.reason)}</title>"
        f'<rect x="{x}" y="{y}" width="{_BOX}" height="{height}" rx="4" fill="none" '
        f'stroke="currentColor"{dashed}/>' + "".join(texts) + "</g>"
    )


def _named(jobs: Iterable[Job]) -> str:
    names = list(dict.fromkeys(name for job in jobs for name in job.questions))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "held-out loss") + more
