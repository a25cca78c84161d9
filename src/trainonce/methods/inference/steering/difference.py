"""The one line that steering by differences comes down to."""

from __future__ import annotations

from torch import Tensor


def add_difference(
    base_BTV: Tensor, plus_BTV: Tensor, minus_BTV: Tensor, strength: float
) -> Tensor:
    """``base + strength (plus - minus)`` over the vocabulary that all three have.

    Args:
        base_BTV: logits or log-probabilities of the model that is steered.
        plus_BTV: of the model to go towards.
        minus_BTV: of the model to go away from.
        strength: how far.

    Raises:
        ValueError: when the models read different numbers of sequences or tokens.
    """
    shapes = {tuple(logits.shape[:-1]) for logits in (base_BTV, plus_BTV, minus_BTV)}
    if len(shapes) > 1:
        raise ValueError(f"the three models must read the same tokens; they gave {sorted(shapes)}")
    vocabulary = min(logits.shape[-1] for logits in (base_BTV, plus_BTV, minus_BTV))
    base, plus, minus = (logits[..., :vocabulary] for logits in (base_BTV, plus_BTV, minus_BTV))
    return base + strength * (plus - minus).to(base.dtype)
