"""Steering: a large model decodes with what tuning did to a small one.

Shape suffixes: B batch, T tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.registry import Outcome
from trainonce.sites import Family, SettingError, Site
from trainonce.tasks.bundles.language import Domain, decoder, heldout_loss, text, train_on, windows
from trainonce.tasks.placing import At
from trainonce.tasks.registry import task

LOSS = Outcome(
    name="loss",
    says="loss on held-out text of what models were tuned to, in nats a token",
    direction=-1,
    smallest=0.02,
    spread=0.03,
    low=0.0,
)
CLOSED = Outcome(
    name="gap_closed",
    says="share of the loss between the large model and its own tuning that is gained",
    direction=1,
    smallest=0.5,
    spread=0.1,
)


@task(outcomes=(LOSS, CLOSED), packages=("python", "tokenizers"))
@dataclass(frozen=True, kw_only=True)
class Steering:
    """Two models read Python's manual and are tuned to its code; the large one is steered instead.

    A seed draws all weights and all windows of text; arms of one seed have the same four models,
    large and small, tuned and not.

    Attributes:
        read: the model whose loss is measured: ``large`` or ``small`` before tuning; ``tuned`` or
            ``small tuned``; or ``steered``, the large one by ``steer``.
        steer: how it is steered.
        width: of the large model.
        small: width of the small one.
        layers: of both.
        steps: of training on the manual.
        tuning: steps of tuning to the code.
        batch: windows a step.
        sequence: tokens a window.
        lr: the peak learning rate; of tuning a third of it.
        vocabulary: tokens of the tokenizer.
    """

    read: Literal["large", "small", "tuned", "small tuned", "steered"] = "large"
    steer: Annotated[Any, At(Site.INFERENCE, Family.STEERING)] | None = None
    width: int = 96
    small: int = 32
    layers: int = 2
    steps: int = 240
    tuning: int = 60
    batch: int = 8
    sequence: int = 64
    lr: float = 4e-3
    vocabulary: int = 512

    def __post_init__(self) -> None:
        """Refuse steering by nothing, and a small model that is not."""
        if (self.steer is not None) != (self.read == "steered"):
            raise SettingError("steer", "a method where `read` is steered, and none elsewhere")
        if self.small >= self.width:
            raise SettingError("small", f"a width below {self.width}, not {self.small}")

    def __call__(self, seed: int) -> dict[str, float]:
        """The loss of what is read, and the share of the gap that it closes."""
        models = _trained(replace(self, read="large", steer=None), seed)
        held = text("code", self.vocabulary).held
        steered = models.get(self.read) or _Steered(self.steer, models)
        large, whole = (heldout_loss(models[n], held, self.sequence) for n in ("large", "tuned"))
        found = heldout_loss(steered, held, self.sequence)
        return {"loss": found, "gap_closed": (large - found) / (large - whole)}


@lru_cache(maxsize=16)
def _trained(task: Steering, seed: int) -> dict[str, nn.Module]:
    """The four models, kept as trials of one seed that read another one of them follow."""
    torch.manual_seed(seed)
    models: dict[str, nn.Module] = {}

    def read(domain: Domain, drawn: torch.Generator) -> Iterator[Tensor]:
        return windows(text(domain, task.vocabulary).train, task.batch, task.sequence, drawn)

    for name, width in (("large", task.width), ("small", task.small)):
        drawn = torch.Generator().manual_seed(seed)
        model: nn.Module = decoder(task.vocabulary, width, task.layers, 4, drawn)
        train_on(model, read("manual", drawn), task.steps, task.lr, Rewarm(warmup=0.05))
        tuned = copy.deepcopy(model)
        train_on(tuned, read("code", drawn), task.tuning, task.lr / 3, Rewarm(warmup=0.05))
        models[name] = model
        models["tuned" if name == "large" else "small tuned"] = tuned
    return models


class _Steered(nn.Module):
    """A large model, steered by what tuning did to a small one."""

    def __init__(self, steer: Any, models: dict[str, nn.Module]) -> None:
        super().__init__()
        self.steered = steer(models["large"], models["small tuned"], models["small"])

    def forward(self, tokens_BT: Tensor) -> Tensor:
        logits_BTV: Tensor = self.steered(tokens_BT)
        return logits_BTV
