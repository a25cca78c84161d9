"""A decision: which arms go on after a rung, from the losses that their runs have kept so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainonce.plan.early.rule import Floats
from trainonce.plan.early.settle import curve, decide
from trainonce.run.cache import JobCache
from trainonce.tasks.specs.decisions import DecideSpec
from trainonce.tasks.specs.runs import TrainSpec


def run_decision(spec: DecideSpec, cache: JobCache) -> dict[str, Any]:
    """What is decided, as JSON data.

    ``stopped`` has the step of each arm that was stopped here or before, by its number from 0;
    ``losses`` the mean training loss, since the part of the run before, of those that were looked
    at; ``chance`` is that of a wrong stop here, as the rule sees it, and ``spent`` that of all
    decisions so far.
    """
    earlier = cache.decision(spec.earlier.key) if spec.earlier else {}
    stopped: dict[str, int] = earlier.get("stopped", {})
    spent = float(earlier.get("spent", 0.0))
    diverged = [
        number
        for number, arm in enumerate(spec.runs)
        if any(_diverged(run, spec.step, cache) for run in arm)
    ]
    living = np.array(
        [str(arm) not in stopped and arm not in diverged for arm in range(len(spec.runs))]
    )
    seen = np.full((len(living), spec.rung), np.nan)
    for arm in np.flatnonzero(living):
        seen[arm] = np.mean([_curve(spec, run, cache) for run in spec.runs[arm]], axis=0)
    found = decide(spec.rule, seen, living, spent)
    now = [int(arm) for arm in np.flatnonzero(found.stop)]
    return {
        "step": spec.step,
        "steps": spec.trained.train.steps,
        "stopped": {**stopped, **{str(arm): spec.step for arm in now}},
        "diverged": diverged,
        "losses": {str(arm): float(seen[arm, -1]) for arm in np.flatnonzero(living)},
        "chance": found.chance,
        "spent": spent + found.chance,
        "reason": _reason(now, int(living.sum()), found.chance),
    }


def _curve(spec: DecideSpec, run: TrainSpec, cache: JobCache) -> Floats:
    losses = cache.losses_until(run, spec.step)
    return curve(losses, spec.rule.checkpoints, run.train.steps)


def _diverged(run: TrainSpec, step: int, cache: JobCache) -> bool:
    found = cache.divergence(run)
    return found is not None and int(found["step"]) <= step


def _reason(now: list[int], living: int, chance: float) -> str:
    if not now:
        return f"all {living} arms go on: none is sure enough not to end best"
    return (
        f"{len(now)} of {living} arms stop: by the predictions one of them would have ended best "
        f"with a chance of {chance:.2%}"
    )
