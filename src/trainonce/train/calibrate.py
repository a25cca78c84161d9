"""Which way of training several runs of one shape pays on this machine: measured once.

Three ways: one after another with all cores, as stacked parameters with all cores, or side by side
in a pool of one-thread processes. Which wins depends on the machine, on the size of the matrix
products and on how many runs there are, so it is timed with reference shapes and remembered.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from pydantic import TypeAdapter

from trainonce.train.measured import Measured
from trainonce.train.rehearsal import (
    REFERENCES,
    Reference,
    Shape,
    Timed,
    batched,
    one_after_another,
)
from trainonce.train.rehearsal_pool import RehearsalPool, cores, workers

COUNTS = (4, 8, 16, 64)
"""How many replicas are timed at once."""

_ROUNDS = 5
_LEAST_SECONDS = 0.1
_HOPELESS = 1.25
_FEW = 16


class Way(StrEnum):
    """How several runs of one shape are trained."""

    SEQUENTIAL = "sequential"
    BATCHED = "batched"
    POOL = "pool"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds a step of one reference shape on one device.

    Attributes:
        work: multiply-adds of the mean matrix product, see `Shape.work`.
        alone: one run that has all cores.
        side_by_side: each of ``workers`` one-thread processes at once.
        workers: how many these were.
        batched: all replicas of a stack together, by how many they are.
    """

    work: float
    alone: float
    side_by_side: float
    workers: int
    batched: Mapping[int, float]

    def seconds(self, way: Way, runs: int) -> float:
        """Seconds that a step of each of ``runs`` runs takes.

        Between measured counts, a replica's share of a batched step is interpolated over the
        logarithm of the count; beyond the largest it stays what it is there.
        """
        match way:
            case Way.SEQUENTIAL:
                return runs * self.alone
            case Way.POOL:
                return math.ceil(runs / self.workers) * self.side_by_side
            case Way.BATCHED:
                return runs * self._share(runs)

    def best(self, runs: int) -> Way:
        """The fastest way; of equal ones the first of sequential, pool, batched."""
        ways = (Way.SEQUENTIAL, Way.POOL, Way.BATCHED)
        return min(ways, key=lambda way: self.seconds(way, runs))

    def _share(self, runs: int) -> float:
        shares = {1: self.alone, **{k: t / k for k, t in sorted(self.batched.items())}}
        known = list(shares)
        after = bisect_left(known, runs)
        if after == 0 or after == len(known):
            return shares[known[min(after, len(known) - 1)]]
        low, high = known[after - 1], known[after]
        part = math.log(runs / low) / math.log(high / low)
        return shares[low] + part * (shares[high] - shares[low])


Calibration = Mapping[str, Timing]
"""What was timed on one device, by reference shape."""

_MEASURED = Measured("replicas.json", TypeAdapter(dict[str, dict[str, Timing]]))


def choose(shape: Shape, runs: int, device: torch.device, home: Path) -> Way:
    """How to train ``runs`` runs of ``shape`` on ``device``.

    The answer is that of the reference shape whose matrix products are nearest in size, by what
    `calibrate` remembered under ``home``. It stays the same until somebody calibrates again.

    Where nothing is remembered it is what needs no measurement: a pool on a CPU, one after
    another on a GPU.

    Raises:
        CalibrationError: when what was remembered cannot be read.
    """
    if runs < 2:
        return Way.SEQUENTIAL
    known = remembered(home, device)
    if not known:
        return Way.POOL if device.type == "cpu" else Way.SEQUENTIAL
    nearest = min(known.values(), key=lambda timing: abs(math.log(timing.work / shape.work)))
    return nearest.best(runs)


def calibrate(
    device: torch.device,
    *,
    tell: Callable[[str], None] = lambda _line: None,
    references: Iterable[Reference] = tuple(REFERENCES.values()),
    counts: Iterable[int] = COUNTS,
    rounds: int = _ROUNDS,
) -> Calibration:
    """Time the three ways on ``device``; under a minute on two cores.

    What is compared is timed in turns, and the best turn counts: other work on the machine only
    ever adds time, threads that wait for each other stall tenfold under it, and what is found here
    is remembered.

    Args:
        device: where.
        tell: told in a line what is being timed.
        references: the shapes.
        counts: how many replicas at once; those over 16 are left out for a shape that is clearly
            slower stacked than otherwise before.
        rounds: turns.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        with RehearsalPool(workers(device), device) as pool:
            found = {}
            for reference in references:
                tell(f"timing replicas on {device.type}: {reference.title}")
                found[reference.name] = _time(reference, device, pool, sorted(counts), rounds)
            return found
    finally:
        torch.set_num_threads(threads)


def remembered(home: Path, device: torch.device) -> Calibration:
    """What was remembered for ``device`` and the machine as it is now; empty when nothing was."""
    return _MEASURED.of(home, device) or {}


def remember(home: Path, device: torch.device, found: Calibration) -> None:
    """Keep ``found`` under ``home``, beside what other machines found."""
    _MEASURED.keep(home, device, dict(found))


def _time(
    reference: Reference,
    device: torch.device,
    pool: RehearsalPool,
    counts: list[int],
    rounds: int,
) -> Timing:
    few, many = [k for k in counts if k <= _FEW], [k for k in counts if k > _FEW]
    single, together, *small = _best_turns(
        [
            one_after_another(reference, 1, device),
            pool.side_by_side(reference, pool.size),
            *(batched(reference, runs, device) for runs in few),
        ],
        rounds,
    )
    stacks = dict(zip(few, small, strict=True))
    for runs in many:
        last = max(stacks, default=1)
        others = min(last * single, math.ceil(last / pool.size) * together)
        if stacks.get(last, 0.0) > _HOPELESS * others:
            break
        (stacks[runs],) = _best_turns([batched(reference, runs, device)], rounds)
    return Timing(
        work=reference.shape.work,
        alone=single,
        side_by_side=together,
        workers=pool.size,
        batched=stacks,
    )


def _best_turns(ways: list[Timed], rounds: int) -> list[float]:
    """Seconds a step of each way, the best of so many turns; the ways take turns."""
    steps = [_steps(train) for train in ways]
    turns = [[train(n) / n for train, n in zip(ways, steps, strict=True)] for _ in range(rounds)]
    return [min(column) for column in zip(*turns, strict=True)]


def _steps(train: Timed) -> int:
    """Steps enough to be timed well, after some to warm up."""
    one = min(train(1) for _ in range(3))
    return max(1, math.ceil(_LEAST_SECONDS / max(one, 1e-6)))
