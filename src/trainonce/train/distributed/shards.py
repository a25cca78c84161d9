"""A run's state between its ranks: whole when it is saved, in parts when it is trained.

A checkpoint is that of one process, so that it loads into any number of them. Tensors go one at a
time: a rank holds its own part and at most one whole tensor beside, and only the first rank, which
reads and writes, has all of them in its host's memory (12 bytes a parameter with AdamW).

Nothing is pickled: names, shapes and facts travel as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from trainonce.train.checkpoints import State
from trainonce.train.state import RunState, capture

_GENERATORS = ("generator", "generator_cuda")


def whole(tensor: Tensor) -> Tensor:
    """``tensor`` with the parts of all ranks, each of which must call this."""
    if not isinstance(tensor, DTensor):
        return tensor
    placed: Any = tensor.to(tensor.device_mesh.device_type)  # an anchor is on the CPU
    found: Tensor = placed.full_tensor()
    return found


def send(state: State, rank: int, count: int, device: torch.device) -> State:
    """The whole of a state, on the CPU of the first rank; nothing in the others.

    Each rank draws from a generator of its own: those after the first are kept beside, as
    ``generator.1`` and so on.
    """
    tensors = {}
    for name, tensor in state.tensors.items():
        found = whole(tensor)
        if rank == 0:
            tensors[name] = found.detach().cpu()
        if _is_generator(name):
            others = _gathered(tensor, count, device)
            if rank == 0:
                tensors |= {f"{name}.{other}": others[other] for other in range(1, count)}
    return State(tensors, state.facts)


def receive(state: State | None, run: RunState, rank: int, device: torch.device) -> State:
    """This rank's part of the whole state that the first rank has.

    A rank that did not take part when it was saved keeps its own generator.

    Args:
        state: in the first rank; None in the others.
        run: whose parameters say how tensors are parted.
        rank: this one.
        device: where tensors travel.
    """
    described = state and [
        dict(state.facts),
        {name: _described(tensor) for name, tensor in state.tensors.items()},
    ]
    facts, shapes = tell(described, device)
    own = capture(run).tensors
    parts: dict[str, Tensor] = {}
    for name, (shape, kind) in shapes.items():
        tensor = torch.empty(shape, dtype=getattr(torch, kind), device=device)
        if state is not None:
            tensor.copy_(state.tensors[name])
        like = _like(name, shape, run, own)
        if like is not None:
            parts[name] = distribute_tensor(tensor, like.device_mesh, like.placements)
        else:
            torch.distributed.broadcast(tensor, src=0)
            parts[name] = tensor.cpu()
    for name in [name for name in parts if rank and _is_generator(name)]:
        parts[name] = parts.get(f"{name}.{rank}", own[name.removeprefix("anchor.")])
    return State(parts, facts)


def tell(value: Any, device: torch.device) -> Any:
    """What the first rank has as ``value``, plain data; the others give None."""
    text = bytearray(json.dumps(value).encode())
    size = torch.tensor(len(text), device=device)
    torch.distributed.broadcast(size, src=0)
    letters = torch.frombuffer(text.ljust(int(size)), dtype=torch.uint8)[: int(size)].to(device)
    torch.distributed.broadcast(letters, src=0)
    return json.loads(letters.cpu().numpy().tobytes())


def _is_generator(name: str) -> bool:
    return name.removeprefix("anchor.") in _GENERATORS


def _gathered(tensor: Tensor, count: int, device: torch.device) -> list[Tensor]:
    own = tensor.to(device)
    found = [torch.empty_like(own) for _ in range(count)]
    torch.distributed.all_gather(found, own)
    return [one.cpu() for one in found]


def _described(tensor: Tensor) -> tuple[list[int], str]:
    return list(tensor.shape), str(tensor.dtype).removeprefix("torch.")


def _like(name: str, shape: list[int], run: RunState, own: Mapping[str, Tensor]) -> DTensor | None:
    """The sharded tensor that the one of this name is parted like, if any."""
    name = name.removeprefix("anchor.")
    like = own.get(name)
    if like is None and name.startswith("optimizer."):  # made at the first step
        parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
        like = parameters[int(name.split(".")[1])]
    return like if isinstance(like, DTensor) and list(like.shape) == shape else None
