"""The memory that a run takes in each of its processes, counted on a model without memory.

An upper bound: fused attention keeps less than what is counted, and so does bfloat16.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from trainonce.models.build import parameters, shape
from trainonce.models.layers import layers
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.settings import Parallel, ProcessSettings

WEIGHT_BYTES = 4
"""Of a parameter, in float32."""

ADAMW_BYTES = 4 * WEIGHT_BYTES
"""Of a parameter: itself, its gradient and two moments, in float32."""


def run_memory(run: TrainSpec, vocabulary: int) -> int:
    """Bytes that a run takes in each of the processes that train it."""
    with torch.device("meta"):
        model = shape(run.model, vocabulary)
    count = run.processes.count if run.processes else 1
    batch = run.train.batch // run.train.accumulate // count
    kept = activation_memory(model, batch, run.sequence, recompute=run.recompute)
    return state_memory(model, run.processes) + kept


def state_memory(model: nn.Module, processes: ProcessSettings | None = None) -> int:
    """Bytes of weights, gradients and AdamW's moments in one process.

    DDP keeps a second copy of the gradients, which it sends. FSDP keeps a part of all; what stands
    outside of the layers (embeddings) and two layers, the one that is computed and the one that is
    fetched meanwhile, are whole, with their gradients.
    """
    size = parameters(model)
    if processes is None:
        return ADAMW_BYTES * size
    if processes.parallel is Parallel.DDP:
        return (ADAMW_BYTES + WEIGHT_BYTES) * size
    each = [parameters(layer) for layer in layers(model)]
    whole = size - sum(each) + sum(sorted(each)[-2:])
    return ADAMW_BYTES * size // processes.count + 2 * WEIGHT_BYTES * whole


def activation_memory(
    model: nn.Module, batch: int, sequence: int, *, recompute: bool = False
) -> int:
    """Bytes that the backward pass keeps of the forward pass.

    Args:
        model: on the meta device.
        batch: sequences that go through it at once.
        sequence: tokens of each.
        recompute: whether each layer keeps its input alone, and what is inside of it comes back
            one layer at a time, see `trainonce.models.layers.recompute`. Then the peak lies in the
            way back through a layer, where as much again is taken by gradients and as much by what
            they are made of: 276 and 1,155 MB counted so, with the state, where
            `benchmarks/recompute.py` found 269 and 1,108.
    """
    kept: dict[int, dict[int, int]] = {}
    place = [-1]  # the layer whose pass it is; -1 outside of all
    inputs = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(place[-1], {})[storage._cdata] = storage.nbytes()
        return tensor

    def enter(number: int, _layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        place.append(number)
        inputs.append(given[0].nbytes)

    def leave(*_: object) -> None:
        place.pop()

    hooks = []
    for number, layer in enumerate(layers(model) if recompute else ()):
        hooks.append(layer.register_forward_pre_hook(partial(enter, number)))
        hooks.append(layer.register_forward_hook(leave))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = a_pass(model, batch, sequence)  # lives until all is counted, as do the storages
    for hook in hooks:
        hook.remove()
    outside = sum(kept.pop(-1, {}).values()) + loss.nbytes
    largest = max((sum(one.values()) for one in kept.values()), default=0)
    return outside + sum(inputs) + 3 * largest


def a_pass(model: nn.Module, batch: int, sequence: int) -> Tensor:
    """The loss of a pass of ``model``, on its device."""
    device = next(model.parameters()).device
    tokens_BT = torch.zeros(batch, sequence, dtype=torch.long, device=device)
    logits_BTV = model(tokens_BT)
    return F.cross_entropy(logits_BTV.flatten(0, -2), tokens_BT.flatten())
