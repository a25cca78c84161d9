"""The smallest effect that a design can detect."""

from __future__ import annotations

import math

from scipy import stats

ALPHA = 0.05
POWER = 0.8


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
