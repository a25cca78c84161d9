"""The rule by which a claim is decided: computed from an answer, never typed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from trainonce.analysis.verdicts import Verdict
from trainonce.papers.claims import EXPECTED, Holds
from trainonce.papers.looks import Found

_DIFFERENCES: tuple[Holds, ...] = ("higher", "lower", "changed")
"""What holds where there is an effect; the others, where there is none of interest."""


class Decision(StrEnum):
    """What became of a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    CANNOT_TELL = "cannot tell"
    NOT_AT_THIS_SCALE = "not at this scale"

    @property
    def decided(self) -> bool:
        """Whether the study could tell, either way."""
        return self in (Decision.HOLDS, Decision.FAILS)


_SURE = (Decision.FAILS, Decision.CANNOT_TELL, Decision.HOLDS)


def decide(holds: Holds, found: Found, premises: Sequence[Found]) -> Decision:
    """What was found of the deciding effect makes of a claim.

    Not at this scale, where a premise was not answered yes: what the claim is about is not there to
    be looked at. Of ``higher`` and ``lower``: holds where the answer is yes, an effect in that
    direction that its interval and its corrected p keep away from 0; fails where it is no, the
    interval excluding every effect that would be of interest; of ``changed`` the same, in either
    direction. Of ``not lower``, ``not higher`` and ``unchanged``, with the smallest effect of
    interest as the margin: holds where the interval excludes a loss (either way, a change) of the
    margin or more; fails where it lies wholly beyond the margin. Otherwise, and where something
    that tested the answer did not hold, it cannot be told.

    Args:
        holds: what the claim says.
        found: of the deciding effect.
        premises: of the effects that must be there, answered yes.
    """
    if any(Verdict(premise.verdict) is not Verdict.YES for premise in premises):
        return Decision.NOT_AT_THIS_SCALE
    if found.reason:  # a test of it did not hold
        return Decision.CANNOT_TELL
    if holds in _DIFFERENCES:
        by = {Verdict.YES: Decision.HOLDS, Verdict.NO: Decision.FAILS}
        return by.get(Verdict(found.verdict), Decision.CANNOT_TELL)
    ways = [EXPECTED[holds]] if EXPECTED[holds] else [1, -1]
    return _within(ways, found)


def weakest(holds: Holds, founds: Sequence[Found]) -> Found:
    """Of several deciding effects, each of which must be as a claim says, the least so.

    The claim fails where one of them fails, and holds where all of them hold, so that nothing has
    to be corrected for their number.

    Args:
        holds: what the claim says of each.
        founds: what was found of each.
    """
    way, sign = EXPECTED[holds], 1 if holds in _DIFFERENCES else -1

    def sure(found: Found) -> tuple[int, float]:
        size = way * found.estimate.value if way else abs(found.estimate.value)
        return _SURE.index(decide(holds, found, ())), sign * size

    return min(founds, key=sure)


def _within(ways: Sequence[int], found: Found) -> Decision:
    """Of a claim that there is no change in any of ``ways``."""
    low, high = found.estimate.low, found.estimate.high
    ends = [(low, high) if way > 0 else (-high, -low) for way in ways]
    if all(most < found.smallest for _, most in ends):
        return Decision.HOLDS
    beyond = any(least >= found.smallest for least, _ in ends)
    return Decision.FAILS if beyond else Decision.CANNOT_TELL
