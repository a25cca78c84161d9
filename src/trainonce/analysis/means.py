"""Intervals of a mean, by what kind of values it is of.

Chosen by simulation (`benchmarks/validity.py coverage`) among these, the bootstrap, its studentized
form and Hall's correction of skewness: with 8 to 100 units these cover nearest to their level.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Limits = tuple[float, float]


def rate_limits(successes: int, units: int, level: float) -> Limits:
    """Jeffreys' interval of a rate, which reaches 0 and 1 where none or all succeeded.

    Brown, Cai and DasGupta (2001), section 4.3.
    """
    tail = (1 - level) / 2
    posterior = stats.beta(successes + 0.5, units - successes + 0.5)
    low = 0.0 if successes == 0 else float(posterior.ppf(tail))
    high = 1.0 if successes == units else float(posterior.ppf(1 - tail))
    return low, high


def share_limits(mean: float, variance: float, freedom: float, units: int, level: float) -> Limits:
    """A score interval of the mean of values between 0 and 1, which stays between these.

    Wilson's, for as many successes and failures as would vary like these values do; with Student's
    quantile, since how they vary is an estimate.

    Args:
        mean: of the values, above 0 and under 1.
        variance: between units, above 0.
        freedom: degrees of freedom of the variance.
        units: how many there are.
        level: of the interval.
    """
    like = units * mean * (1 - mean) / variance
    quantile = float(stats.t.ppf((1 + level) / 2, freedom))
    pull = quantile**2 / like
    centre = (mean + pull / 2) / (1 + pull)
    half = math.sqrt(pull * mean * (1 - mean) + pull**2 / 4) / (1 + pull)
    return centre - half, centre + half


def student_limits(
    mean: float, variance: float, freedom: float, units: int, level: float
) -> Limits:
    """Student's interval of the mean of values without two bounds; arguments as above."""
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance / units)
    return mean - half, mean + half


def spread_within(values: Floats, strata: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Variance between the units of a stratum, and its degrees of freedom.

    Of all units at once where strata have too few to tell, or none of them varies.
    """
    within = values.astype(np.float64)
    names = np.unique(strata)
    for stratum in names:
        within[strata == stratum] -= within[strata == stratum].mean()
    squares = float((within**2).sum())
    if len(values) > len(names) and squares > 0:
        return squares / (len(values) - len(names)), float(len(values) - len(names))
    return float(values.var(ddof=1)), float(len(values) - 1)
