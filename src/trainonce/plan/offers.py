"""What a strategy offers for a question, or why it cannot answer it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trainonce.study.schema import Strategy


class Refused(StrEnum):
    """Why a strategy cannot answer a question."""

    UNIT = "unit"
    STARTS_AT_0 = "starts at step 0"
    STARTS_LATE = "starts late"
    NO_MIXTURES = "no mixtures"
    NO_LADDER = "no ladder"
    NO_SMALL = "no small model"
    NOT_LARGER = "not larger"
    NOT_SMALLER = "not smaller"
    OTHER_CHANGE = "other change"
    SCHEDULE = "schedule"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A way to answer a question.

    Attributes:
        strategy: the way.
        run_equivalents: what it trains beside the trunk.
    """

    strategy: Strategy
    run_equivalents: float


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a question cannot be answered in one way, for a program and for people."""

    strategy: Strategy
    code: Refused
    why: str
