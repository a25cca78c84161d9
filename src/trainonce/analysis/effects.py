"""Effects of doses: means, intervals and a trend test that rest on the randomization.

Doses were dealt to items at random within strata (a seed and a kind of item). Tests deal them
again within the same strata; intervals resample items within the same dose and stratum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

RESAMPLES = 4_000
PERMUTATIONS = 9_999


@dataclass(frozen=True)
class Sample:
    """One outcome of one question: a value, a dose and a stratum for each unit.

    Attributes:
        values: ``(n,)``.
        doses: ``(n,)``.
        strata: ``(n,)`` whole numbers.
        low: the outcome's least possible value, or minus infinity.
        high: its greatest, or infinity.
    """

    values: Floats
    doses: npt.NDArray[np.int64]
    strata: npt.NDArray[np.int64]
    low: float = -math.inf
    high: float = math.inf

    def of(self, dose: int) -> Sample:
        """The units that got ``dose``."""
        chosen = self.doses == dose
        return Sample(
            self.values[chosen], self.doses[chosen], self.strata[chosen], self.low, self.high
        )


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float


def mean(sample: Sample, random: np.random.Generator, level: float = 0.95) -> Estimate:
    """The mean of a sample of one dose, with a bootstrap interval over its units.

    The percentile interval is widened to what Student's t would have (Hesterberg 2015,
    arXiv 1411.5279, section 5.3), since plain percentiles are too narrow for few units. Where all
    units have the same value a resample cannot differ either; then the interval reaches as far
    towards the outcome's bounds as a share of units that nobody has seen could be, at this level.
    """
    value = float(sample.values.mean())
    if np.ptp(sample.values) == 0:
        unseen = 1 - ((1 - level) / 2) ** (1 / len(sample.values))
        low = value - unseen * (value - sample.low) if math.isfinite(sample.low) else value
        high = value + unseen * (sample.high - value) if math.isfinite(sample.high) else value
        return Estimate(value, low, high)
    means = _resampled_means(sample, random)
    freedom = max(1, len(sample.values) - len(np.unique(sample.strata)))
    width = stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(len(sample.values) / freedom)
    tail = float(stats.norm.cdf(-width))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(value, float(min(low, value)), float(max(high, value)))


def difference(treated: Estimate, control: Estimate) -> Estimate:
    """Treated minus control, its interval recovered from theirs (MOVER, Zou and Donner 2008)."""
    value = treated.value - control.value
    below = math.hypot(treated.value - treated.low, control.high - control.value)
    above = math.hypot(treated.high - treated.value, control.value - control.low)
    return Estimate(value, value - below, value + above)


def trend(sample: Sample, random: np.random.Generator) -> float:
    """The two-sided p-value of no trend over doses, by dealing the doses again.

    The statistic is the sum of values times the centred logarithm of 1 + dose.
    """
    scores = np.log2(1.0 + sample.doses)
    values = sample.values.copy()
    for stratum in np.unique(sample.strata):
        inside = sample.strata == stratum
        scores[inside] -= scores[inside].mean()
        values[inside] -= values[inside].mean()
    observed = abs(float(scores @ values))
    dealt = np.tile(scores, (PERMUTATIONS, 1))
    for stratum in np.unique(sample.strata):
        inside = np.flatnonzero(sample.strata == stratum)
        dealt[:, inside] = random.permuted(dealt[:, inside], axis=1)
    extreme = np.abs(dealt @ values) >= observed * (1 - 1e-9)
    return (1 + int(extreme.sum())) / (1 + PERMUTATIONS)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction: p-values that hold for all questions at once."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def _resampled_means(sample: Sample, random: np.random.Generator) -> Floats:
    total = np.zeros(RESAMPLES)
    for stratum in np.unique(sample.strata):
        values = sample.values[sample.strata == stratum]
        drawn = random.integers(0, len(values), (RESAMPLES, len(values)))
        total += values[drawn].sum(axis=1)
    return total / len(sample.values)
