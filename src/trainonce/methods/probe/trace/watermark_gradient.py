"""Whether a model was trained with a passage's Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainonce.methods.probe.recall.scores import measured
from trainonce.methods.registry import Outcome, method
from trainonce.models.embedding import adding, gaussian
from trainonce.sites import Item, Measurement, Site, Watermarked, WholeModel
from trainonce.stream.keys import stable_hash
from trainonce.stream.marks import Noise

OUTCOMES = (
    Outcome(
        name="statistic",
        says="how far the passage's gradient points against its noise; standard normal without it",
        direction=1,
        smallest=0.5,
        spread=1.0,
    ),
    Outcome(
        name="detected",
        says="share of passages that a test with 1 % false positives detects by that statistic",
        direction=1,
        smallest=0.1,
        spread=0.3,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="loss_gap",
        says="loss with fresh noise minus loss with the passage's own, nats a token",
        direction=1,
        smallest=0.05,
        spread=0.2,
    ),
)
_ONE_PERCENT = 2.3263478740408408  # the standard normal exceeds it with 1 % probability
_FRESH = 8


@method(site=Site.PROBE, paper="2406.17216", outcomes=OUTCOMES)
@dataclass(frozen=True)
class WatermarkGradient:
    """Measures a passage's noise in the gradient of its loss, and in the loss with the noise.

    The statistic is minus the inner product of the noise with the gradient of the passage's loss
    in its clean embeddings, divided by the norm of that gradient. A model that never met the noise
    has a gradient that is independent of it, and the statistic is exactly standard normal; one that
    was trained with it has a lower loss in its direction. Pawelczyk et al. 2024, arXiv 2406.17216.
    """

    def __call__(self, model: WholeModel, items: Sequence[Item]) -> list[Measurement]:
        """Three rows an item: ``statistic``, ``detected`` and ``loss_gap``."""
        rows = []
        for item in items:
            if isinstance(item.test, Watermarked):
                found = statistic(model, item.test)
                values = (found, float(found > _ONE_PERCENT), _loss_gap(model, item.test))
                rows += measured(item, OUTCOMES, values)
        return rows


def statistic(model: WholeModel, test: Watermarked) -> float:
    """See `WatermarkGradient`."""
    leaves: list[Tensor] = []

    def clean(embedded_BTD: Tensor) -> Tensor:
        leaves.append(embedded_BTD.detach().requires_grad_())
        return leaves[0]

    with torch.enable_grad():
        loss = _losses(model.embedded(_tokens(test, 1), clean), test).sum()
        (gradient_BTD,) = torch.autograd.grad(loss, leaves)
    gradient_TD = gradient_BTD[0, len(test.prompt) :].double().cpu()
    noise_TD = gaussian(test.seed, len(test.text), gradient_TD.shape[1]).double()
    norm = gradient_TD.norm()
    return float(-(gradient_TD * noise_TD).sum() / norm) if norm > 0 else 0.0


@torch.no_grad()
def _loss_gap(model: WholeModel, test: Watermarked) -> float:
    """The passage's own noise in the first row, fresh ones in the others."""
    fresh = [stable_hash(test.seed, "fresh", number, bits=62) for number in range(_FRESH)]
    noises = [
        Noise(
            row=row,
            start=len(test.prompt),
            tokens=len(test.text),
            seed=seed,
            strength=test.strength,
        )
        for row, seed in enumerate([test.seed, *fresh])
    ]
    logits_BTV = model.embedded(_tokens(test, len(noises)), adding(noises))
    losses_B = _losses(logits_BTV, test).double().mean(1)
    return float(losses_B[1:].mean() - losses_B[0])


def _tokens(test: Watermarked, rows: int) -> Tensor:
    return torch.tensor([[*test.prompt, *test.text]]).expand(rows, -1)


def _losses(logits_BTV: Tensor, test: Watermarked) -> Tensor:
    """The loss of each token of the passage, ``(B, T)``."""
    own_BTV = logits_BTV[:, len(test.prompt) - 1 : -1].float()
    targets_BT = torch.tensor([test.text], device=own_BTV.device).expand(len(own_BTV), -1)
    return F.cross_entropy(own_BTV.transpose(1, 2), targets_BT, reduction="none")
