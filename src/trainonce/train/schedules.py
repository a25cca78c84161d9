"""Learning-rate schedules: pure functions ``(step, total) -> factor`` of the peak rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class WarmupStableDecay:
    """Linear warm-up, a constant stretch, linear decay (Hu et al. 2024, arXiv 2404.06395).

    Attributes:
        name: tells it from the others where it is written down.
        warmup: share of the run spent warming up.
        decay: share of the run spent decaying.
        floor: factor that the decay ends at.
    """

    name: Literal["wsd"] = "wsd"
    warmup: float = 0.05
    decay: float = 0.25
    floor: float = 0.0

    def __call__(self, step: int, total: int) -> float:
        """The factor for the update after which ``step`` + 1 of ``total`` steps are done."""
        rising = _warmup(step, self.warmup * total)
        left = (total - step) / max(self.decay * total, 1e-9)
        return min(rising, self.floor + (1 - self.floor) * min(1.0, left))


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Linear warm-up, then half a cosine down to the floor (Loshchilov and Hutter, 1608.03983)."""

    name: Literal["cosine"] = "cosine"
    warmup: float = 0.05
    floor: float = 0.1

    def __call__(self, step: int, total: int) -> float:
        """The factor for the update after which ``step`` + 1 of ``total`` steps are done."""
        start = self.warmup * total
        if step < start:
            return _warmup(step, start)
        progress = (step - start) / max(total - start, 1e-9)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


Schedule = WarmupStableDecay | Cosine


def _warmup(step: int, steps: float) -> float:
    return min(1.0, (step + 1) / max(steps, 1.0))
