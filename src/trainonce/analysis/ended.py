"""Arms that did not come to their end: those that were stopped, and those that diverged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trainonce.analysis.effects import Floats
from trainonce.analysis.runs import Arm
from trainonce.plan.plan import Plan
from trainonce.plan.planned import PlannedArm, PlannedQuestion, PlannedRung
from trainonce.run.cache import JobCache

Levels = Callable[[Sequence[str]], Floats]


def arms(plan: Plan, planned: PlannedQuestion, cache: JobCache, levels: Levels) -> list[Arm]:
    """The base run and the arms of a question about runs, each as far as it came.

    One that was stopped is measured where it stopped, and compared with the base run there. One
    that was stopped and was trained to its end nevertheless, by another study, is measured there.

    Args:
        plan: what was planned.
        planned: the question.
        cache: what became of it.
        levels: the outcome that each of some jobs measured, ``(jobs,)``.
    """
    return [_arm(plan, planned, number, cache, levels) for number in range(len(planned.arms))]


def sentences(planned: PlannedQuestion, found: Sequence[Arm], cache: JobCache) -> tuple[str, ...]:
    """Which arms did not come to their end: when, why, and the chance that a stop is wrong."""
    outcome = planned.question.outcome.name
    said = [f"{arm.label}: it has no {outcome}" for arm in found if arm.diverged_at is not None]
    rule = planned.stopping.rule if planned.stopping else None
    for rung in planned.rungs:
        stopped = [arm.label for arm in found if arm.stopped_after == rung.step]
        if stopped and rule:
            said.append(
                f"{'; '.join(stopped)}: compared with {planned.arms[0].label} at that step. "
                f"{cache.decision(rung.decision)['reason']}. That any stop of this question is "
                f"wrong has a chance of at most {rule.chance:.1%}, as rehearsed among "
                f"{len(rule.curves)} finished recipes"
            )
    return tuple(said)


def _arm(plan: Plan, planned: PlannedQuestion, number: int, cache: JobCache, levels: Levels) -> Arm:
    arm = planned.arms[number]
    if all(map(cache.done, arm.measured)):
        return Arm(arm.label, levels(arm.measured))
    for rung in planned.rungs:
        if cache.decision(rung.decision)["stopped"].get(str(number - 1)) == rung.step:
            steps = cache.decision(rung.decision)["steps"]
            return _stopped(arm, number, rung, steps, levels)
    return _diverged(plan, arm, cache)


def _stopped(arm: PlannedArm, number: int, rung: PlannedRung, steps: int, levels: Levels) -> Arm:
    return Arm(
        f"{arm.label} (stopped after step {rung.step} of {steps})",
        levels(rung.measured[number]),
        against=levels(rung.measured[0]),
        stopped_after=rung.step,
    )


def _diverged(plan: Plan, arm: PlannedArm, cache: JobCache) -> Arm:
    runs = [plan.job(key).trained for key in arm.measured]
    found = [facts for run in runs if (facts := cache.divergence(run)) is not None]
    first = min(int(facts["step"]) for facts in found)
    where = f" at {len(found)} of {len(runs)} seeds" if len(found) < len(runs) else ""
    return Arm(
        f"{arm.label} (diverged at step {first} of {runs[0].train.steps}{where})",
        np.full(len(runs), np.nan),
        diverged_at=first,
        diverged=len(found),
    )
