"""What a dependence test finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from trainonce.analysis.dependence.contrasts import Change, Decision

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

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return asdict(self)
