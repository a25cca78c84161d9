"""The layers of a model: what is sharded one by one, and computed twice to save memory."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def layers(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of ``model``: the members of its list with the most parameters.

    Ours keeps them in ``blocks``, Hugging Face's models in a list of varying name.

    Raises:
        ValueError: when it has no list of modules.
    """
    lists: list[nn.Module] = [
        module for module in model.modules() if isinstance(module, nn.ModuleList)
    ]
    if not lists:
        raise ValueError(f"{type(model).__name__} keeps no list of layers")
    largest = max(lists, key=lambda one: sum(p.numel() for p in one.parameters()))
    return list(largest.children())


def recompute(model: nn.Module) -> nn.Module:
    """Let each layer of ``model`` keep its input alone while training, in place.

    What lies between a layer's input and its output is computed a second time on the way back, with
    the same random numbers: the gradients are the same, a step takes about a third more operations,
    and memory for activations grows with the layers' inputs in place of all that is inside them
    (Chen et al. 2016, arXiv 1604.06174).
    """
    for layer in layers(model):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    return model
