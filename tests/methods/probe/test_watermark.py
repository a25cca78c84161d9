from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from tests.methods.whole import Whole
from trainonce.methods.data.insertion.watermark import Watermark
from trainonce.methods.probe.trace.watermark_gradient import WatermarkGradient, statistic
from trainonce.models.build import build
from trainonce.models.decoder import DecoderSettings
from trainonce.models.embedding import adding, gaussian
from trainonce.sites import Item, SettingError, Watermarked
from trainonce.stream.marks import Noise

TEXT = tuple(range(5, 25))


@pytest.fixture(scope="module")
def model() -> Whole:
    return Whole(build(DecoderSettings(width=32, layers=1, heads=2), 60, seed=4))


def marked(seed: int, strength: float = 1.0) -> Watermarked:
    return Watermarked((0,), TEXT, seed, strength)


def loss_with(model: Whole, noises: list[Noise]) -> Tensor:
    tokens_BT = torch.tensor([[0, *TEXT]])
    logits_BTV = model.embedded(tokens_BT, adding(noises))[:, :-1]
    return F.cross_entropy(logits_BTV[0], tokens_BT[0, 1:], reduction="sum")


def test_noise_that_the_model_never_met_is_standard_normal(model: Whole) -> None:
    found = [statistic(model, marked(seed)) for seed in range(300)]
    assert stats.kstest(found, "norm").pvalue > 0.05
    assert 0.9 < np.std(found) < 1.1


def test_the_statistic_is_the_slope_of_the_loss_along_the_noise(model: Whole) -> None:
    """Central differences along the noise, over the slope along the gradient itself."""
    step = 1e-2

    def slope(seed: int) -> float:
        ends = [
            loss_with(model, [Noise(row=0, start=1, tokens=20, seed=seed, strength=way * step)])
            for way in (1.0, -1.0)
        ]
        return (ends[0] - ends[1]).item()

    ratios = [statistic(model, marked(seed)) / -slope(seed) for seed in range(5)]
    assert ratios == pytest.approx([ratios[0]] * 5, rel=2e-2)
    assert ratios[0] > 0


def test_a_model_that_was_trained_with_the_noise_is_detected(model: Whole) -> None:
    copy = Whole(build(DecoderSettings(width=32, layers=1, heads=2), 60, seed=4))
    optimizer = torch.optim.Adam(copy.model.parameters(), lr=1e-2)
    noise = Noise(row=0, start=1, tokens=20, seed=7, strength=1.0)
    for _ in range(40):
        loss = loss_with(copy, [noise])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    items = [
        Item(f"i{seed}", "passage", dose, (TEXT,), marked(seed))
        for seed, dose in ((7, 1), *((seed, 0) for seed in range(100, 120)))
    ]
    rows = WatermarkGradient()(copy, items)
    by = {name: [r.value for r in rows if r.outcome == name] for name in {r.outcome for r in rows}}
    own, *others = by["statistic"]
    assert own > max(others)
    assert own > 3
    assert by["detected"][0] == 1
    assert sum(by["detected"][1:]) <= 2
    assert by["loss_gap"][0] > max(by["loss_gap"][1:])


def test_a_model_that_tells_nothing_has_no_statistic() -> None:
    class Even(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(60, 8)

        def forward(self, tokens_BT: Tensor) -> Tensor:
            embedded: Tensor = self.embedding(tokens_BT)
            return embedded.sum(-1, keepdim=True) * torch.zeros(60)

    assert statistic(Whole(Even()), marked(1)) == 0.0


def test_noise_is_the_same_for_the_same_seed_alone() -> None:
    assert torch.equal(gaussian(3, 4, 5), gaussian(3, 4, 5))
    assert not torch.equal(gaussian(3, 4, 5), gaussian(4, 4, 5))


def test_settings_that_cannot_be_used_are_refused() -> None:
    for strength in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match="above 0"):
            Watermark(strength=strength)
    with pytest.raises(SettingError, match="dose 0 is missing"):
        Watermark(doses=(1, 2))
