"""Arms against the base run: paired differences over seeds.

An arm and the base run of one seed begin with the same weights and read the same data in the same
order, so that what differs between seeds drops out of their difference. The unit is the pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from trainonce.analysis.answers import DoseAnswer, OutcomeAnswer
from trainonce.analysis.effects import Estimate, Floats
from trainonce.methods.registry import Outcome


@dataclass(frozen=True)
class Arm:
    """What was measured of the runs of one arm.

    Attributes:
        label: what differs from the base run.
        values: the outcome of its run at each seed, ``(seeds,)``, in the order of the base run's.
        against: that of the base run at the same step, where it is not the end.
        stopped_after: the step after which it was stopped.
        diverged_at: the step at which its first run diverged; ``values`` are no numbers then.
        diverged: how many of its runs did.
    """

    label: str
    values: Floats
    against: Floats | None = None
    stopped_after: int | None = None
    diverged_at: int | None = None
    diverged: int = 0


def compared(arms: Sequence[Arm], outcome: Outcome) -> OutcomeAnswer:
    """Every arm with its difference from the first one, which is the base run; the last decides."""
    base = arms[0]
    doses = []
    for number, arm in enumerate(arms):
        if arm.diverged_at is not None:
            doses.append(_nothing(number, arm))
            continue
        level = t_interval(arm.values)
        differences = arm.values - (base.values if arm.against is None else arm.against)
        effect = t_interval(differences) if number else Estimate(0.0, 0.0, 0.0)
        doses.append(
            DoseAnswer(
                dose=number,
                label=arm.label,
                mean=level.value,
                low=level.low,
                high=level.high,
                units=len(arm.values),
                effect=effect.value,
                effect_low=effect.low,
                effect_high=effect.high,
                p=paired_p(differences) if number else None,
                points=tuple(float(value) for value in differences) if number else (),
                base=None if arm.against is None else float(arm.against.mean()),
                stopped_after=arm.stopped_after,
            )
        )
    last = doses[-1]
    return OutcomeAnswer(
        outcome=outcome.name,
        says=outcome.says,
        estimate=last.effect,
        low=last.effect_low,
        high=last.effect_high,
        p=1.0 if last.p is None else last.p,
        doses=tuple(doses),
    )


def _nothing(number: int, arm: Arm) -> DoseAnswer:
    """An arm that diverged has no outcome, and no interval excludes anything."""
    return DoseAnswer(
        dose=number,
        label=arm.label,
        mean=math.nan,
        low=-math.inf,
        high=math.inf,
        units=len(arm.values),
        effect=math.nan,
        effect_low=-math.inf,
        effect_high=math.inf,
        p=1.0,
        diverged_at=arm.diverged_at,
        diverged=arm.diverged,
    )


def t_interval(values: Floats, level: float = 0.95) -> Estimate:
    """The mean with Student's t interval; of one value, which shows no spread, without bounds."""
    value = float(values.mean())
    if len(values) < 2:
        return Estimate(value, -math.inf, math.inf)
    freedom = len(values) - 1
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    width = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Estimate(value, value - width, value + width)


def paired_p(differences: Floats) -> float:
    """The two-sided p-value of a mean difference of 0, by a paired t-test.

    1 where there is one pair only; and where all differences are 0, as between runs that are the
    same bit by bit.
    """
    if len(differences) < 2 or not np.any(differences):
        return 1.0
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    if error == 0:
        return 0.0
    return float(2 * stats.t.sf(abs(float(differences.mean())) / error, len(differences) - 1))


def spread(outcome: OutcomeAnswer) -> float | None:
    """Standard deviation between seeds of the deciding arm's differences; None for one seed."""
    points = outcome.doses[-1].points
    return float(np.std(points, ddof=1)) if len(points) > 1 else None
