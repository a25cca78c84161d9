"""What a language model minimizes unless its recipe says something else."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def token_losses(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """The cross-entropy of each token, in nats: ``(B, T)``."""
    return F.cross_entropy(
        logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), reduction="none"
    ).view(targets_BT.shape)
