"""Short rehearsals of training, to time runs one after another, stacked, and side by side.

What is timed is an update on a fixed batch: forward, backward, clipping, AdamW. Reading data costs
each way the same and is left out.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainonce.models.build import build
from trainonce.models.decoder import DecoderSettings
from trainonce.models.stacked import stack
from trainonce.train.loop import adamw
from trainonce.train.replicas import Learner
from trainonce.train.settings import TrainSettings

Timed = Callable[[int], float]
"""Trains on for so many steps and returns the seconds that it took."""

_SETTINGS = TrainSettings(steps=10**9, batch=1)
_VOCABULARY, _SEQUENCES, _TOKENS = 256, 8, 64
_SAMPLES, _FEATURES, _HIDDEN, _CLASSES = 64, 64, 128, 10


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What decides which way of training several runs pays.

    Attributes:
        rows: tokens or samples that one run's step sees.
        parameters: in the run's matrices.
        matrices: how many it has.
    """

    rows: int
    parameters: int
    matrices: int

    @property
    def work(self) -> float:
        """Multiply-adds of the mean matrix product: what a kernel's fixed cost stands against."""
        return self.rows * self.parameters / self.matrices


def shape_of(model: nn.Module, rows: int) -> Shape:
    """The shape of ``model``, which may be on the meta device, at ``rows`` a step."""
    matrices = [p.numel() for p in model.parameters() if p.ndim > 1]
    if not matrices:
        raise ValueError(f"{type(model).__name__} has no matrix, so nothing to batch")
    return Shape(rows=rows, parameters=sum(matrices), matrices=len(matrices))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A model with a batch, which stands for its class of shapes.

    Attributes:
        name: its key.
        title: for people.
        build: from a seed to the model.
        batch: inputs and target ids.
        rows: tokens or samples of the batch.
    """

    name: str
    title: str
    build: Callable[[int], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]
    rows: int

    @property
    def shape(self) -> Shape:
        """Its shape."""
        return shape_of(self.build(0), self.rows)


def _mlp(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(_FEATURES, _HIDDEN),
            nn.GELU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.GELU(),
            nn.Linear(_HIDDEN, _CLASSES),
        )


def _samples() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(_SAMPLES, _FEATURES, generator=draw)
    return features, torch.randint(_CLASSES, (_SAMPLES,), generator=draw)


def _tokens() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(_VOCABULARY, (_SEQUENCES, _TOKENS + 1), generator=draw)
    return tokens_BT[:, :-1], tokens_BT[:, 1:]


def _decoder(width: int, layers: int) -> Reference:
    settings = DecoderSettings(width=width, layers=layers, heads=width // 32)
    return Reference(
        name=f"decoder-{width}",
        title=f"{layers}-layer, {width}-wide decoder, {_SEQUENCES} x {_TOKENS} tokens",
        build=lambda seed: build(settings, _VOCABULARY, seed),
        batch=_tokens,
        rows=_SEQUENCES * _TOKENS,
    )


REFERENCES: dict[str, Reference] = {
    reference.name: reference
    for reference in (
        Reference(
            name="mlp",
            title=f"MLP {_FEATURES}-{_HIDDEN}-{_HIDDEN}-{_CLASSES}, {_SAMPLES} samples",
            build=_mlp,
            batch=_samples,
            rows=_SAMPLES,
        ),
        _decoder(64, 2),
        _decoder(128, 4),
    )
}
"""The shapes that a machine is calibrated with."""


def one_after_another(reference: Reference, runs: int, device: torch.device) -> Timed:
    """``runs`` separate runs, one after another, updated as `trainonce.train.loop.train` does."""
    alone = [_alone(reference, seed, device) for seed in range(runs)]

    def train(steps: int) -> float:
        start = _now(device)
        for update in alone:
            for _ in range(steps):
                update()
        return _now(device) - start

    return train


def batched(reference: Reference, runs: int, device: torch.device) -> Timed:
    """``runs`` runs as stacked parameters."""
    inputs, targets = (tensor.to(device)[None] for tensor in reference.batch())
    stacked = stack([reference.build(seed) for seed in range(runs)]).to(device).train()
    learner = Learner(stacked, [_SETTINGS] * runs)
    numbers = itertools.count()

    def train(steps: int) -> float:
        start = _now(device)
        for _ in range(steps):
            learner.update(inputs, targets, next(numbers))
        return _now(device) - start

    return train


def _alone(reference: Reference, seed: int, device: torch.device) -> Callable[[], None]:
    inputs, targets = (tensor.to(device) for tensor in reference.batch())
    model = reference.build(seed).to(device).train()
    optimizer = adamw(model.named_parameters(), _SETTINGS.optimizer)
    numbers = itertools.count()

    def update() -> None:
        loss = F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _SETTINGS.clip)
        rate = _SETTINGS.optimizer.lr * _SETTINGS.schedule(next(numbers), _SETTINGS.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
