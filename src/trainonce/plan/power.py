"""The smallest effect that a design can detect."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy import optimize, special, stats

ALPHA = 0.05
POWER = 0.8
_PARTS = 4_000  # equally likely spreads that the power is averaged over


def detectable_effect(
    treated: int, control: int, spread: float, questions: int, strata: int = 1
) -> float:
    """The true difference of two means that is found with 80 % power.

    A two-sided t-test of ``treated`` against ``control`` units, at the level that Holm's correction
    starts from: 5 % over the number of questions.

    Args:
        treated: units at the highest dose.
        control: units at dose 0.
        spread: standard deviation between units of one stratum.
        questions: questions that are corrected for.
        strata: seeds and kinds of items within which doses were dealt; each takes a degree of
            freedom from either dose.
    """
    freedom = max(1, treated + control - 2 * strata)
    quantiles = stats.t.ppf(1 - ALPHA / (2 * questions), freedom) + stats.t.ppf(POWER, freedom)
    return float(quantiles * spread * math.sqrt(1 / treated + 1 / control))


def detectable_difference(pairs: int, spread: float, questions: int) -> float | None:
    """The true mean of paired differences that is found with 80 % power; None for a single pair.

    A two-sided paired t-test at the level that Holm's correction starts from. With few pairs, sums
    of quantiles are far off, so the power is integrated over the spread that pairs may show.

    Args:
        pairs: runs with the treatment, each beside one without at the same seed.
        spread: standard deviation of the differences between seeds.
        questions: questions that are corrected for.
    """
    if pairs < 2:
        return None
    return _detectable_errors(pairs - 1, ALPHA / questions) * spread / math.sqrt(pairs)


@cache
def _detectable_errors(freedom: int, alpha: float) -> float:
    """The effect, in true standard errors, that a t-test finds with 80 % power.

    The test finds it where the estimate exceeds the critical value times the observed standard
    error, which is the true one times the root of chi-square over its degrees of freedom.
    """
    critical = stats.t.isf(alpha / 2, freedom)
    parts = (np.arange(_PARTS) + 0.5) / _PARTS
    needed = critical * np.sqrt(stats.chi2.ppf(parts, freedom) / freedom)

    def missing(effect: float) -> float:
        return POWER - float(special.ndtr(effect - needed).mean())

    return float(optimize.brentq(missing, 0.0, float(needed[-1]) + 10))


def pairs_needed(effect: float, spread: float, questions: int) -> int:
    """The fewest pairs whose `detectable_difference` is no more than ``effect``."""

    def enough(pairs: int) -> bool:
        found = detectable_difference(pairs, spread, questions)
        return found is not None and found <= effect

    high = 2
    while not enough(high):
        high *= 2
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
