"""The picture of a plan for a paper's column: lines on the left, what they are on the right."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.report.branches import Branch, branches
from trainonce.report.bundles import bundle_of, heading
from trainonce.report.picture import FEWEST_STEPS, LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.23  # inches
_CLOSE = 0.22  # of a row: how far alike branches stand apart
_LINES, _MERGE, _WORDS = 1.0, 0.12, 1.2  # widths, in lengths of the longest run
_TITLE, _NAMES = 36, 44  # letters that fit, a title's with its cost
_POINTS = 5.5


def plan_figure(plan: Plan, new: type[Figure], width: float) -> Figure:
    """The plan as a figure.

    Args:
        plan: what to draw.
        new: matplotlib's figure.
        width: in inches.
    """
    drawn = branches(plan)
    bundles = [list(alike) for _, alike in itertools.groupby(drawn, bundle_of)]
    figure = new(figsize=(width, _ROW * (len(bundles) + 2)))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_axis_off()
    axes.set_xlim(-0.03, _LINES + _MERGE + _WORDS)
    axes.set_ylim(len(bundles) + 0.6, -0.7)
    steps = max((branch.end for branch in drawn), default=1) or 1
    heights: dict[str, float] = {}
    for row, bundle in enumerate(bundles):
        for number, branch in enumerate(bundle):
            heights[branch.name] = row + _CLOSE * (number - (len(bundle) - 1) / 2) / len(bundle) * 2
        _told(axes, bundle, row)
    for branch in drawn:
        _branch(axes, branch, heights, steps)
    for part in range(5):
        x, step = _LINES * part / 4, steps * part // 4
        axes.axvline(x, color=LIGHT["hair"], linewidth=0.5, zorder=0, ymax=0.97, ymin=0.05)
        if steps < FEWEST_STEPS:
            continue
        label = f"{step:,}" if part else "step"
        axes.text(
            x,
            len(bundles) + 0.25,
            label,
            ha="center" if part else "left",
            fontsize=_POINTS,
            color=LIGHT["quiet"],
        )
    return figure


def _branch(axes: Axes, branch: Branch, heights: dict[str, float], steps: int) -> None:
    y, colour = heights[branch.name], LIGHT["check" if branch.is_check else branch.strategy]
    parents = [name for name in branch.parents if name in heights]
    begin, end = _LINES * branch.begin / steps, _LINES * branch.end / steps
    if branch.made:
        x = _LINES + _MERGE / 2
        for parent in parents:
            axes.plot(
                [end, _LINES + _MERGE / 4, _LINES + _MERGE / 4, x],
                [heights[parent], heights[parent], y, y],
                color=colour,
                linewidth=0.5,
                alpha=0.5,
            )
        axes.plot([x], [y], "D", color=colour, markerfacecolor="white", markersize=3)
        return
    if parents:
        top = heights[parents[0]]
        axes.plot([begin, begin], [top, y], color=LIGHT["check"], linewidth=0.6, zorder=1)
        axes.plot([begin], [top], "o", color=colour, markerfacecolor="white", markersize=3)
    trunk = branch.title == Role.TRUNK and not branch.is_check
    axes.plot(
        [begin, end],
        [y, y],
        color=colour,
        linewidth=2.4 if trunk else 1.1,
        linestyle=":" if branch.is_check else "-",
        zorder=2,
    )
    axes.plot([end], [y], "o", color=colour, markersize=2.5, zorder=3)


def _told(axes: Axes, bundle: Sequence[Branch], row: int) -> None:
    title, lines = heading(bundle, ())
    name, _, cost = title.partition("\t")
    x = _LINES + _MERGE + 0.04
    short = textwrap.shorten(name, _TITLE - len(cost), placeholder=" …")
    axes.text(x, row - 0.05, f"{short}  ({cost})", fontsize=_POINTS, color=LIGHT["ink"])
    told = textwrap.shorten(" ".join(lines), _NAMES, placeholder=" …")
    axes.text(x, row + 0.32, told, fontsize=_POINTS - 1, color=LIGHT["quiet"])
