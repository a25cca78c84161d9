"""Proxy-tuning: a large model steered by what tuning did to a small one.

Shape suffixes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainonce.methods.inference.steering.difference import add_difference
from trainonce.methods.registry import method
from trainonce.sites import LanguageModel, SettingError, Site


@method(site=Site.INFERENCE, paper="2401.08565")
@dataclass(frozen=True, kw_only=True)
class ProxyTuning:
    """Adds the logit difference of a small tuned model and its untuned self to a large model's.

    Liu et al. 2024 (arXiv 2401.08565): scores = large + alpha (tuned - untuned), so that
    p ~ p_large (p_tuned / p_untuned)^alpha. Nothing is trained; of the large model only the logits
    are needed. Extra cost: two passes through the small model a token.

    >>> steered = ProxyTuning()(large, tuned, untuned)   # doctest: +SKIP
    >>> logits_BTV = steered(tokens_BT)                  # doctest: +SKIP

    Attributes:
        alpha: strength of the steering; 0 leaves the large model as it is.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Refuse strengths that cannot be used."""
        if self.alpha < 0:
            raise SettingError("alpha", f"must be at least 0, not {self.alpha}")

    def __call__(
        self, large: LanguageModel, tuned: LanguageModel, untuned: LanguageModel
    ) -> LanguageModel:
        """The steered model: token ids ``(B, T)`` to scores ``(B, T, V)``, logits of its softmax.

        All three share a vocabulary; a model with more embeddings than the others have, such as
        one padded to a round number, is cut to theirs.
        """

        def steered(tokens_BT: Tensor) -> Tensor:
            return add_difference(
                large(tokens_BT), tuned(tokens_BT), untuned(tokens_BT), self.alpha
            )

        return steered
