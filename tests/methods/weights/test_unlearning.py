from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from trainonce.methods.weights.unlearning.gradient_ascent import GradientAscent
from trainonce.methods.weights.unlearning.gradient_difference import GradientDifference
from trainonce.methods.weights.unlearning.negative_preference import NegativePreference, rejection
from trainonce.methods.weights.unlearning.texts import log_likelihoods, mean_losses
from trainonce.models.build import build
from trainonce.models.decoder import DecoderSettings
from trainonce.sites import SettingError

FORGET = [[0, *range(3, 15)], [0, *range(20, 29)]]
RETAIN = [[0, *range(15, 20), *range(3, 9)], [0, *range(29, 37)]]
Unlearn = Callable[..., nn.Module]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A model that knows both sets."""
    found = build(DecoderSettings(width=32, layers=1, heads=2), 40, seed=2)
    optimizer = torch.optim.Adam(found.parameters(), lr=1e-2)
    for _ in range(60):
        loss = mean_losses(found, [*FORGET, *RETAIN]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found


@torch.no_grad()
def loss_on(model: nn.Module, texts: list[list[int]]) -> float:
    return float(mean_losses(model, texts).mean())


def gradient(model: nn.Module, loss: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([one.flatten() for one in found])


def test_a_likelihood_does_not_see_what_stands_beside_it(model: nn.Module) -> None:
    together = log_likelihoods(model, [*FORGET, *RETAIN])
    alone = [log_likelihoods(model, [text]) for text in (*FORGET, *RETAIN)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize(
    "unlearn",
    [
        GradientAscent(steps=10, lr=2e-3),
        GradientDifference(steps=10, lr=2e-3),
        NegativePreference(steps=10, lr=2e-3),
        NegativePreference(steps=10, lr=2e-3, weight=1.0),
    ],
)
def test_texts_are_forgotten_and_the_model_stays_as_it_is(
    model: nn.Module, unlearn: Unlearn
) -> None:
    before = copy.deepcopy(model.state_dict())
    changed = unlearn(model, FORGET, RETAIN)
    assert loss_on(changed, FORGET) > loss_on(model, FORGET) + 0.5
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    again = unlearn(model, FORGET, RETAIN)
    for one, other in zip(changed.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_retaining_spares_the_texts_to_retain(model: nn.Module) -> None:
    ascent = GradientAscent(steps=15, lr=2e-3)(model, FORGET)
    spared = GradientDifference(steps=15, lr=2e-3)(model, FORGET, RETAIN)
    assert loss_on(spared, RETAIN) < loss_on(ascent, RETAIN)


def test_preference_begins_as_ascent_on_the_likelihood(model: nn.Module) -> None:
    """At the model that it starts from, for every beta: each text weighs 1."""
    now = log_likelihoods(model, FORGET)
    ascent = gradient(model, log_likelihoods(model, FORGET).mean())
    for beta in (0.01, 0.1, 2.0):
        again = log_likelihoods(model, FORGET)
        found = gradient(model, rejection(again, now.detach(), beta))
        torch.testing.assert_close(found, ascent, rtol=1e-4, atol=1e-6)


def test_preference_is_ascent_as_beta_goes_to_0_and_fades_otherwise() -> None:
    before = torch.tensor([-5.0, -5.0], dtype=torch.float64)
    now = torch.tensor([-15.0, -5.0], dtype=torch.float64, requires_grad=True)  # one is forgotten
    (small,) = torch.autograd.grad(rejection(now, before, 1e-9), now)
    torch.testing.assert_close(small, torch.tensor([0.5, 0.5], dtype=torch.float64))
    (large,) = torch.autograd.grad(rejection(now, before, 1.0), now)
    weights = 2 / (1 + (before - now.detach()).exp())
    torch.testing.assert_close(large, weights / 2)
    assert large[0] < 1e-4


@pytest.mark.parametrize("kind", [GradientAscent, GradientDifference, NegativePreference])
def test_settings_that_cannot_be_used_are_refused(kind: type) -> None:
    for settings in ({"steps": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": float("nan")}):
        with pytest.raises(SettingError):
            kind(**settings)


def test_a_weight_and_a_beta_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(SettingError, match="above 0"):
        GradientDifference(weight=0.0)
    with pytest.raises(SettingError, match="above 0"):
        NegativePreference(beta=-1.0)
    with pytest.raises(SettingError, match="0 or more"):
        NegativePreference(weight=-1.0)


def test_missing_texts_are_named(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="no text to forget"):
        GradientAscent()(model, [])
    with pytest.raises(ValueError, match="no text to retain"):
        GradientDifference()(model, FORGET, [])
    with pytest.raises(ValueError, match="no text to retain"):
        NegativePreference(weight=1.0)(model, FORGET)
    with pytest.raises(ValueError, match="a text of 1 tokens"):
        GradientAscent()(model, [[3]])
