"""The loss on documents that no run reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from trainonce.methods.registry import Outcome, method
from trainonce.sites import LanguageModel, Measurement, Site
from trainonce.stream.corpus import Corpus

OUTCOMES = (
    Outcome(
        name="heldout_loss",
        says="loss on held-out documents, nats a token",
        direction=0,
        smallest=0.02,
        spread=0.05,  # of an arm minus the base run; 0.01 to 0.09 in examples/cooldown.yaml
        low=0.0,
    ),
)
_BATCH = 32


@method(site=Site.PROBE, outcomes=OUTCOMES)
@dataclass(frozen=True, kw_only=True)
class HeldoutLoss:
    """Measures the loss on blocks of held-out documents that no question takes items from.

    Attributes:
        blocks: how many blocks of one sequence, spread evenly over the held-out documents.
    """

    blocks: int = 256

    @torch.no_grad()
    def __call__(self, model: LanguageModel, corpus: Corpus, sequence: int) -> list[Measurement]:
        """One row a block."""
        starts = corpus.blocks("heldout", sequence)
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
                Measurement(f"block-{first + i:05d}", "block", 0, "heldout_loss", float(loss))
                for i, loss in enumerate(losses_BT.double().mean(1).cpu())
            ]
        return rows
