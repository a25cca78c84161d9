"""Optimizers as updates of (parameter, gradient, state) whose numbers may differ a replica.

An update here never looks across the leading axis, and each of its numbers is a tensor that
broadcasts over the parameter: 0-dimensional for one run, ``(R, 1, ...)`` for stacked replicas. An
optimizer whose update couples all entries of a matrix (Muon, Shampoo) belongs here only once it is
written over a leading axis; until then its runs train in a pool.

Shape suffixes: R replicas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainonce.train.settings import AdamWSettings

OptimizerState = dict[str, dict[str, Tensor]]
"""What an optimizer remembers: tensors of a parameter's shape, by parameter and by entry."""


@dataclass(frozen=True, kw_only=True)
class AdamWNumbers:
    """The numbers of one AdamW update, each a tensor that broadcasts over the parameter.

    Attributes:
        mean_weight: weight of the gradient in its running mean, 1 - beta1.
        square_weight: weight of the squared gradient in its running mean, 1 - beta2.
        keep: share of the parameter that weight decay leaves, 1 - rate * decay.
        size: rate * sqrt(1 - beta2^t) / (1 - beta1^t).
        floor: eps * sqrt(1 - beta2^t).
    """

    mean_weight: Tensor
    square_weight: Tensor
    keep: Tensor
    size: Tensor
    floor: Tensor


def adamw_update(
    parameter: Tensor, gradient: Tensor, state: Mapping[str, Tensor], numbers: AdamWNumbers
) -> None:
    """One update of ``parameter`` and of ``state`` (``mean``, ``square``), in place.

    The update of Loshchilov and Hutter (arXiv 1711.05101), with both bias corrections folded into
    the step's size and floor: p <- keep p - size m / (sqrt(v) + floor).
    """
    mean, square = state["mean"], state["square"]
    mean.lerp_(gradient, numbers.mean_weight)
    square.lerp_(gradient.square(), numbers.square_weight)
    change = square.sqrt().add_(numbers.floor)
    torch.div(mean, change, out=change)
    parameter.mul_(numbers.keep).addcmul_(change, numbers.size, value=-1.0)


class StackedAdamW:
    """AdamW over stacked parameters ``(R, ...)``, each replica with its own numbers.

    As in a single run, matrices decay and vectors do not; the replica axis does not count.
    """

    def __init__(self, settings: Sequence[AdamWSettings]) -> None:
        self._rates_R = _column([one.lr for one in settings])
        self._betas_2R = torch.stack([_column([one.betas[i] for one in settings]) for i in (0, 1)])
        self._eps_R = _column([one.eps for one in settings])
        self._decay_R = _column([one.weight_decay for one in settings])

    @staticmethod
    def start(parameters: Mapping[str, Tensor]) -> OptimizerState:
        """The state before the first step."""
        return {
            name: {"mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
            for name, p in parameters.items()
        }

    @torch.no_grad()
    def update(
        self,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        state: OptimizerState,
        step: int,
        factors_R: Tensor,
    ) -> None:
        """The update after which ``step`` + 1 are done, at ``factors_R`` of the peak rates."""
        rates_R = self._rates_R * factors_R
        corrected_2R = 1 - self._betas_2R ** (step + 1)
        root_R = corrected_2R[1].sqrt()
        columns_6R = torch.stack(
            [
                *(1 - self._betas_2R),
                1 - rates_R * self._decay_R,
                torch.ones_like(rates_R),
                rates_R * root_R / corrected_2R[0],
                self._eps_R * root_R,
            ]
        )
        example = next(iter(parameters.values()))
        mean, square, keep, whole, size, floor = columns_6R.to(example.device, example.dtype)
        for name, parameter in parameters.items():
            matrix = parameter.ndim > 2
            over = (-1, *(1,) * (parameter.ndim - 1))
            numbers = AdamWNumbers(
                mean_weight=mean.view(over),
                square_weight=square.view(over),
                keep=(keep if matrix else whole).view(over),
                size=size.view(over),
                floor=floor.view(over),
            )
            adamw_update(parameter, gradients[name], state[name], numbers)


@torch.no_grad()
def clip_replicas(gradients: Sequence[Tensor], largest_R: Tensor) -> None:
    """Scale each replica's gradient down, in place, to a norm of at most ``largest_R``.

    What `torch.nn.utils.clip_grad_norm_` does, for each replica by itself.

    Args:
        gradients: of each stacked parameter, ``(R, ...)``.
        largest_R: the largest norm that each replica allows.
    """
    norms_R = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]), dim=0
    )
    scale_R = (largest_R / (norms_R + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale_R.view(-1, *(1,) * (gradient.ndim - 1)))


def _column(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)
