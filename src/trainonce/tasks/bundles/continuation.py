"""Continued pretraining: how much of another domain a model can read without forgetting.

Shape suffixes: B batch, T tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from trainonce.methods.data.mixture.critical_ratio import critical_ratio
from trainonce.methods.data.mixture.latest_ratio import LatestRatio
from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.registry import Outcome
from trainonce.sites import Continued, Family, SettingError, Site
from trainonce.tasks.bundles.language import decoder, heldout_loss, text, train_on, windows
from trainonce.tasks.placing import At
from trainonce.tasks.registry import task

HELD = 2_048
"""Tokens of each domain that the loss is measured on."""
MISSED = Outcome(
    name="missed",
    says="distance of the told share of domain data from the critical one of the whole run",
    direction=-1,
    smallest=0.02,
    spread=0.05,
    low=0.0,
    high=1.0,
)
CRITICAL = Outcome(
    name="critical",
    says="the critical share of domain data of the whole run",
    direction=1,
    smallest=0.05,
    spread=0.1,
    low=0.0,
    high=1.0,
)


@task(outcomes=(MISSED, CRITICAL), packages=("python", "tokenizers", "scipy"))
@dataclass(frozen=True, kw_only=True)
class Continuation:
    """Tells from the first half of continued pretraining what share of code the whole can have.

    A decoder is pretrained on Python's manual, then goes on with several shares of the standard
    library's code, on manual otherwise; its losses on both are measured at equal distances. A
    method is shown the first half of these, and says which share of code leaves the loss on the
    manual where it was, give or take a tolerance, when the run ends. A seed draws the weights and
    the windows of text; runs with different shares read the same ones as far as they can.

    Attributes:
        mixture: the method; its tolerance also defines the share that it should have told.
        shares: of code, that are trained with.
        moments: at which losses are measured, the end included.
        pretraining: steps on the manual, with the learning rate falling to a tenth.
        steps: that the model goes on for, at the whole learning rate.
        width: of the decoder.
        layers: of the decoder.
        batch: windows a step.
        sequence: tokens a window.
        lr: the peak learning rate.
        vocabulary: tokens of the tokenizer; 257 is bytes and the end of a text.
    """

    mixture: Annotated[Any, At(Site.DATA, Family.MIXTURE)] = field(default_factory=LatestRatio)
    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    moments: int = 24
    pretraining: int = 360
    steps: int = 144
    width: int = 32
    layers: int = 1
    batch: int = 8
    sequence: int = 64
    lr: float = 4e-3
    vocabulary: int = 257

    def __post_init__(self) -> None:
        """Refuse shares that are none, and moments that no half is known of."""
        if len(set(self.shares)) < 3 or not all(0 < one <= 1 for one in self.shares):
            raise SettingError("shares", f"three or more above 0 and up to 1, not {self.shares}")
        if not 6 <= self.moments <= self.steps:
            raise SettingError("moments", f"from 6 to the steps, {self.steps}, not {self.moments}")

    def __call__(self, seed: int) -> dict[str, float]:
        """How far the told share is off, and the share itself."""
        runs = _continued(replace(self, mixture=LatestRatio()), seed)
        told = self.mixture(first(runs, self.moments // 2))(float(runs.tokens[-1]))
        found = critical_ratio(runs, self.moments - 1, self.mixture.tolerance)
        return {"missed": abs(told - found), "critical": found}


def first(runs: Continued, moments: int) -> Continued:
    """What was known of ``runs`` after so many moments."""
    return replace(
        runs,
        tokens=runs.tokens[:moments],
        general=runs.general[:, :moments],
        domain=runs.domain[:, :moments],
    )


@lru_cache(maxsize=32)
def _continued(task: Continuation, seed: int) -> Continued:
    """The losses of all shares."""
    drawn = torch.Generator().manual_seed(seed)
    start = decoder(task.vocabulary, task.width, task.layers, 4, drawn)
    manual = windows(text("manual", task.vocabulary).train, task.batch, task.sequence, drawn)
    train_on(start, manual, task.pretraining, task.lr, Rewarm(warmup=0.05))
    losses = np.array([_gone_on(task, start, share, seed) for share in task.shares])
    general_before, domain_before = _losses(task, start)
    step_tokens = task.batch * task.sequence
    return Continued(
        ratios=np.array(task.shares),
        tokens=np.array([float(step * step_tokens) for step in _moments(task)]),
        general=losses[:, :, 0],
        domain=losses[:, :, 1],
        general_before=general_before,
        domain_before=domain_before,
    )


def _gone_on(
    task: Continuation, start: nn.Module, share: float, seed: int
) -> list[tuple[float, float]]:
    """The losses on manual and code at each moment of the run with a share of code."""
    model = copy.deepcopy(start)
    found: list[tuple[float, float]] = []
    read = _mixed(task, share, torch.Generator().manual_seed(seed + 1))
    moments = _moments(task)

    def reading() -> Iterator[Tensor]:
        for step, tokens_BT in enumerate(read):
            if step in moments:
                found.append(_losses(task, model))
            yield tokens_BT

    train_on(model, reading(), task.steps, task.lr, Rewarm(warmup=0.05, floor=1.0))
    return [*found, _losses(task, model)]


def _mixed(task: Continuation, share: float, drawn: torch.Generator) -> Iterator[Tensor]:
    """Batches in which each window is code with probability ``share``.

    What is drawn does not depend on it: a window of code with one share is the same with a larger.
    """
    code, manual = (
        windows(text(domain, task.vocabulary).train, task.batch, task.sequence, drawn)
        for domain in ("code", "manual")
    )
    while True:
        is_code_B = torch.rand(task.batch, generator=drawn) < share
        yield torch.where(is_code_B[:, None], next(code), next(manual))


def _losses(task: Continuation, model: nn.Module) -> tuple[float, float]:
    """On manual and on code."""
    held = (text(domain, task.vocabulary).held[: HELD + 1] for domain in ("manual", "code"))
    general, domain = (heldout_loss(model, one, task.sequence) for one in held)
    return general, domain


def _moments(task: Continuation) -> list[int]:
    """Steps after which losses are measured."""
    return [task.steps * (number + 1) // task.moments for number in range(task.moments)]
