"""The loss on documents that no run reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from trainonce.methods.registry import Outcome, method
from trainonce.sites import LanguageModel, Measurement, Site
from trainonce.stream.corpus import Corpus
from trainonce.stream.parts import Parts

NAME = "heldout_loss"
OUTCOMES = (
    Outcome(
        name=NAME,
        says="loss on held-out documents, nats a token",
        direction=0,
        smallest=0.02,
        spread=0.05,  # of an arm minus the base run; 0.01 to 0.09 in examples/cooldown.yaml
        low=0.0,
    ),
)
_BATCH = 32


def of_part(name: str) -> Outcome:
    """The held-out loss on the documents of one part alone."""
    says = f"loss on held-out documents of the part {name!r}, nats a token"
    return replace(OUTCOMES[0], name=f"{NAME}/{name}", says=says)


@method(site=Site.PROBE, outcomes=OUTCOMES)
@dataclass(frozen=True, kw_only=True)
class HeldoutLoss:
    """Measures the loss on blocks of held-out documents that no question takes items from.

    Attributes:
        blocks: how many blocks of one sequence, spread evenly over the held-out documents.
    """

    blocks: int = 256

    def __call__(self, model: LanguageModel, corpus: Corpus, sequence: int) -> list[Measurement]:
        """One row a block."""
        starts = corpus.blocks("heldout", sequence)
        return self._losses(model, corpus, starts, sequence, "block", NAME)

    def on_part(
        self, model: LanguageModel, parts: Parts, name: str, sequence: int
    ) -> list[Measurement]:
        """One row a block of the held-out documents of one part; the outcome is `of_part`'s."""
        starts = parts.heldout_blocks(name, sequence)
        outcome = of_part(name).name
        return self._losses(model, parts.corpus, starts, sequence, name, outcome)

    @torch.no_grad()
    def _losses(
        self,
        model: LanguageModel,
        corpus: Corpus,
        starts: npt.NDArray[np.int64],
        sequence: int,
        kind: str,
        outcome: str,
    ) -> list[Measurement]:
        spread = np.linspace(0, len(starts) - 1, min(self.blocks, len(starts))).astype(np.int64)
        tokens = corpus.split("heldout").tokens
        blocks_BT = np.stack([tokens[start : start + sequence] for start in starts[spread]])
        rows = []
        for first in range(0, len(blocks_BT), _BATCH):
            batch_BT = torch.from_numpy(blocks_BT[first : first + _BATCH].astype(np.int64))
            logits_BTV = model(batch_BT)[:, :-1].float()
            targets_BT = batch_BT[:, 1:].to(logits_BTV.device)
            losses_BT = F.cross_entropy(logits_BTV.transpose(1, 2), targets_BT, reduction="none")
            rows += [
                Measurement(f"block-{first + i:05d}", kind, 0, outcome, float(loss))
                for i, loss in enumerate(losses_BT.double().mean(1).cpu())
            ]
        return rows
