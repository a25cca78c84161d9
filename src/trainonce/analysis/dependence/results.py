"""What a dependence test finds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from trainonce.analysis.dependence.contrasts import Change, Decision
from trainonce.analysis.verdicts import FEWEST

OTHERS = "all others"
"""What the joint row switches: every experiment but the one that is measured."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """An experiment of a dependence test.

    Attributes:
        id: the question's.
        outcome: that decides it.
        margin: its smallest effect of interest.
        units: its items, over the seeds.
        fewest: those at its highest dose or at dose 0, whichever are fewer.
        copies: of its items in the whole run.
        inside: those of them that forks read.
    """

    id: str
    outcome: str
    margin: float
    units: int
    fewest: int
    copies: int
    inside: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What the presence of one experiment does to the items of another, or to its own.

    Attributes:
        present: what is switched on: an experiment, or all others together.
        measured: whose items.
        change: what it does.
        p_adjusted: corrected by Holm's method over all cells off the diagonal; None on it.
        decision: whether both may share a run; None on the diagonal.
    """

    present: str
    measured: str
    change: Change
    p_adjusted: float | None = None
    decision: Decision | None = None


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """By how much more one experiment moves items where another one is present, halved.

    Attributes:
        pairs: of experiments; where there are several the design cannot tell them apart, and what
            was found is their sum.
        measured: whose items.
        change: what they do.
        p_adjusted: corrected by Holm's method over all interactions.
    """

    pairs: tuple[tuple[str, str], ...]
    measured: str
    change: Change
    p_adjusted: float


@dataclass(frozen=True, kw_only=True)
class Higher:
    """How far from 0 interactions of three and more experiments may lie on one's items.

    Attributes:
        measured: whose items.
        columns: contrasts that hold such interactions alone.
        level: the outermost end of their intervals for the outcome.
        answer: the same for the effect.
    """

    measured: str
    columns: int
    level: float
    answer: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The decision for two experiments."""

    first: str
    second: str
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class Dependence:
    """What a dependence test found.

    Attributes:
        layout: ``alone`` or ``factorial``.
        parent: what forks left, ``trunk`` or ``plain run``.
        start: the step after which they left it.
        end: the step after which items were measured.
        steps: of the whole run.
        seeds: that were tested.
        runs: combinations of experiments, each at every seed.
        resolution: of the factorial; None for each alone and for a full factorial.
        generators: of the factorial, as ``e = a b c``.
        experiments: what was switched, in the order of the study.
        cells: a row for each experiment that is present, a column for each that is measured.
        joint: all others together, for each experiment.
        interactions: of pairs, from a factorial.
        higher: bounds on interactions of three and more; none where the design leaves no contrast.
        pairs: a decision for each.
        run_equivalents: what its forks and measurements cost.
    """

    layout: str
    parent: str
    start: int
    end: int
    steps: int
    seeds: tuple[int, ...]
    runs: int
    resolution: int | None
    generators: tuple[str, ...]
    experiments: tuple[Examined, ...]
    cells: tuple[Cell, ...]
    joint: tuple[Cell, ...]
    interactions: tuple[Interaction, ...]
    higher: tuple[Higher, ...]
    pairs: tuple[Pair, ...]
    run_equivalents: float

    def cell(self, present: str, measured: str) -> Cell:
        """The cell of a row and a column; the joint row is `OTHERS`."""
        return next(
            one
            for one in (*self.cells, *self.joint)
            if (one.present, one.measured) == (present, measured)
        )

    def units_needed(self, measured: str) -> int | None:
        """How many items of an experiment could show that all others leave it alone.

        Intervals are taken to shrink with the root of the number of items, at the spread that was
        observed.

        Returns:
            Items over the tested seeds; None where its column is decided, or where some change is
            itself as large as the margin, so that more items would not make it share.
        """
        about = next(one for one in self.experiments if one.id == measured)
        idle = {one.id for one in self.experiments if one.inside == 0}
        open_cells = [
            cell
            for cell in (*self.cells, *self.joint)
            if cell.measured == measured
            and cell.decision is Decision.CANNOT_TELL
            and cell.present not in idle
        ]
        readings = [own for cell in open_cells for own in (cell.change.level, cell.change.answer)]
        if not readings or any(abs(own.value) >= about.margin for own in readings):
            return None
        wide = max(
            max(
                (own.high - own.value) / (about.margin - own.value),
                (own.value - own.low) / (about.margin + own.value),
            )
            for own in readings
        )
        times = max(1.0, FEWEST / about.fewest, wide**2)
        return math.ceil(times * about.units - 1e-6) if math.isfinite(times) else None

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        document = asdict(self)
        for one, experiment in zip(document["experiments"], self.experiments, strict=True):
            one["units_needed"] = self.units_needed(experiment.id)
        return document
