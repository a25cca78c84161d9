from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainonce.train.optimizers import AdamWNumbers, StackedAdamW, adamw_update, clip_replicas
from trainonce.train.settings import AdamWSettings

SETTINGS = (
    AdamWSettings(lr=1e-2),
    AdamWSettings(lr=3e-3, weight_decay=0.0, betas=(0.8, 0.9)),
    AdamWSettings(lr=1e-1, weight_decay=1.0, eps=1e-3),
)


def gradient(step: int, *shape: int) -> Tensor:
    draw = torch.Generator().manual_seed(step)
    return torch.randn(shape, dtype=torch.float64, generator=draw)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def torch_adamw(parameter: Tensor, settings: AdamWSettings, decay: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [parameter], lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=decay
    )


def test_stacked_adamw_is_that_of_torch_for_each_replica() -> None:
    """In float64, against the textbook implementation; a matrix, and a vector, never decayed."""
    start = {"matrix": gradient(99, 3, 4, 5), "vector": gradient(98, 3, 6)}
    stacked = {name: tensor.clone() for name, tensor in start.items()}
    optimizer = StackedAdamW(SETTINGS)
    state = optimizer.start(stacked)
    factors_R = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    for step in range(20):
        gradients = {name: gradient(step, *p.shape) for name, p in stacked.items()}
        optimizer.update(stacked, gradients, state, step, factors_R)
    for replica, settings in enumerate(SETTINGS):
        for name, tensor in start.items():
            single = nn.Parameter(tensor[replica].clone())
            decay = settings.weight_decay if name == "matrix" else 0.0
            textbook = torch_adamw(single, settings, decay)
            textbook.param_groups[0]["lr"] *= float(factors_R[replica])
            for step in range(20):
                single.grad = gradient(step, *tensor.shape)[replica]
                textbook.step()
            torch.testing.assert_close(stacked[name][replica], single.data, rtol=1e-12, atol=1e-13)


def test_the_same_update_serves_a_single_parameter() -> None:
    settings = SETTINGS[0]
    single = nn.Parameter(gradient(99, 4, 5))
    textbook = torch_adamw(single, settings, settings.weight_decay)
    parameter = single.detach().clone()
    state = {"mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
    for step in range(5):
        first, second = (1 - beta ** (step + 1) for beta in settings.betas)
        numbers = AdamWNumbers(
            mean_weight=number(1 - settings.betas[0]),
            square_weight=number(1 - settings.betas[1]),
            keep=number(1 - settings.lr * settings.weight_decay),
            size=number(settings.lr * second**0.5 / first),
            floor=number(settings.eps * second**0.5),
        )
        adamw_update(parameter, gradient(step, 4, 5), state, numbers)
        single.grad = gradient(step, 4, 5)
        textbook.step()
    torch.testing.assert_close(parameter, single.data, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("largest", [0.1, 1.0, 1e9])
def test_clipping_is_that_of_torch_for_each_replica(largest: float) -> None:
    gradients = [gradient(1, 2, 3, 4), gradient(2, 2, 5) * torch.tensor([[100.0], [0.01]])]
    expected = []
    for replica in range(2):
        parameters = [nn.Parameter(torch.zeros_like(g[replica])) for g in gradients]
        for parameter, g in zip(parameters, gradients, strict=True):
            parameter.grad = g[replica].clone()
        nn.utils.clip_grad_norm_(parameters, largest)
        expected.append([parameter.grad for parameter in parameters])
    clip_replicas(gradients, torch.tensor([largest, largest]))
    for replica in range(2):
        for found, wanted in zip(gradients, expected[replica], strict=True):
            torch.testing.assert_close(found[replica], wanted, rtol=1e-6, atol=0)


def test_a_replica_whose_gradient_is_no_number_does_not_touch_the_others() -> None:
    gradients = [gradient(1, 2, 3, 4)]
    gradients[0][0] = float("nan")
    alone = [gradients[0][1:].clone()]
    clip_replicas(gradients, torch.tensor([0.1, 0.1]))
    clip_replicas(alone, torch.tensor([0.1]))
    assert torch.equal(gradients[0][1:], alone[0])
