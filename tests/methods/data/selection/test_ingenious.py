from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from trainonce.methods.data.selection.ingenious import (
    Ingenious,
    drawn,
    lazy_greedy,
    pooled,
    similarity,
)
from trainonce.sites import SettingError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exact(count: int, seed: int, levels: int = 64) -> Tensor:
    """Similarities in 64ths, whose sums are exact in any order, so that ties are ties."""
    similarity_NN = torch.randint(levels + 1, (count, count), generator=generator(seed)) / 64
    return torch.maximum(similarity_NN, similarity_NN.T).double()


def facility_location(similarity_NN: Tensor, chosen: Tensor) -> float:
    """How well the samples ``chosen`` stand for all: the sum of the highest similarities."""
    return float(similarity_NN[:, chosen].amax(dim=1).sum()) if len(chosen) else 0.0


def naive(similarity_NN: Tensor, budget: int) -> list[int]:
    """Greedy search that looks at every sample every time, the paper's f written out."""
    rows = similarity_NN.tolist()

    def value(chosen: list[int]) -> float:
        return sum(max((row[j] for j in chosen), default=0.0) for row in rows)

    taken: list[int] = []
    for _ in range(budget):
        left = [j for j in range(len(rows)) if j not in taken]
        taken.append(max(left, key=lambda j: (value([*taken, j]), -j)))
    return taken


@pytest.mark.parametrize("levels", [3, 64], ids=["many ties", "few ties"])
@pytest.mark.parametrize("seed", range(4))
def test_lazy_greedy_is_naive_greedy(seed: int, levels: int) -> None:
    similarity_NN = exact(14, seed, levels)
    assert lazy_greedy(similarity_NN)[0].tolist() == naive(similarity_NN, 14)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what it imports of scipy
def test_gains_are_those_of_the_authors_library() -> None:
    """By rank: two samples that stand for each other alone gain the same but for rounding."""
    submodlib = pytest.importorskip("submodlib")
    similarity_NN = similarity(torch.randn(60, 4, generator=generator(3)))
    other = submodlib.FacilityLocationFunction(
        n=60, mode="dense", sijs=similarity_NN.numpy(), separate_rep=False
    )
    found = other.maximize(budget=25, optimizer="NaiveGreedy", show_progress=False)
    order, gain_N = lazy_greedy(similarity_NN)
    own = gain_N[order[:25]]
    # its matrix is of single precision, whose rounding adds up over 60 samples
    torch.testing.assert_close(
        own, torch.tensor([one for _, one in found]).double(), atol=6e-6, rtol=0.0
    )


@pytest.mark.parametrize("seed", range(6))
def test_greedy_is_at_least_so_near_to_the_best_of_all_subsets(seed: int) -> None:
    """Nemhauser, Wolsey and Fisher 1978: 1 - 1/e of it, for similarities of at least 0."""
    similarity_NN = similarity(torch.randn(10, 3, generator=generator(seed)))
    best = max(
        facility_location(similarity_NN, torch.tensor(chosen))
        for chosen in itertools.combinations(range(10), 3)
    )
    greedy = facility_location(similarity_NN, lazy_greedy(similarity_NN)[0][:3])
    assert (1 - 1 / math.e) * best <= greedy <= best + 1e-12


def test_gains_add_up_to_what_the_set_is_worth_and_never_grow() -> None:
    similarity_NN = similarity(torch.randn(30, 4, generator=generator(5)))
    order, gain_N = lazy_greedy(similarity_NN)
    worth = [facility_location(similarity_NN, order[:size]) for size in range(31)]
    torch.testing.assert_close(gain_N[order].cumsum(0), torch.tensor(worth[1:]).double())
    assert all(one >= other for one, other in itertools.pairwise(gain_N[order].tolist()))


def test_a_copy_gains_nothing() -> None:
    features_ND = torch.randn(12, 4, generator=generator(6))
    _, alone_N = lazy_greedy(similarity(features_ND))
    _, both_N = lazy_greedy(similarity(features_ND.repeat(2, 1)))
    assert (both_N.view(2, 12).amin(dim=0) < 1e-12).all()
    torch.testing.assert_close(both_N.view(2, 12).sum(0), 2 * alone_N)


def test_samples_are_drawn_by_the_taylor_softmax_of_their_gains() -> None:
    gain_N = torch.tensor([3.0, 1.0, 0.0])
    weight_N = torch.tensor([8.5, 2.5, 1.0])  # 1 + g + g^2 / 2
    source = generator()
    first = torch.cat([drawn(gain_N, 1, source) for _ in range(4_000)])
    share_N = first.bincount(minlength=3) / 4_000
    # four standard errors of a share of 4,000
    torch.testing.assert_close(share_N, weight_N / weight_N.sum(), atol=0.032, rtol=0.0)
    pairs = torch.stack([drawn(gain_N, 2, source) for _ in range(4_000)])
    without_first = float((pairs.sum(dim=1) == 3).double().mean())
    # one of the others is drawn, and then the other one of what is left
    assert without_first == pytest.approx(2.5 / 12 / 9.5 + 1 / 12 * 2.5 / 11, abs=0.032)


def test_a_temperature_without_end_leaves_all_to_chance_and_a_low_one_nothing() -> None:
    features_ND = torch.tensor([[1.0, 0.0]] * 6 + [[0.0, 1.0]] + [[-1.0, 0.0]])
    source = generator()
    chance = Ingenious(temperature=math.inf)
    found = torch.stack([chance(features_ND, 2, source) for _ in range(2_000)]).flatten()
    share_N = found.bincount(minlength=8) / 2_000
    torch.testing.assert_close(share_N, torch.full((8,), 0.25), atol=0.039, rtol=0.0)
    for _ in range(20):
        chosen = Ingenious(temperature=1e-6)(features_ND, 3, source).sort().values
        # one of six, and both of those that are like no other
        assert chosen[0] < 6
        assert chosen[1:].tolist() == [6, 7]


@pytest.mark.parametrize(
    ("count", "budget", "part"), [(23, 7, 5), (23, 23, 5), (5, 1, 2), (9, 4, 9)]
)
def test_the_budget_is_met_from_all_parts_alike(count: int, budget: int, part: int) -> None:
    features_ND = torch.randn(count, 3, generator=generator(8))
    found = Ingenious(part=part)(features_ND, budget, generator(1))
    assert len(found) == len(found.unique()) == budget
    order = torch.randperm(count, generator=generator(1))
    for one in order.tensor_split(math.ceil(count / part)):
        taken = int(torch.isin(found, one).sum())
        assert abs(taken - budget * len(one) / count) < 1


def test_features_are_means_over_the_tokens_that_count() -> None:
    hidden_BTD = torch.randn(2, 3, 4, generator=generator(9))
    counts_BT = torch.tensor([[True, True, False], [True, True, True]])
    found = pooled(hidden_BTD, counts_BT)
    torch.testing.assert_close(found[0], (hidden_BTD[0, 0] + hidden_BTD[0, 1]) / 2)
    torch.testing.assert_close(found[1], pooled(hidden_BTD)[1])


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"part": 0}, "part"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingError) as caught:
        Ingenious(**settings)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("features", "budget", "message"),
    [
        (torch.zeros(3), 1, r"are \(N, D\)"),
        (torch.zeros(0, 2), 1, r"are \(N, D\)"),
        (torch.ones(3, 2), 4, "a budget of 4 from 3"),
        (torch.tensor([[1.0], [math.inf]]), 1, "sample 1"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(features: Tensor, budget: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ingenious()(features, budget, generator())
