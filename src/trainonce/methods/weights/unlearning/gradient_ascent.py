"""Unlearning by gradient ascent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from trainonce.methods.registry import method
from trainonce.methods.weights.unlearning.texts import Model, Text, Updates, mean_losses, unlearned
from trainonce.sites import Site


@method(site=Site.WEIGHTS, paper="2210.01504")
@dataclass(frozen=True, kw_only=True)
class GradientAscent(Updates):
    """Raises the loss of the texts to forget, and looks at nothing else.

    Minimizes minus their loss (Jang et al. 2022, arXiv 2210.01504). The loss has no bound, so that
    the model falls apart after enough updates.

    >>> forgetful = GradientAscent(steps=10)(model, forget)   # doctest: +SKIP
    """

    def __call__(self, model: Model, forget: Sequence[Text], retain: Sequence[Text] = ()) -> Model:
        """A new model; ``retain`` is not used.

        Raises:
            ValueError: when there is nothing to forget, or a text has fewer than two tokens.
        """

        def ascent(changed: nn.Module, chosen: Sequence[int], _kept: Sequence[int]) -> Tensor:
            return -mean_losses(changed, [forget[number] for number in chosen]).mean()

        return unlearned(model, forget, retain, ascent, self)
