"""What a run tells of each step, once the state after it is saved.

A run that is killed and goes on repeats the steps since its last checkpoint, with the same bits.
Handing steps on only after they are saved tells each of them once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainonce.train.settings import TrainSettings
from trainonce.train.state import RunState


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """One update.

    Attributes:
        step: counted from 1.
        loss: before it, in nats a token.
        learning_rate: of the optimizer's first group.
        gradient_norm: before clipping.
        tokens_per_second: over the steps since numbers were last looked at.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float


Track = Callable[[Sequence[StepFacts]], None]
"""Takes the facts of some steps, in order and each once."""


class Journal:
    """Steps that are done and not yet handed on.

    Args:
        track: takes them.
        settings: the run's numbers.
        tokens: read by a step.
    """

    def __init__(self, track: Track, settings: TrainSettings, tokens: int) -> None:
        self._track = track
        self._settings = settings
        self._tokens = tokens
        self._steps: list[StepFacts] = []
        self._last = time.monotonic()

    def note(self, run: RunState, since: int) -> None:
        """Note the steps from ``since`` on; waits for the device."""
        losses, norms = run.losses[since : run.step].tolist(), run.norms[since : run.step].tolist()
        now = time.monotonic()
        pace = self._tokens * len(losses) / max(now - self._last, 1e-9)
        self._last = now
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), start=since):
            factor = self._settings.schedule(step, self._settings.steps)
            self._steps.append(
                StepFacts(
                    step=step + 1,
                    loss=loss,
                    learning_rate=run.peaks[0] * factor,
                    gradient_norm=norm,
                    tokens_per_second=pace,
                )
            )

    def hand_on(self) -> None:
        """Hand on what is noted: its steps are saved."""
        if self._steps:
            self._track(self._steps)
        self._steps = []
        self._last = time.monotonic()
