"""Emulated tuning beside one that was really made."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from trainonce.analysis.answers import Check, OutcomeAnswer


def true_tuning(decided: OutcomeAnswer, real: float) -> Check:
    """The true effect at the first seed beside the emulated ones.

    It stands the test when it has their sign and lies where the effect of one more pair of runs
    would, by Student's prediction interval over the emulated effects of all seeds; and fails it
    outside of that. One seed shows no spread, and an effect within the interval but of the other
    sign is too small to have one: both tell nothing.

    Args:
        decided: the emulated effects.
        real: the loss of the base run that was really changed, less that without, first seed.
    """
    effects = np.array(decided.doses[-1].points)
    says = f"the true effect at the first seed is {real:.4f}, the emulated one {effects[0]:.4f}"
    if len(effects) < 2:
        return Check(
            name="one true tuning",
            says=f"{says}; one seed shows no spread to judge that by",
            value=real,
        )
    mean, spread = float(effects.mean()), float(effects.std(ddof=1))
    reach = float(stats.t.ppf(0.975, len(effects) - 1))
    half = reach * spread * math.sqrt(1 + 1 / len(effects))
    inside, same = abs(real - mean) <= half, real * mean > 0
    return Check(
        name="one true tuning",
        says=f"{says}; a pair of runs would lie between {mean - half:.4f} and {mean + half:.4f}",
        value=real,
        low=mean - half,
        high=mean + half,
        held=(True if same else None) if inside else False,
    )
