"""How far a run is and how fast it goes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int
    steps: int
    loss: float
    tokens_per_second: float
    seconds_left: float


class Clock:
    """Tokens a second and time left, told about four times a second.

    Args:
        steps: of the whole run.
        tokens: read by a step.
        step: where the run starts or goes on.
    """

    def __init__(self, steps: int, tokens: int, step: int) -> None:
        self._steps = steps
        self._tokens = tokens
        self._first = step
        self._start = self._told = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether to tell after ``step`` steps."""
        return step == self._steps or time.monotonic() - self._told > 0.25

    def progress(self, step: int, loss: float) -> Progress:
        """Where the run stands after ``step`` steps."""
        self._told = time.monotonic()
        a_step = (self._told - self._start) / (step - self._first)
        left = a_step * (self._steps - step)
        return Progress(step, self._steps, loss, self._tokens / max(a_step, 1e-9), math.ceil(left))
