"""The input embeddings of a model, changed on their way in: ours or Hugging Face's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainonce.models.build import HuggingFaceModel
from trainonce.stream.marks import Noise

Change = Callable[[Tensor], Tensor]
"""Embeddings ``(B, T, D)`` to those that go into the model."""


def gaussian(seed: int, tokens: int, width: int) -> Tensor:
    """Standard normal noise ``(tokens, width)``, drawn on the CPU: the same for every device."""
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed))


def adding(noises: Sequence[Noise]) -> Change:
    """The change that adds ``noises``; gradients flow past them to the embeddings."""

    def add(embedded_BTD: Tensor) -> Tensor:
        added_BTD = torch.zeros_like(embedded_BTD)
        for one in noises:
            span = slice(one.start, one.start + one.tokens)
            own_TD = embedded_BTD.detach()[one.row, span]
            drawn_TD = gaussian(one.seed, one.tokens, own_TD.shape[1])[: len(own_TD)].to(own_TD)
            added_BTD[one.row, span] = one.strength * own_TD.square().mean().sqrt() * drawn_TD
        return embedded_BTD + added_BTD

    return add


@contextmanager
def changed(model: nn.Module, change: Change | None) -> Iterator[None]:
    """Let ``change`` act on the embeddings of what goes through ``model`` inside this.

    Raises:
        ValueError: when the model has no input embedding.
    """
    if change is None:
        yield
        return

    def act(_module: nn.Module, _inputs: Any, embedded_BTD: Tensor) -> Tensor:
        return change(embedded_BTD)

    hook = input_embedding(model).register_forward_hook(act)
    try:
        yield
    finally:
        hook.remove()


def input_embedding(model: nn.Module) -> nn.Module:
    """The embedding of the input tokens.

    Raises:
        ValueError: when there is none.
    """
    if isinstance(model, HuggingFaceModel):
        found: nn.Module = model.inner.get_input_embeddings()  # type: ignore[operator]
        return found
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            return module
    raise ValueError(f"{type(model).__name__} has no input embedding")
