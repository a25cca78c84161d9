from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainonce.methods.weights.merging.average import Average
from trainonce.models.build import build
from trainonce.models.decoder import Decoder, DecoderSettings
from trainonce.sites import SettingError


def model(seed: int, width: int = 5) -> nn.Sequential:
    torch.manual_seed(seed)
    found = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))
    found.load_state_dict({**found.state_dict(), "1.running_mean": torch.randn(width)})
    return found


def test_one_model_is_itself_and_stays_as_it_is() -> None:
    alone = model(1)
    before = copy.deepcopy(alone.state_dict())
    merged = Average()([alone])
    assert merged is not alone
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter.zero_()
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, before[name])


@settings(deadline=None)
@given(
    weights=st.lists(st.floats(0.0, 10.0), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.1),
    order=st.permutations([0, 1, 2]),
)
def test_it_is_linear_and_knows_no_order(weights: list[float], order: list[int]) -> None:
    models = [model(seed) for seed in range(3)]
    merged = Average(weights=tuple(weights))(models).state_dict()
    turned = Average(weights=tuple(weights[i] for i in order))([models[i] for i in order])
    for name, tensor in turned.state_dict().items():
        if not tensor.is_floating_point():
            continue
        parts = [
            m.state_dict()[name] * w / sum(weights) for m, w in zip(models, weights, strict=True)
        ]
        torch.testing.assert_close(merged[name], sum(parts))
        torch.testing.assert_close(merged[name], tensor)


def test_one_step_on_each_part_is_one_step_on_all() -> None:
    """The average of SGD branches of one step is one step on the union of their data."""
    seed = nn.Linear(4, 1)
    inputs, targets = torch.randn(30, 4), torch.randn(30, 1)

    def stepped(rows: slice) -> nn.Linear:
        branch = copy.deepcopy(seed)
        F.mse_loss(branch(inputs[rows]), targets[rows]).backward()
        torch.optim.SGD(branch.parameters(), lr=0.1).step()
        return branch

    merged = Average()([stepped(slice(start, start + 10)) for start in (0, 10, 20)])
    torch.testing.assert_close(merged.weight, stepped(slice(0, 30)).weight)
    uneven = Average(weights=(20, 10))([stepped(slice(0, 20)), stepped(slice(20, 30))])
    torch.testing.assert_close(uneven.weight, stepped(slice(0, 30)).weight)


def test_tied_weights_stay_tied() -> None:
    shape = DecoderSettings(width=8, layers=1, heads=2, tied=True)
    merged = Average()([build(shape, 20, seed) for seed in (1, 2)])
    assert isinstance(merged, Decoder)
    assert merged.head.weight is merged.embedding.weight


def test_half_precision_is_averaged_in_single() -> None:
    models = [nn.Linear(2, 2).bfloat16() for _ in range(2)]
    for linear, value in zip(models, (1.0, 1.0078125), strict=True):  # neighbours in bfloat16
        nn.init.constant_(linear.weight, value)
    merged = Average(weights=(1, 3))(models)
    assert merged.weight.dtype is torch.bfloat16
    assert float(merged.weight.detach()[0, 0]) == 1.0078125


def test_bad_input_is_refused() -> None:
    with pytest.raises(SettingError, match="numbers from 0 on"):
        Average(weights=(1.0, -1.0))
    with pytest.raises(SettingError, match="not all 0"):
        Average(weights=(0.0, 0.0))
    with pytest.raises(ValueError, match="no model"):
        Average()([])
    with pytest.raises(ValueError, match="2 weights for 1 models"):
        Average(weights=(1, 1))([model(1)])
    with pytest.raises(ValueError, match=r"model 1 has 0.weight of \(6, 3\)"):
        Average()([model(1), model(2, width=6)])
    with pytest.raises(ValueError, match="model 1 differs from model 0 in its tensors"):
        Average()([nn.Linear(2, 2), nn.Linear(2, 2, bias=False)])
    counted = model(2)
    counted.load_state_dict({**counted.state_dict(), "1.num_batches_tracked": torch.tensor(1)})
    with pytest.raises(ValueError, match="num_batches_tracked, which has no mean"):
        Average()([model(1), counted])
