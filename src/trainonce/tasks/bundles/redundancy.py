"""Language that repeats itself, of which a model trains on subsets.

Shape suffixes: B batch, T tokens, D width, N samples, K distinct documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor

from trainonce.methods.data.selection.ingenious import pooled
from trainonce.methods.optimizer.descent.adamw import AdamW
from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.registry import Outcome
from trainonce.models.decoder import Decoder
from trainonce.sites import Family, SettingError, Site
from trainonce.tasks.bundles.language import decoder, heldout_loss, language_loss, text
from trainonce.tasks.placing import At
from trainonce.tasks.registry import task
from trainonce.tasks.training import batches, descend

LOSS = Outcome(
    name="heldout_loss",
    says="loss on held-out text, which does not repeat itself, in nats a token",
    direction=-1,
    smallest=0.02,
    spread=0.03,
    low=0.0,
)
DISTINCT = Outcome(
    name="distinct",
    says="documents that are in a subset at least once, of all, as the mean over subsets",
    direction=1,
    smallest=0.05,
    spread=0.02,
    low=0.0,
    high=1.0,
)
_ENCODED = 512
"""Samples at a time that features are made of."""


@task(outcomes=(LOSS, DISTINCT), packages=("python", "tokenizers"))
@dataclass(frozen=True, kw_only=True)
class Redundancy:
    """Predicts the standard library's code from documents that are there one time to many times.

    Training starts on all of the samples. Then it goes on with a subset, and now and again with a
    new one, each a share of the samples. What a subset is chosen by are the hidden states of the
    model's middle layer at that moment, averaged over a sample's tokens. A seed draws the weights,
    the documents, how many copies there are of each, evenly on a logarithmic scale, and what is
    trained on.

    Attributes:
        selection: of the subsets; random ones when left out.
        share: of the samples in a subset; 1 for all.
        warm: steps on all samples, before the first subset.
        refresh: steps with a subset, before the next one.
        documents: distinct ones.
        copies: of a document at most.
        steps: of training, the warm ones among them.
        batch: samples a step.
        sequence: tokens a document.
        width: of the decoder.
        layers: of the decoder.
        vocabulary: tokens of the tokenizer.
        optimizer: by what.
    """

    selection: Annotated[Any, At(Site.DATA, Family.SUBSET)] | None = None
    share: float = 0.25
    warm: int = 50
    refresh: int = 50
    documents: int = 480
    copies: int = 20
    steps: int = 250
    batch: int = 16
    sequence: int = 48
    width: int = 64
    layers: int = 2
    vocabulary: int = 512
    optimizer: Annotated[Any, At(Site.OPTIMIZER, Family.DESCENT)] = field(
        default_factory=lambda: AdamW(lr=4e-3, betas=(0.9, 0.95))
    )

    def __post_init__(self) -> None:
        """Refuse a share that is none, and training on nothing."""
        if not 0 < self.share <= 1:
            raise SettingError("share", f"a share above 0, at most 1, not {self.share}")
        if not 0 <= self.warm < self.steps:
            raise SettingError("warm", f"from 0 to below {self.steps} steps, not {self.warm}")
        for name in ("refresh", "documents", "copies", "batch", "sequence"):
            if getattr(self, name) < 1:
                raise SettingError(name, f"at least 1, not {getattr(self, name)}")

    def __call__(self, seed: int) -> dict[str, float]:
        """The loss on held-out text, and how many of the documents subsets had."""
        torch.manual_seed(seed)
        drawn = torch.Generator().manual_seed(seed)
        model = decoder(self.vocabulary, self.width, self.layers, 4, drawn)
        parts = text("code", self.vocabulary)
        documents_KT = self._documents(parts.train, drawn)
        copies_K = self.copies ** torch.rand(self.documents, generator=drawn)
        which_N = torch.arange(self.documents).repeat_interleave(copies_K.round().long())
        budget = round(self.share * len(which_N))
        if budget < self.batch:
            raise SettingError("share", f"a subset of {budget} samples for batches of {self.batch}")
        distinct: list[float] = []

        def read() -> Iterator[Tensor]:
            whole = batches(len(which_N), self.batch, drawn)
            for _ in range(self.warm):
                yield next(whole)
            while True:
                chosen = self._subset(model, documents_KT, which_N, budget, drawn)
                distinct.append(len(which_N[chosen].unique()) / self.documents)
                subset = batches(budget, self.batch, drawn)
                for _ in range(self.refresh):
                    yield chosen[next(subset)]

        samples = read()

        def loss(_step: int) -> Tensor:
            tokens_BT = documents_KT[which_N[next(samples)]]
            return language_loss(model, tokens_BT)

        descend(loss, self.optimizer(model.parameters()), self.steps, Rewarm(warmup=0.05))
        return {
            "heldout_loss": heldout_loss(model, parts.held, self.sequence - 1),
            "distinct": sum(distinct) / len(distinct),
        }

    def _documents(self, train_N: Tensor, drawn: torch.Generator) -> Tensor:
        """Windows of the text that do not overlap."""
        all_KT = train_N[: len(train_N) // self.sequence * self.sequence].view(-1, self.sequence)
        if len(all_KT) < self.documents:
            raise SettingError("documents", f"at most {len(all_KT)}, not {self.documents}")
        return all_KT[torch.randperm(len(all_KT), generator=drawn)[: self.documents]]

    def _subset(
        self,
        model: Decoder,
        documents_KT: Tensor,
        which_N: Tensor,
        budget: int,
        drawn: torch.Generator,
    ) -> Tensor:
        if self.selection is None:
            return torch.randperm(len(which_N), generator=drawn)[:budget]
        # copies have the same features, which are made once
        chosen: Tensor = self.selection(features(model, documents_KT)[which_N], budget, drawn)
        return chosen


@torch.no_grad()
def features(model: Decoder, tokens_NT: Tensor) -> Tensor:
    """Features ``(N, D)`` of samples: hidden states of the middle layer, averaged over tokens."""
    found: list[Tensor] = []
    middle = model.blocks[(len(model.blocks) - 1) // 2]
    hook = middle.register_forward_hook(lambda _module, _given, out: found.append(pooled(out)))
    try:
        for part_BT in tokens_NT.split(_ENCODED):
            model(part_BT)
    finally:
        hook.remove()
    return torch.cat(found)
