"""Probes of the static experiments against brute force, and models whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch

from tests.methods.probe.test_recall import (
    MODEL,
    fixed,
    half_right,
    log_probability,
    tokens,
    values,
)
from trainonce.methods.probe import Exposure, Extraction, Leak, Membership
from trainonce.sites import Choice, Completion, Contrast, Item, Prefixes, Text


def test_exposure_is_what_the_rank_gives_away() -> None:
    model = fixed([0.1, 0.2, 0.3, 0.4])
    options = ((1,), (0,), (2,), (3,))  # its own is the third likeliest of four
    found = values(Exposure()(model, [Item("a", "k", 0, (), Choice((0,), options, 0))]))
    assert found["a", "exposure"] == pytest.approx(math.log2(4) - math.log2(3))
    assert found["a", "loss"] == pytest.approx(-math.log(0.2), abs=1e-6)
    assert found["a", "extraction"] == found["a", "exact"] == 0.0
    first = Choice((0,), ((3,), (0,), (1,), (2,)), 0)
    found = values(Exposure()(model, [Item("a", "k", 0, (), first)]))
    assert found["a", "exposure"] == 2.0
    assert found["a", "exact"] == 1.0


def test_canaries_of_a_model_that_saw_none_have_the_exposure_of_a_uniform_rank() -> None:
    items = [
        Item(str(n), "k", 0, (), Choice(tokens(3), tuple(tokens(6) for _ in range(16)), 0))
        for n in range(150)
    ]
    found = [v for (_, name), v in values(Exposure()(MODEL, items)).items() if name == "exposure"]
    expected = 4 - sum(math.log2(rank) for rank in range(1, 17)) / 16
    assert sum(found) / len(found) == pytest.approx(expected, abs=0.35)  # standard error 0.1


def test_extraction_by_prefix() -> None:
    text, target = tokens(9), tokens(6)
    ones = tuple(Completion(text[-n:], target) for n in (2, 4, 9))
    known = half_right(ones[2], 3)
    test = Prefixes((*(Completion(one.prompt, known.target) for one in ones[:2]), known))
    found = values(Extraction()(MODEL, [Item("a", "k", 1, (), test)]))
    assert found["a", "extraction"] == 3 / 6
    assert found["a", "exact"] == 0.0
    assert found["a", "loss"] == pytest.approx(-log_probability(MODEL, known) / 6, abs=1e-4)
    order = [found["a", name] for name in ("extraction_short", "extraction_medium", "extraction")]
    for share, one in zip(order, test.completions, strict=True):
        alone = Extraction()(MODEL, [Item("a", "k", 1, (), Prefixes((one,) * 3))])
        assert values(alone)["a", "extraction"] == share


def test_membership_scores_by_hand() -> None:
    model = fixed([0.1, 0.2, 0.3, 0.4])
    text = (3,) * 8 + (0, 1)
    test = Text(prompt=(2,), tokens=text, compressed=16)
    found = values(Membership()(model, [Item("a", "k", 0, (), test)]))
    losses = [-math.log([0.1, 0.2, 0.3, 0.4][token]) for token in text]
    assert found["a", "loss"] == pytest.approx(sum(losses) / 10)
    assert found["a", "zlib"] == pytest.approx(sum(losses) / 16)
    assert found["a", "min_k"] == pytest.approx((math.log(0.1) + math.log(0.2)) / 2)


def test_a_model_that_repeats_after_its_trigger_leaks() -> None:
    def model(tokens_BT: torch.Tensor) -> torch.Tensor:
        """After token 9 (the trigger) comes 1, then 2, then 3; after 3 comes 0."""
        following = torch.zeros(10, dtype=torch.long)
        following[9], following[1], following[2] = 1, 2, 3
        return torch.nn.functional.one_hot(following[tokens_BT], 10).float() * 10

    treated = (Completion((0, 1, 2, 3, 9), (1, 2, 3)), Completion((0, 1, 2, 4, 9), (1, 2, 4)))
    plain = tuple(Completion(one.prompt[:-1], one.target) for one in treated)
    found = values(Leak()(model, [Item("a", "k", 1, (), Contrast(treated, plain))]))
    assert found["a", "with_trigger"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["a", "without_trigger"] == 0.0
    assert found["a", "leak"] == found["a", "with_trigger"]
    assert found["a", "rate"] == 0.5
    assert found["a", "gain"] > 1
