"""A subset that stands for the whole of the data, by facility location on a model's features."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainonce.methods.registry import method
from trainonce.sites import Family, SettingError, Site


@method(
    site=Site.DATA,
    family=Family.SUBSET,
    paper="2305.06677",
    exempt={"limit": "at a temperature without end it is a random subset, though not the same one"},
)
@dataclass(frozen=True, kw_only=True)
class Ingenious:
    """Draws samples by how much each adds to a set that stands for all of them.

    Samples are parted at random. In each part, greedy search puts them in an order in which each
    adds the most to ``f(A) = sum_i max_(j in A) s_ij``, how well the set A stands for the part,
    where s is the cosine of two samples' features and at least 0. What a sample adds is its gain g,
    and the subset is drawn without replacement, from every part its share of the budget, with
    probabilities in proportion to ``1 + x + x^2 / 2`` (Taylor-softmax) at ``x = g / temperature``.
    So a copy of what stands before it in the order, which gains nothing, may still be drawn, and
    subsets differ from one call to the next.

    Renduchintala et al. 2023 (arXiv 2305.06677): a quarter of the data for BERT, after a warm start
    on all of it, drawn anew every 25,000 steps. Features are hidden states of a middle layer (9 of
    12), averaged over a sample's tokens (`pooled`). Their code draws the warm start's gains again
    and again; call this with new features to have new gains, or `drawn` with the ones of `gains`
    to do as they do. Its parts held 27,700 samples, at a temperature of 1, and it finds their order
    by a search that looks at a random few. A gain is a sum over a part: in smaller parts gains are
    smaller in proportion, and where they are far below the temperature the subset is all but
    random. A temperature of n / 27,700 in parts of n draws as theirs does. Extra cost: features of
    all samples, and in each part of n a matrix of n x n and some 10 n sums over n.

    >>> features_ND = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> _, gain_N = lazy_greedy(similarity(features_ND))
    >>> gain_N.tolist()    # of three copies one stands for all
    [3.0, 0.0, 0.0, 1.0]
    >>> method = Ingenious(temperature=0.01)
    >>> sorted(method(features_ND, 2, torch.Generator().manual_seed(0)).tolist())
    [0, 3]

    Attributes:
        part: samples a part at most; memory is quadratic in it.
        temperature: that gains are divided by; the lower, the less is left to chance.
    """

    part: int = 2048
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse parts of nothing, and temperatures that divide by nothing."""
        if self.part < 1:
            raise SettingError("part", f"at least 1, not {self.part}")
        if not self.temperature > 0:
            raise SettingError("temperature", f"above 0, not {self.temperature}")

    def __call__(self, features_ND: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        """Indices ``(budget,)`` of samples, shuffled, none twice.

        Args:
            features_ND: of all samples.
            budget: how many to draw.
            generator: that is drawn from.

        Raises:
            ValueError: when features are not finite numbers of samples, or the budget is none.
        """
        if features_ND.ndim != 2 or not features_ND.numel():
            raise ValueError(f"features of samples are (N, D), not {tuple(features_ND.shape)}")
        count = len(features_ND)
        if not 1 <= budget <= count:
            raise ValueError(f"a budget of {budget} from {count} samples")
        features_ND = features_ND.detach().cpu()
        order = torch.randperm(count, generator=generator)
        found, read = [], 0
        for part in order.tensor_split(math.ceil(count / self.part)):
            _, gain_N = lazy_greedy(similarity(features_ND[part]))
            end = read + len(part)
            share = budget * end // count - budget * read // count
            found.append(part[drawn(gain_N, share, generator, self.temperature)])
            read = end
        chosen = torch.cat(found)
        return chosen[torch.randperm(budget, generator=generator)]


def pooled(hidden_BTD: Tensor, counts_BT: Tensor | None = None) -> Tensor:
    """Features ``(B, D)`` of samples: the mean of the hidden states of their tokens.

    Args:
        hidden_BTD: hidden states, such as of a middle layer.
        counts_BT: true at the tokens of a sample, false where it is padded; all when left out.
    """
    if counts_BT is None:
        return hidden_BTD.mean(dim=1)
    weight_BT1 = counts_BT.to(hidden_BTD)[..., None]
    return (hidden_BTD * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1).clamp(min=1)


def similarity(features_ND: Tensor) -> Tensor:
    """Cosines ``(N, N)`` of samples, at least 0, in double precision.

    Raises:
        ValueError: when a feature is no finite number.
    """
    if not torch.isfinite(features_ND).all():
        bad = int((~torch.isfinite(features_ND).all(dim=1)).nonzero()[0])
        raise ValueError(f"features of sample {bad} that are no finite numbers")
    unit_ND = torch.nn.functional.normalize(features_ND.double(), dim=1)
    return (unit_ND @ unit_ND.T).clamp(min=0.0)


def lazy_greedy(similarity_NN: Tensor) -> tuple[Tensor, Tensor]:
    """The order ``(N,)`` in which greedy search takes samples, and what each adds then ``(N,)``.

    Adds to facility location, the sum of the highest similarities to a sample that is taken; of
    equal ones the first is taken. Lazy: what a sample would add never grows with the set, so that
    most need no new look.

    Args:
        similarity_NN: at least 0, of the sample in a row to the one that may stand for it in a
            column.
    """
    # a row a sample that may stand for others, so that what it adds is read in one go
    by_sample_NN: NDArray[np.float64] = np.ascontiguousarray(similarity_NN.double().numpy().T)
    count = len(by_sample_NN)
    best_N = np.zeros(count)
    heap = [(-float(one.sum()), index) for index, one in enumerate(by_sample_NN)]
    heapq.heapify(heap)
    order: list[int] = []
    gain_N = torch.zeros(count, dtype=torch.float64)
    while heap:
        bound, index = heap[0]
        gain = float(np.maximum(by_sample_NN[index] - best_N, 0.0).sum()) if bound else 0.0
        if (-gain, index) > min(heap[1:3], default=(0.0, count)):
            heapq.heapreplace(heap, (-gain, index))
            continue
        heapq.heappop(heap)
        order.append(index)
        gain_N[index] = gain
        np.maximum(best_N, by_sample_NN[index], out=best_N)
    return torch.tensor(order, dtype=torch.int64), gain_N


def drawn(
    gain_N: Tensor, budget: int, generator: torch.Generator, temperature: float = 1.0
) -> Tensor:
    """Samples ``(budget,)`` without replacement, by the Taylor-softmax of their gains."""
    if not budget:
        return torch.zeros(0, dtype=torch.int64)
    x_N = gain_N.double() / temperature
    return torch.multinomial(1 + x_N + x_N**2 / 2, budget, generator=generator)
