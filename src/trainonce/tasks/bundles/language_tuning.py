"""Tuning of a small decoder, pretrained on code, on a little text of another kind."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

import torch
from torch import nn

from trainonce.methods.model.adapters.partial_tuning import PartialTuning
from trainonce.methods.optimizer.descent.adamw import AdamW
from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.registry import Outcome
from trainonce.sites import Family, SettingError, Site
from trainonce.tasks.bundles.language import (
    HELDOUT,
    decoder,
    heldout_loss,
    language_loss,
    text,
    train_on,
    windows,
)
from trainonce.tasks.placing import At
from trainonce.tasks.registry import task
from trainonce.tasks.training import descend

VOCABULARY = 512
BATCH = 16
SEQUENCE = 64

TRAINED = Outcome(
    name="trained",
    says="parameters that tuning trains",
    direction=-1,
    smallest=1.0,
    spread=1.0,
    low=0.0,
)


@dataclass(frozen=True)
class Start:
    """A pretrained decoder, by what it is determined by.

    Attributes:
        width: of the decoder.
        layers: of the decoder.
        steps: of pretraining.
        seed: of its weights and its text.
        method: a change of the decoder before pretraining, if any.
    """

    width: int
    layers: int
    steps: int
    seed: int
    method: Any = None


@task(outcomes=(HELDOUT, TRAINED), packages=("python", "tokenizers"))
@dataclass(frozen=True, kw_only=True)
class LanguageTuning:
    """Pretrains a decoder on the standard library's code and tunes it on its manual.

    The pretrained decoder is one and the same for all seeds, as a published one is; a seed draws
    the text that is tuned on, its order, and what a method adds.

    Attributes:
        width: of the decoder.
        layers: of the decoder.
        pretraining: steps of it.
        start: seed of the pretrained decoder.
        before: a change of the decoder before pretraining.
        dense: whether that is merged into plain weights before tuning.
        tokens: of the manual to tune on.
        steps: of tuning.
        method: how it is tuned.
        optimizer: of tuning.
        schedule: of tuning.
    """

    width: int = 64
    layers: int = 2
    pretraining: int = 400
    start: int = 0
    before: Annotated[Any, At(Site.MODEL)] | None = None
    dense: bool = False
    tokens: int = 20_000
    steps: int = 80
    method: Annotated[Any, At(Site.MODEL)] = field(default_factory=PartialTuning)
    optimizer: Annotated[Any, At(Site.OPTIMIZER, Family.DESCENT)] = field(
        default_factory=lambda: AdamW(lr=1e-3)
    )
    schedule: Annotated[Any, At(Site.OPTIMIZER, Family.SCHEDULE)] = field(
        default_factory=lambda: Rewarm(warmup=0.05)
    )

    def __post_init__(self) -> None:
        """Refuse too little text, and to merge nothing."""
        if self.tokens < 2 * SEQUENCE:
            raise SettingError("tokens", f"at least {2 * SEQUENCE}, not {self.tokens}")
        if self.dense and self.before is None:
            raise SettingError("dense", "only where `before` changes the decoder")

    def __call__(self, seed: int) -> dict[str, float]:
        """The loss on held-out text of the manual, and how many parameters were trained."""
        start = Start(self.width, self.layers, self.pretraining, self.start, self.before)
        model: nn.Module = copy.deepcopy(pretrained(start))
        if self.dense and self.before is not None:
            model = self.before.merge(model)
        torch.manual_seed(seed)
        drawn = torch.Generator().manual_seed(seed)
        model = self.method(model)
        manual = text("manual", VOCABULARY)
        first = int(torch.randint(len(manual.train) - self.tokens, (), generator=drawn))
        read = windows(manual.train[first : first + self.tokens], BATCH, SEQUENCE, drawn)
        wanted = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
        descend(
            lambda _step: language_loss(model, next(read)),
            self.optimizer(wanted),
            self.steps,
            self.schedule,
        )
        return {
            "heldout_loss": heldout_loss(model, manual.held, SEQUENCE),
            "trained": float(sum(one.numel() for _, one in wanted)),
        }


@lru_cache(maxsize=4)
def pretrained(start: Start) -> nn.Module:
    """The decoder after pretraining on code, made once a process; not to be changed."""
    torch.manual_seed(start.seed)
    drawn = torch.Generator().manual_seed(start.seed)
    heads = start.width // 16
    model: nn.Module = decoder(VOCABULARY, start.width, start.layers, heads, drawn)
    if start.method is not None:
        model = start.method(model)
    if start.steps:
        read = windows(text("code", VOCABULARY).train, BATCH, SEQUENCE, drawn)
        train_on(model, read, start.steps, 4e-3, Rewarm(warmup=0.05))
    return model
