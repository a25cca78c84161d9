"""Training losses as lines that grow: of finished runs, and of those that are under way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache
from trainonce.run.losses import saved_losses
from trainonce.run.status import JobStatus

WIDTH, HEIGHT = 1040, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 30
GRID = 5
"""Stretches between two lines of the grid."""

MOST = 24
_POINTS = 120
_DASHES = ("none", "2 4", "8 5", "10 4 2 4")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run that has a line.

    Attributes:
        key: its job's.
        name: for people.
        colour: the name of the variable that holds it.
        dashes: of the line, one way a seed.
        others: what else may hold its state, see `saved_losses`.
        begins: the step at which a fork leaves its parent, whose losses its state holds too.
    """

    key: str
    name: str
    colour: str = "multiplex"
    dashes: str = "none"
    others: tuple[str, ...] = ()
    begins: int = 0


def runs_of(plan: Plan) -> tuple[Run, ...]:
    """The training runs of a plan, the first `MOST` of them."""
    seeds = sorted({job.seed for job in plan.jobs if job.kind == "train"})
    trained = [job for job in plan.jobs if job.kind == "train"][:MOST]
    states: dict[str, list[str]] = {}
    for job in plan.jobs:
        if job.kind == "state":
            states.setdefault(job.trained.key, []).append(job.key)
    return tuple(
        Run(
            key=job.key,
            name=f"{_NAMES.get(job.role, job.label or job.role.value)}, seed {job.seed}",
            colour="check" if job.is_check else job.strategy.value,
            dashes=_DASHES[seeds.index(job.seed) % len(_DASHES)],
            others=(*states.get(job.key, ()), *((job.stack,) if job.stack else ())),
            begins=job.trained.begins,
        )
        for job in trained
    )


def known_runs(jobs: Sequence[JobStatus]) -> tuple[Run, ...]:
    """The training runs of a study of which only the ledger is known."""
    trained = [job for job in jobs if job.kind == "train"][:MOST]
    return tuple(Run(key=job.key, name=job.reason.partition(":")[0]) for job in trained)


_NAMES = {Role.TRUNK: "trunk", Role.PLAIN: "plain run"}


@dataclass(frozen=True)
class Drawn:
    """The lines of all runs on one pair of axes.

    Attributes:
        points: by key, ``x,y x,y`` in pixels.
        latest: by key, the latest loss, as text.
        losses: at the lines of the grid, from below.
        steps: at the left, in the middle and at the right.
    """

    points: Mapping[str, str]
    latest: Mapping[str, str]
    losses: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass
class Losses:
    """The losses of runs, read again only where something new can be.

    A run saves its losses with its state, some seconds apart; in between the ledger tells the
    latest one, which is kept here until the next state has it.
    """

    cache: JobCache
    runs: tuple[Run, ...]
    _finished: dict[str, Floats] = field(default_factory=dict)
    _told: dict[str, dict[int, float]] = field(default_factory=dict)

    def drawn(self, jobs: Mapping[str, JobStatus]) -> Drawn:
        """The lines, given what the ledger says of jobs by key."""
        lines = {run.key: self._line(run, jobs) for run in self.runs}
        lines = {key: line for key, line in lines.items() if len(line)}
        most = max((float(line[-1, 0]) for line in lines.values()), default=1.0)
        planned = [jobs[run.key].steps or 0 for run in self.runs if run.key in jobs]
        steps = max([most, *planned, 1.0])
        low, stride = _axis([float(value) for line in lines.values() for value in line[:, 1]])
        high = low + GRID * stride
        places = int(max(0, -math.floor(math.log10(stride))))
        return Drawn(
            points={key: _points(line, steps, low, high) for key, line in lines.items()},
            latest={key: f"{line[-1, 1]:.3f}" for key, line in lines.items()},
            losses=tuple(f"{low + part * stride:.{places}f}" for part in range(GRID + 1)),
            steps=tuple(f"{round(steps * part / 2):,}" for part in range(3)),
        )

    def _line(self, run: Run, jobs: Mapping[str, JobStatus]) -> Floats:
        """Steps and losses, ``(points, 2)``, thinned to means of equal stretches."""
        if run.key in self._finished:
            return self._finished[run.key]
        about = [jobs[key] for key in (run.key, *run.others) if key in jobs]
        told = self._told.setdefault(run.key, {})
        for job in about:
            if job.state == "running" and job.step and job.loss is not None:
                told[job.step] = job.loss
        begun = self.cache.done(run.key) or any(job.state != "waiting" for job in about)
        if not begun:
            return np.empty((0, 2))
        saved = saved_losses(self.cache, run.key, run.others)
        later = sorted(step for step in told if step > max(len(saved), run.begins))
        steps = np.array([*range(1, len(saved) + 1), *later], dtype=np.float64)
        losses = np.array([*saved, *(told[step] for step in later)])
        total = max([len(saved), *later, *(job.steps or 0 for job in about)], default=0)
        own = steps > run.begins
        line = _thinned(steps[own], losses[own], total)
        if self.cache.done(run.key):
            self._finished[run.key] = line
            del self._told[run.key]
        return line


def _thinned(steps: Floats, losses: Floats, total: int) -> Floats:
    """Means of stretches that stay the same as the run goes on; what is not finite is left out."""
    good = np.isfinite(losses) & (losses != 0.0)  # a fork has no losses of the steps before it
    steps, losses = steps[good], losses[good]
    if not len(steps):
        return np.empty((0, 2))
    width = max(1, math.ceil(total / _POINTS))
    parts = ((steps - 1) // width).astype(np.int64)
    kept, inverse = np.unique(parts, return_inverse=True)
    counts = np.bincount(inverse)
    means = [np.bincount(inverse, weights) / counts for weights in (steps, losses)]
    assert len(kept) == len(counts)
    return np.stack(means, axis=1)


def _axis(losses: Sequence[float]) -> tuple[float, float]:
    """Where the loss axis begins, and how far its lines are apart: 1, 2 or 5 times a power of 10.

    Both stay as they are while losses move a little, so that lines need not be drawn anew.
    """
    low, high = min(losses, default=0.0), max(losses, default=1.0)
    exponent = math.floor(math.log10(max(high - low, 1e-6) / GRID))
    for stride in (factor * 10.0**power for power in (exponent, exponent + 1) for factor in _NICE):
        begin = math.floor(low / stride) * stride
        if begin + GRID * stride >= high:
            return begin, stride
    raise AssertionError("100 times too long a stride holds everything")


_NICE = (1.0, 2.0, 5.0)


def _points(line: Floats, steps: float, low: float, high: float) -> str:
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return " ".join(
        f"{LEFT + across * step / steps:.1f},{TOP + down * (high - loss) / (high - low):.1f}"
        for step, loss in line
    )
