"""Forks compared item by item: how an experiment's presence moves what is measured of items.

The same items are measured in every fork, so that each item has a difference of its own. Two things
are read from the differences: whether the outcome moves (their mean), and whether the answer does
(their mean at the highest dose against that at dose 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from trainonce.analysis.effects import PERMUTATIONS, Estimate, Floats, Sample, effect, mean, trends
from trainonce.analysis.verdicts import ALPHA, FEWEST


class Decision(StrEnum):
    """Whether two experiments may share a run."""

    SHARE = "share"
    SPLIT = "split"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A change with its 95 % interval, and the permutation p-value of none, uncorrected."""

    value: float
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, found: Estimate, p: float) -> Reading:
        """An estimate with its p-value."""
        return cls(value=found.value, low=found.low, high=found.high, p=p)

    def within(self, margin: float) -> bool:
        """Whether the interval lies wholly inside of the margin."""
        return -margin < self.low and self.high < margin

    @property
    def reach(self) -> float:
        """How far from 0 the interval goes."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a contrast of forks does to the items of one experiment.

    Attributes:
        level: of the outcome, the mean over all items.
        answer: of the effect, which is the highest dose against dose 0.
    """

    level: Reading
    answer: Reading

    @property
    def p(self) -> float:
        """Of no change in either, corrected for there being two."""
        return min(1.0, 2 * min(self.level.p, self.answer.p))

    def within(self, margin: float) -> bool:
        """Whether both intervals lie inside of the margin."""
        return self.level.within(margin) and self.answer.within(margin)


def changes(
    sample: Sample,
    runs: Floats,
    contrasts: Floats,
    random: np.random.Generator,
    tests: int = 1,
) -> list[Change]:
    """What each contrast of forks does to the items of one experiment.

    Args:
        sample: doses, strata and bounds of the items; its values are not looked at.
        runs: the outcome of each item in each fork, ``(items, forks)``.
        contrasts: weights of the forks, which sum to 0, ``(forks, contrasts)``.
        random: what flips and deals.
        tests: p-values that will be corrected together, for which there must be enough deals.
    """
    differences = runs @ contrasts
    deals = max(PERMUTATIONS, 40 * tests)
    moved = flips(differences, random, deals)
    answered = trends(sample, differences, random, deals)
    reach = np.abs(contrasts).sum(axis=0) / 2 * (sample.high - sample.low)
    top = int(sample.doses.max())
    found = []
    for number, own in enumerate(differences.T):
        bounded = replace(sample, values=own, low=-reach[number], high=reach[number])
        level = mean(replace(bounded, doses=np.zeros_like(sample.doses)))
        answer = effect(bounded.of(top), bounded.of(0))
        found.append(
            Change(
                level=Reading.of(level, float(moved[number])),
                answer=Reading.of(answer, float(answered[number])),
            )
        )
    return found


def flips(differences: Floats, random: np.random.Generator, count: int) -> Floats:
    """The two-sided p-value of no difference, by exchanging the two sides of items at random.

    Args:
        differences: of each item, ``(items, contrasts)``.
        random: what flips.
        count: how often.

    Returns:
        ``(contrasts,)``.
    """
    observed = np.abs(differences.sum(axis=0)) * (1 - 1e-9)
    extreme = np.zeros(differences.shape[1], dtype=np.int64)
    for start in range(0, count, PERMUTATIONS):
        size = (min(PERMUTATIONS, count - start), len(differences))
        signs = random.integers(0, 2, size, dtype=np.int8) * 2.0 - 1.0
        extreme += (np.abs(signs @ differences) >= observed).sum(axis=0)
    return np.asarray((1.0 + extreme) / (1.0 + count))


def decision(change: Change, p_adjusted: float, margin: float, units: int) -> Decision:
    """Whether an experiment may stay beside another one whose items are measured.

    Share, when the intervals of both readings lie inside of the margin, and at least 10 items at
    either dose say so. Otherwise split, when the corrected p-value is under 5 %. Otherwise the data
    cannot tell.

    Args:
        change: of the other one's items.
        p_adjusted: corrected over all changes that are looked at.
        margin: the other one's smallest effect of interest.
        units: at its highest dose or at dose 0, whichever are fewer.
    """
    if units >= FEWEST and change.within(margin):
        return Decision.SHARE
    return Decision.SPLIT if p_adjusted < ALPHA else Decision.CANNOT_TELL


def together(decisions: Sequence[Decision]) -> Decision:
    """One decision of several: split for any, share for all."""
    if Decision.SPLIT in decisions:
        return Decision.SPLIT
    alike = all(one is Decision.SHARE for one in decisions)
    return Decision.SHARE if alike else Decision.CANNOT_TELL
