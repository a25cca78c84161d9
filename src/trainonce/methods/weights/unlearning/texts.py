"""What every unlearning method needs: likelihoods of texts, and updates of a copy of the model."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainonce.sites import SettingError
from trainonce.stream.keys import generator

Model = TypeVar("Model", bound=nn.Module)
Text = Sequence[int]
"""Token ids, at least two; the first one is given."""

Objective = Callable[[nn.Module, Sequence[int], Sequence[int]], Tensor]
"""From the model and the numbers of the texts of a batch, of each set, to what is minimized."""


@dataclass(frozen=True, kw_only=True)
class Updates:
    """How a model is updated: AdamW without weight decay, at one learning rate.

    Attributes:
        steps: updates.
        lr: learning rate.
        batch: texts of each set an update; all of a set that has fewer.
        seed: of the order of the texts.
    """

    steps: int = 20
    lr: float = 1e-4
    batch: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise SettingError(name, f"must be at least 1, not {getattr(self, name)}")
        check_above_0(lr=self.lr)


def check_above_0(**numbers: float) -> None:
    """Refuse numbers that are not above 0.

    Raises:
        SettingError: naming the first.
    """
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise SettingError(name, f"must be above 0, not {number}")


def log_likelihoods(model: nn.Module, texts: Sequence[Text]) -> Tensor:
    """The log-likelihood of each text given its first token, in nats: ``(B,)``."""
    tokens_BT, real_BT = _padded(texts, next(model.parameters()).device)
    losses_BT = F.cross_entropy(
        model(tokens_BT[:, :-1]).float().transpose(1, 2), tokens_BT[:, 1:], reduction="none"
    )
    return -(losses_BT * real_BT[:, 1:]).sum(1)


def mean_losses(model: nn.Module, texts: Sequence[Text]) -> Tensor:
    """The loss of each text, nats a token: ``(B,)``."""
    own = log_likelihoods(model, texts)
    return -own / own.new_tensor([len(text) - 1 for text in texts])


def unlearned(
    model: Model, forget: Sequence[Text], retain: Sequence[Text], by: Objective, updates: Updates
) -> Model:
    """A copy of ``model`` after updates that minimize ``by``; the model stays as it is.

    Raises:
        ValueError: when there is nothing to forget, or a text has fewer than two tokens.
    """
    if not forget:
        raise ValueError("there is no text to forget")
    short = next((text for text in (*forget, *retain) if len(text) < 2), None)
    if short is not None:
        raise ValueError(f"a text of {len(short)} tokens has none to predict")
    changed = copy.deepcopy(model)
    changed.requires_grad_(requires_grad=True)
    optimizer = torch.optim.AdamW(changed.parameters(), lr=updates.lr, weight_decay=0.0)
    orders = [_order(len(texts), name, updates) for texts, name in ((forget, "f"), (retain, "r"))]
    for step in range(updates.steps):
        with torch.enable_grad():
            loss = by(changed, *(order[step] for order in orders))
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    return changed


def _order(texts: int, name: str, updates: Updates) -> list[list[int]]:
    """The numbers of each step's texts: all in a shuffled order before any comes again."""
    if not texts:
        return [[] for _ in range(updates.steps)]
    batch = min(updates.batch, texts)
    random = generator(updates.seed, name, "unlearning")
    rounds = -(-updates.steps * batch // texts)
    numbers = np.concatenate([random.permutation(texts) for _ in range(rounds)])
    return [numbers[step * batch : (step + 1) * batch].tolist() for step in range(updates.steps)]


def _padded(texts: Sequence[Text], device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens ``(B, T)``, and which of them are real: what stands behind is never looked at."""
    longest = max(map(len, texts))
    tokens_BT = torch.zeros(len(texts), longest, dtype=torch.long)
    real_BT = torch.zeros(len(texts), longest)
    for row, text in enumerate(texts):
        tokens_BT[row, : len(text)] = torch.tensor(list(text))
        real_BT[row, : len(text)] = 1.0
    return tokens_BT.to(device), real_BT.to(device)
