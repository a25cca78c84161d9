"""How training went, whatever was asked: held-out losses, curves, updates left out, times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from trainonce.analysis.answers import Curve, JobTime, LeftOut
from trainonce.analysis.by_part import NAMES
from trainonce.analysis.effects import Estimate, Sample, mean
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache
from trainonce.run.losses import saved_losses
from trainonce.tasks.specs.runs import TrainSpec


def heldout_blocks(rows: pl.DataFrame) -> pl.DataFrame:
    """The held-out loss of each block and seed, in an order in which runs can be paired."""
    return rows.filter(pl.col("outcome") == "heldout_loss").sort("seed", "unit")


def heldout_change(trunk: pl.DataFrame, plain: pl.DataFrame) -> Estimate:
    """The relative change of the held-out loss; blocks are paired."""
    before, after = plain["value"].to_numpy(), trunk["value"].to_numpy()
    strata = trunk["seed"].to_numpy()
    sample = Sample(after - before, np.zeros(len(after), dtype=np.int64), strata)
    change = mean(sample)
    base = float(before.mean())
    return Estimate(change.value / base, change.low / base, change.high / base)


def curves(plan: Plan, cache: JobCache, points: int = 100) -> tuple[Curve, ...]:
    """The training loss of each run, as the means of at most ``points`` equal parts."""
    found = []
    for job in plan.jobs:
        if not isinstance(job.spec, TrainSpec):
            continue
        told = saved_losses(cache, job.key, (state.key for state in cache.states(job.spec)))
        if len(told):
            losses = _without_gaps(told)
            parts = np.array_split(np.arange(len(losses)), min(points, len(losses)))
            found.append(
                Curve(
                    name=NAMES.get(job.role, job.label),
                    seed=job.seed,
                    steps=tuple(int(part[-1]) + 1 for part in parts),
                    losses=tuple(round(float(losses[part].mean()), 4) for part in parts),
                )
            )
    return tuple(found)


def left_out(plan: Plan, cache: JobCache) -> tuple[LeftOut, ...]:
    """The updates that were left out, as their loss was not finite, of each run with any."""
    found = []
    for job in plan.jobs:
        if job.kind != "train" or not cache.done(job.key):
            continue
        if steps := cache.result(job.key).get("left_out"):
            found.append(LeftOut(job=job.key, seed=job.seed, steps=tuple(steps)))
    return tuple(found)


def times(plan: Plan, cache: JobCache) -> tuple[JobTime, ...]:
    """What each finished job took, beside what was promised of it."""
    found = []
    for job in plan.jobs:
        if not cache.done(job.key):
            continue
        facts = cache.result(job.key)
        promised, taken = facts.get("promised_seconds"), facts.get("seconds")
        if promised is not None and taken is not None:
            found.append(JobTime(job=job.key, promised=float(promised), taken=float(taken)))
    return tuple(found)


def hardware(plan: Plan, cache: JobCache) -> tuple[str, ...]:
    """The machines that jobs were run on, with their versions of what decides results."""
    found: dict[str, None] = {}
    for job in plan.jobs:
        if not cache.done(job.key):
            continue
        facts = cache.result(job.key)
        line = f"{facts['machine']}, Python {facts['python']}, torch {facts['torch']}"
        found[line] = None
    return tuple(found)


def _without_gaps(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Losses with those that are not finite, whose update was left out, drawn as straight lines."""
    steps, good = np.arange(len(losses)), np.isfinite(losses)
    return np.interp(steps, steps[good], losses[good])
