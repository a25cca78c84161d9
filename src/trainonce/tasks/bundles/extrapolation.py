"""Scaling: the loss of a decoder, told from smaller ones by a law that is fitted to them.

Shape suffixes: B batch, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from trainonce.methods.optimizer.descent.adamw import AdamW
from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.registry import Outcome
from trainonce.methods.study.scaling.checkpoint_fit import CheckpointFit
from trainonce.methods.study.scaling.chinchilla import Chinchilla
from trainonce.methods.study.scaling.heldout import relative_error
from trainonce.sites import Family, Point, SettingError, Site
from trainonce.tasks.bundles.language import (
    Domain,
    decoder,
    heldout_loss,
    language_loss,
    text,
    windows,
)
from trainonce.tasks.placing import At
from trainonce.tasks.registry import task
from trainonce.tasks.training import descend

HELD = 2_048
"""Tokens that the loss of a checkpoint is measured on."""
WIDTH = 32
"""At which the learning rate is given: one for all widths is too high for the widest."""
FAMILY_SEED = 1_000
"""Of the runs that are borrowed from, which are the same for all seeds, as published ones are."""
LEAST = 0.01
"""Percent: errors below it are no smaller to anybody."""
ERROR = Outcome(
    name="error",
    says="absolute relative error of the largest run's predicted loss over its last 30 %, in %",
    direction=-1,
    smallest=1.0,
    spread=5.0,
    low=0.0,
)
LOG_ERROR = Outcome(
    name="log2_error",
    says="the same as a power of 2: 1 less is half the error",
    direction=-1,
    smallest=0.5,
    spread=1.5,
)
NUMBERS = ("E", "A", "B", "alpha", "beta")


@task(outcomes=(ERROR, LOG_ERROR), packages=("python", "tokenizers", "scipy"))
@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """Predicts the loss of a decoder from runs of smaller ones, and trains it to see.

    Decoders of some widths are trained on the standard library's code, each for a number of steps
    of its own, with their held-out loss at equal distances; a law is fitted to these, and its
    prediction of a wider one is judged by the end of that one's run. A seed draws weights and
    windows of text of all runs. The family that numbers can be borrowed from are decoders of the
    same widths and steps on Python's manual, the same for all seeds.

    Attributes:
        fit: of the law.
        runs: that it is fitted to: ``all`` smaller ones, or the ``widest`` of them alone.
        borrowed: names of the law's numbers that are taken from the other family.
        widths: of the smaller decoders, ascending.
        steps: that each of them is trained for.
        target: the width of the one that is predicted.
        target_steps: that it is trained for.
        checkpoints: of each run, its end included.
        layers: of all decoders.
        batch: windows a step.
        sequence: tokens a window.
        lr: the peak learning rate of a decoder 32 wide; it falls with the root of the width.
        floor: the factor of it that the rate falls to along a cosine; at 1 it stays as it is, so
            that a checkpoint is what a shorter run would have ended with.
        vocabulary: tokens of the tokenizer; 257 is bytes and the end of a text.
    """

    fit: Annotated[Any, At(Site.STUDY, Family.SCALING)] = field(default_factory=Chinchilla)
    runs: Literal["all", "widest"] = "all"
    borrowed: tuple[str, ...] = ()
    widths: tuple[int, ...] = (16, 24, 32, 48, 64)
    steps: tuple[int, ...] = (200, 100, 50, 100, 200)
    target: int = 96
    target_steps: int = 200
    checkpoints: int = 12
    layers: int = 1
    batch: int = 8
    sequence: int = 64
    lr: float = 4e-3
    floor: float = 0.1
    vocabulary: int = 257

    def __post_init__(self) -> None:
        """Refuse what is no ladder to extrapolate from."""
        if len(self.steps) != len(self.widths):
            raise SettingError("steps", f"{len(self.widths)}, one a width, not {len(self.steps)}")
        if not self.target > max(self.widths, default=self.target):
            raise SettingError("target", f"above all widths, not {self.target}")
        if not 1 <= self.checkpoints <= min(*self.steps, self.target_steps):
            raise SettingError("checkpoints", f"from 1 to the fewest steps, not {self.checkpoints}")
        if not 0 <= self.floor <= 1:
            raise SettingError("floor", f"a factor from 0 to 1, not {self.floor}")
        if unknown := [name for name in self.borrowed if name not in NUMBERS]:
            raise SettingError("borrowed", f"some of {', '.join(NUMBERS)}, not {unknown[0]!r}")

    def __call__(self, seed: int) -> dict[str, float]:
        """The error of the prediction, in percent and as a power of 2."""
        plain = replace(self, fit=Chinchilla(), runs="all", borrowed=())
        smaller = _ladder(plain, "code", seed)
        fitted = smaller if self.runs == "all" else smaller[-1:]
        points = [point for run in fitted for point in run]
        law = self.fit(points, frozen=self._borrowed(plain))
        error = 100 * relative_error(law, _largest(plain, seed))
        return {"error": error, "log2_error": math.log2(max(error, LEAST))}

    def _borrowed(self, plain: Extrapolation) -> dict[str, float]:
        """The other family's numbers, by name."""
        if not self.borrowed:
            return {}
        family = _ladder(plain, "manual", FAMILY_SEED)
        law = CheckpointFit()([point for run in family for point in run])
        return {name: law.values[name] for name in self.borrowed}


@lru_cache(maxsize=32)
def _ladder(task: Extrapolation, domain: Domain, seed: int) -> list[list[Point]]:
    """The points of each of the smaller runs."""
    runs = zip(task.widths, task.steps, strict=True)
    return [_run(task, domain, width, steps, seed) for width, steps in runs]


@lru_cache(maxsize=32)
def _largest(task: Extrapolation, seed: int) -> list[Point]:
    """The points of the run that is predicted."""
    return _run(task, "code", task.target, task.target_steps, seed)


def _run(task: Extrapolation, domain: Domain, width: int, steps: int, seed: int) -> list[Point]:
    drawn = torch.Generator().manual_seed(seed)
    model = decoder(task.vocabulary, width, task.layers, 4, drawn)
    known = text(domain, task.vocabulary)
    held, read = known.held[: HELD + 1], windows(known.train, task.batch, task.sequence, drawn)
    count = sum(one.numel() for one in model.parameters())
    found: list[Point] = []

    def measure(done: int) -> None:
        found.append(
            Point(
                run=f"{width} wide, {steps} steps",
                parameters=float(count),
                tokens=float(done * task.batch * task.sequence),
                loss=heldout_loss(model, held, task.sequence),
            )
        )

    moments = _moments(steps, task.checkpoints)

    def loss(step: int) -> Tensor:
        if step in moments[:-1]:
            measure(step)
        return language_loss(model, next(read))

    rate = task.lr * math.sqrt(WIDTH / width)
    optimizer = AdamW(lr=rate, betas=(0.9, 0.95))(model.parameters())
    descend(loss, optimizer, steps, Rewarm(warmup=0.05, floor=task.floor))
    measure(steps)
    return found


def _moments(steps: int, count: int) -> Sequence[int]:
    return [steps * (number + 1) // count for number in range(count)]
