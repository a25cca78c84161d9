"""What is done about a loss that is no number, and about one that grows.

Numbers are looked at each step on a CPU, where that is free, and every 8 steps elsewhere, so that
a device is not made to wait. A look only reads: the update of a step is left out on the device
itself (see `trainonce.train.loop.update`), and a rewind happens at looks only, so that no result
depends on when a checkpoint was saved.
"""

from __future__ import annotations

import math

import torch

from trainonce.train.settings import OnNan, TrainSettings
from trainonce.train.state import RunState, rewind

WINDOW = 16
MARGIN = 1.0
PATIENCE = 10
_LOOK_STEPS = {"cpu": 1}
_LOOK_STEPS_ELSEWHERE = 8
_MEND = "a lower learning rate or a longer warm-up usually helps"


class DivergedError(RuntimeError):
    """The loss is no longer a finite number, or has grown beyond that of an untrained model.

    Attributes:
        step: at which it was seen, counted from 1.
    """

    def __init__(self, message: str, step: int = 0) -> None:
        super().__init__(message)
        self.step = step


def look_due(run: RunState, settings: TrainSettings) -> bool:
    """Whether it is time for a `look`: also at the end, and before an anchor is dropped."""
    every = _LOOK_STEPS.get(run.device.type, _LOOK_STEPS_ELSEWHERE)
    anchor = settings.on_nan is OnNan.REWIND and run.step % settings.rewind_steps == 0
    return run.step % every == 0 or run.step == settings.steps or anchor


def look(run: RunState, since: int, on_nan: OnNan, vocabulary: int) -> None:
    """Do what ``on_nan`` says about the steps from ``since`` on, and refuse a diverging run.

    A run diverges when the mean loss of its last 16 updates lies 1 nat above the larger of its
    first loss and ln(``vocabulary``), the loss of a model that knows nothing. A run that skips 10
    steps in a row, or goes back 10 times, is given up as well.

    Raises:
        DivergedError: saying at which step, and what usually helps.
    """
    bad = bad_steps(run, since)
    if bad and on_nan is OnNan.STOP:
        text = f"{_finding(run, bad[0])}; {_MEND}, or `on_nan: skip` in the recipe"
        raise DivergedError(text, bad[0] + 1)
    if bad and on_nan is OnNan.SKIP:
        run.left_out += bad
        patience = min(PATIENCE, len(run.losses))
        if run.left_out[-patience:] == list(range(run.step - patience, run.step)):
            text = f"{_finding(run, bad[-1])}, the {patience}th in a row; {_MEND}"
            raise DivergedError(text, bad[-1] + 1)
    if bad and on_nan is OnNan.REWIND:
        if run.rewinds == PATIENCE:
            text = f"{_finding(run, bad[0])}, after {PATIENCE} rewinds; {_MEND}"
            raise DivergedError(text, bad[0] + 1)
        rewind(run)
    _refuse_growth(run, vocabulary)


def bad_steps(run: RunState, since: int) -> list[int]:
    """The steps from ``since`` on whose loss or gradient is not finite; waits for the device."""
    losses, norms = run.losses[since : run.step], run.norms[since : run.step]
    if len(losses) == 1:  # the usual case on a CPU, without a kernel
        return [] if math.isfinite(losses.item()) and math.isfinite(norms.item()) else [since]
    finite = losses.isfinite() & norms.isfinite()
    return [since + int(index) for index in (~finite).nonzero().flatten()]


def _finding(run: RunState, step: int) -> str:
    loss, norm = float(run.losses[step]), float(run.norms[step])
    if math.isfinite(loss):
        return f"the norm of the gradient is {norm:g} at step {step + 1}"
    return f"the loss is {loss:g} at step {step + 1}"


def _refuse_growth(run: RunState, vocabulary: int) -> None:
    if run.step % WINDOW:
        return
    window = range(run.step - WINDOW, run.step)
    kept = [step for step in window if step not in run.left_out[-WINDOW:]]
    mean = float(run.losses[kept].mean()) if kept else math.nan
    first = float(run.losses[0])
    untrained = max(math.log(vocabulary), first if math.isfinite(first) else 0.0)
    if mean > untrained + MARGIN:
        raise DivergedError(
            f"the loss diverges: its mean over steps {run.step - WINDOW + 1} to {run.step} is "
            f"{mean:.2f} nats a token, and an untrained model has {untrained:.2f}; {_MEND}",
            run.step,
        )


def finite(loss: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    """Whether a step's update may be made: a tensor, so that nobody waits for it."""
    return loss.isfinite() & norm.isfinite()
