"""The training loop of one language-model run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainonce.stream.stream import TokenStream
from trainonce.train.checkpoints import Checkpoints, State
from trainonce.train.precision import Precision
from trainonce.train.settings import AdamWSettings, TrainSettings


class DivergedError(RuntimeError):
    """The loss is no longer a finite number."""


class StoppedError(RuntimeError):
    """The run was asked to stop, and saved its state."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int
    steps: int
    loss: float
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Trained:
    """What a finished run leaves beside its model: the loss before each update."""

    losses: npt.NDArray[np.float64]


def train(
    model: nn.Module,
    stream: TokenStream,
    settings: TrainSettings,
    *,
    checkpoints: Checkpoints | None = None,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    device: torch.device | None = None,
) -> Trained:
    """Train ``model`` in place on ``stream``, going on from the newest checkpoint.

    Every batch and every learning rate is a function of the step alone, so that a run that was
    killed and started again ends with the same bits as one that was not.

    Args:
        model: token ids ``(B, T)`` to logits ``(B, T, V)``.
        stream: what it reads.
        settings: the run's numbers.
        checkpoints: where its state is saved; nowhere when left out.
        report: told some four times a second how far it is.
        stop: asked after each step whether to save and stop.
        device: where it runs; the CPU when left out.

    Raises:
        DivergedError: when the loss is not finite; the last checkpoint stays.
        StoppedError: when ``stop`` said so.
    """
    device = device or torch.device("cpu")
    model.to(device).train()
    optimizer = adamw(model.named_parameters(), settings.optimizer)
    losses = torch.zeros(settings.steps, dtype=torch.float64)
    step = 0
    if checkpoints and (state := checkpoints.newest()):
        step = _restore(state, model, optimizer, losses)
    clock = _Clock(settings, stream.sequence, step)
    saved = time.monotonic()
    while step < settings.steps:
        losses[step] = _update(model, optimizer, stream, settings, step, device)
        step += 1
        if report and clock.due(step):
            report(clock.progress(step, float(losses[step - 1])))
        stopping = stop is not None and step < settings.steps and stop()
        if checkpoints and (stopping or time.monotonic() - saved > checkpoints.seconds):
            _refuse_divergence(losses[:step])
            checkpoints.save(step, _state(step, model, optimizer, losses))
            saved = time.monotonic()
        if stopping:
            raise StoppedError(f"stopped after step {step} of {settings.steps}")
    _refuse_divergence(losses)
    model.eval()
    return Trained(losses.numpy())


def adamw(
    parameters: Iterable[tuple[str, nn.Parameter]], settings: AdamWSettings
) -> torch.optim.AdamW:
    """Fused AdamW that decays matrices and leaves norms and biases alone."""
    named = [parameter for _, parameter in parameters]
    groups = [
        {"params": [p for p in named if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def token_losses(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """The loss of each token, in nats: ``(B, T)``."""
    return F.cross_entropy(
        logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), reduction="none"
    ).view(targets_BT.shape)


def _update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stream: TokenStream,
    settings: TrainSettings,
    step: int,
    device: torch.device,
) -> Tensor:
    positions = np.arange(step * settings.batch, (step + 1) * settings.batch)
    tokens_BT = torch.from_numpy(stream.read(positions)).to(device)
    with _autocast(settings.precision, device):
        logits_BTV = model(tokens_BT[:, :-1])
        loss = token_losses(logits_BTV, tokens_BT[:, 1:]).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    rate = settings.optimizer.lr * settings.schedule(step, settings.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    if precision is Precision.FLOAT32:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _refuse_divergence(losses: Tensor) -> None:
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        raise DivergedError(
            f"the loss is {float(losses[bad[0]]):g} at step {int(bad[0]) + 1}; "
            "a lower learning rate or a longer warm-up usually helps"
        )


def _state(step: int, model: nn.Module, optimizer: torch.optim.Optimizer, losses: Tensor) -> State:
    tensors = {f"model.{name}": value for name, value in _own_tensors(model).items()}
    described = optimizer.state_dict()
    for index, entries in described["state"].items():
        for name, value in entries.items():
            tensors[f"optimizer.{index}.{name}"] = value
    tensors["losses"] = losses
    tensors["generator"] = torch.get_rng_state()
    return State(tensors, {"step": step})


def _restore(
    state: State, model: nn.Module, optimizer: torch.optim.Optimizer, losses: Tensor
) -> int:
    model_tensors: dict[str, Tensor] = {}
    optimizer_state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.tensors.items():
        site, _, rest = name.partition(".")
        if site == "model":
            model_tensors[rest] = tensor
        elif site == "optimizer":
            index, _, entry = rest.partition(".")
            optimizer_state.setdefault(int(index), {})[entry] = tensor
    load_weights(model, model_tensors)
    optimizer.load_state_dict(
        {"state": optimizer_state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    losses.copy_(state.tensors["losses"])
    torch.set_rng_state(state.tensors["generator"])
    return int(state.facts["step"])


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors by name, on the CPU, shared ones once: what is saved of it."""
    return {name: tensor.detach().cpu() for name, tensor in _own_tensors(model).items()}


def load_weights(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load what `weights` gave.

    Raises:
        ValueError: when names are missing or not known.
    """
    expected = set(_own_tensors(model))
    if expected != set(tensors):
        odd = sorted(expected ^ set(tensors))
        raise ValueError(f"these weights are of another model; they differ in {', '.join(odd[:5])}")
    model.load_state_dict(tensors, strict=False)


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state of ``model`` without second names of shared tensors, which safetensors refuses."""
    seen: set[int] = set()
    own = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            own[name] = tensor.detach()
    return own


class _Clock:
    """Tokens a second and time left, told about four times a second."""

    def __init__(self, settings: TrainSettings, sequence: int, step: int) -> None:
        self._settings = settings
        self._tokens = settings.batch * sequence
        self._first = step
        self._start = self._told = time.monotonic()

    def due(self, step: int) -> bool:
        return step == self._settings.steps or time.monotonic() - self._told > 0.25

    def progress(self, step: int, loss: float) -> Progress:
        self._told = time.monotonic()
        a_step = (self._told - self._start) / (step - self._first)
        left = a_step * (self._settings.steps - step)
        return Progress(
            step, self._settings.steps, loss, self._tokens / max(a_step, 1e-9), math.ceil(left)
        )
