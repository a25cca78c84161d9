"""Steering by differences: exact limits, and the papers' formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainonce.methods.inference.steering.emulated_tuning import EmulatedTuning
from trainonce.methods.inference.steering.proxy_tuning import ProxyTuning
from trainonce.sites import LanguageModel, SettingError

V = 7
TOKENS = torch.arange(6).view(2, 3)


def model(seed: int, vocabulary: int = V) -> LanguageModel:
    table = torch.randn(6, vocabulary, generator=torch.Generator().manual_seed(seed)) * 2

    def logits(tokens_BT: Tensor) -> Tensor:
        return table[tokens_BT]

    return logits


LARGE, TUNED, UNTUNED = model(1), model(2), model(3)


def probabilities(steered: LanguageModel) -> Tensor:
    return steered(TOKENS).softmax(-1)


@pytest.mark.parametrize("steer", [ProxyTuning(), EmulatedTuning(), EmulatedTuning(top_p=0.5)])
def test_tuning_that_did_nothing_changes_nothing(steer: ProxyTuning | EmulatedTuning) -> None:
    found = probabilities(steer(LARGE, TUNED, TUNED))
    torch.testing.assert_close(found, probabilities(LARGE))


def test_no_strength_changes_nothing() -> None:
    assert torch.equal(ProxyTuning(alpha=0)(LARGE, TUNED, UNTUNED)(TOKENS), LARGE(TOKENS))
    found = probabilities(EmulatedTuning(beta=0)(LARGE, TUNED, UNTUNED))
    torch.testing.assert_close(found, probabilities(LARGE))


@pytest.mark.parametrize("steer", [ProxyTuning(), EmulatedTuning()])
def test_a_base_that_is_the_untuned_model_becomes_the_tuned_one(
    steer: ProxyTuning | EmulatedTuning,
) -> None:
    found = probabilities(steer(UNTUNED, TUNED, UNTUNED))
    torch.testing.assert_close(found, probabilities(TUNED))


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_both_are_products_of_experts(strength: float) -> None:
    """p ~ p_large (p_tuned / p_untuned)^strength, a token and a word at a time."""
    large, tuned, untuned = (probabilities(one) for one in (LARGE, TUNED, UNTUNED))
    expected = torch.empty(2, 3, V)
    for row in range(2):
        for token in range(3):
            scores = [
                float(large[row, token, word])
                * (float(tuned[row, token, word]) / float(untuned[row, token, word])) ** strength
                for word in range(V)
            ]
            expected[row, token] = torch.tensor([score / sum(scores) for score in scores])
    proxy = ProxyTuning(alpha=strength)(LARGE, TUNED, UNTUNED)
    emulated = EmulatedTuning(beta=strength)(LARGE, TUNED, UNTUNED)
    torch.testing.assert_close(probabilities(proxy), expected)
    torch.testing.assert_close(emulated(TOKENS).exp(), expected)


def test_what_the_base_holds_for_hopeless_is_left_alone() -> None:
    base = LARGE(TOKENS).log_softmax(-1)
    found = EmulatedTuning(top_p=0.6)(LARGE, TUNED, UNTUNED)(TOKENS)
    for logs, moved in zip(base.flatten(0, 1), found.flatten(0, 1), strict=True):
        order = logs.argsort(descending=True)
        inside = 1 + int((logs[order].exp().cumsum(0) < 0.6).sum())
        left = (moved - logs)[order[inside:]]
        assert torch.allclose(left, left[:1].expand_as(left), atol=1e-5)  # by log Z alone
        assert not torch.allclose((moved - logs)[order[:1]], left[:1], atol=1e-3)


def test_padded_vocabularies_are_cut_to_the_common_one() -> None:
    found = ProxyTuning()(model(1, V + 3), TUNED, UNTUNED)(TOKENS)
    assert found.shape == (2, 3, V)
    assert EmulatedTuning(top_p=0.5)(LARGE, model(2, V + 2), UNTUNED)(TOKENS).shape == (2, 3, V)


def test_bad_input_is_refused() -> None:
    with pytest.raises(SettingError, match="at least 0, not -1"):
        ProxyTuning(alpha=-1)
    with pytest.raises(SettingError, match="at least 0, not -1"):
        EmulatedTuning(beta=-1)
    with pytest.raises(SettingError, match="above 0 and at most 1, not 0"):
        EmulatedTuning(top_p=0)
    short: LanguageModel = lambda tokens_BT: LARGE(tokens_BT)[:, :2]  # noqa: E731
    with pytest.raises(ValueError, match="must read the same tokens"):
        ProxyTuning()(short, TUNED, UNTUNED)(TOKENS)
