"""Numbers with units, as users write them: ``2000 steps``, ``1.6M tokens``, ``5%``, ``15 s``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

_LENGTH = re.compile(r"([\d_.]+)\s*([kKMBG]?)\s*(steps|tokens)")
_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}
_EVERY = re.compile(r"([\d_]+)\s*steps|([\d.]+)\s*(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_PERCENT = re.compile(r"([\d.]+)\s*%")


@dataclass(frozen=True)
class Length:
    """How long a run is, in ``steps`` or ``tokens``."""

    amount: int
    unit: str

    def steps(self, batch: int, sequence: int) -> int:
        """Optimizer updates, at least 1."""
        if self.unit == "steps":
            return self.amount
        return max(1, round(self.amount / (batch * sequence)))


@dataclass(frozen=True)
class Every:
    """How often something is done: in ``seconds``, or in ``steps`` where these are given."""

    seconds: float
    steps: int | None = None


def _every(value: Any) -> Every:
    match = _EVERY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a time or a number of steps, such as '15 s', '5 min' or '500 steps'")
    if match[1] is not None:
        if not (steps := int(match[1])):
            raise ValueError("at least one step")
        return Every(0.0, steps)
    return Every(float(match[2]) * _SECONDS[match[3]])


def _length(value: Any) -> Length:
    match = _LENGTH.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a length with its unit, such as '2000 steps' or '1.6M tokens'")
    amount = round(float(match[1]) * _FACTORS[match[2]])
    if amount < 1:
        raise ValueError("a length of at least one step")
    return Length(amount, match[3])


def _share(value: Any) -> float:
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())):
        value = float(match[1]) / 100
    try:
        share = float(value)
    except (TypeError, ValueError):
        raise ValueError("a share, such as 5% or 0.05") from None
    if isinstance(value, bool) or not 0 <= share <= 1:
        raise ValueError("a share between 0 and 1, such as 5% or 0.05")
    return share


LengthField = Annotated[Length, BeforeValidator(_length)]
EveryField = Annotated[Every, BeforeValidator(_every)]
Share = Annotated[float, BeforeValidator(_share)]
