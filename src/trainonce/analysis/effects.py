"""Effects of doses: means, intervals and a trend test that rest on the randomization.

Doses were dealt to items at random within strata (a seed and a kind of item). Tests deal them
again within the same strata; intervals rest on how units of one dose and stratum differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainonce.analysis.means import rate_limits, share_limits, spread_within, student_limits

Floats = npt.NDArray[np.float64]

PERMUTATIONS = 9_999
_SAME = 1e-9  # values nearer to each other than that do not tell how units differ


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


def mean(sample: Sample, level: float = 0.95) -> Estimate:
    """The mean of a sample of one dose, and its interval.

    By what the values are: Jeffreys' interval where each is one of the outcome's two bounds, a
    score interval where it has two bounds and they lie between, else Student's; values that go
    beyond the bounds are taken to have none. Where all units have the same value, which is no
    bound, they say nothing about how units differ; then the interval reaches as far towards the
    outcome's bounds as a share of units that nobody has seen could be, at this level.
    """
    values, units = sample.values, len(sample.values)
    value = float(values.mean())
    low, high = sample.low, sample.high
    if values.min() < low or values.max() > high:
        low, high = -math.inf, math.inf
    bounded = math.isfinite(low) and math.isfinite(high)
    if bounded and bool(((values == low) | (values == high)).all()):
        limits = rate_limits(int((values == high).sum()), units, level)
        return _estimate(value, low + limits[0] * (high - low), low + limits[1] * (high - low))
    if np.ptp(values) <= _SAME * max(1.0, abs(value)):
        unseen = 1 - ((1 - level) / 2) ** (1 / units)
        below = value - unseen * (value - low) if math.isfinite(low) else value
        above = value + unseen * (high - value) if math.isfinite(high) else value
        return _estimate(value, below, above)
    variance, freedom = spread_within(values, sample.strata)
    if bounded:
        size = high - low
        limits = share_limits((value - low) / size, variance / size**2, freedom, units, level)
        return _estimate(value, low + limits[0] * size, low + limits[1] * size)
    below, above = student_limits(value, variance, freedom, units, level)
    return _estimate(value, max(below, low), min(above, high))


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


def _estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, min(low, value), max(high, value))
