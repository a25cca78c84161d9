"""A module as probes of whole models are given it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from trainonce.models.embedding import changed


class Whole:
    """A module as a probe sees it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, tokens_BT: Tensor) -> Tensor:
        found: Tensor = self.model(tokens_BT)
        return found

    def embedded(self, tokens_BT: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        with changed(self.model, change):
            return self(tokens_BT)

    def changed(self, by: Callable[[nn.Module], nn.Module]) -> Whole:
        return Whole(by(self.model))
