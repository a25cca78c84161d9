"""From a recipe's model to a module: a decoder by size or numbers, or a Hugging Face model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainonce.models.decoder import SIZES, Decoder, DecoderSettings


class ModelError(ValueError):
    """A model that cannot be built; the message says what would help."""


class HuggingFaceModel(nn.Module):
    """A causal model of Hugging Face, called as ours are: token ids to logits."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits ``(B, T, V)`` of the token after each."""
        logits_BTV: Tensor = self.inner(input_ids=tokens_BT, use_cache=False).logits
        return logits_BTV


def build(model: str | DecoderSettings, vocabulary: int, seed: int) -> nn.Module:
    """The model before its first step.

    Args:
        model: a name in `SIZES`, numbers, or the path or id of a Hugging Face causal model, whose
            pretrained weights are loaded.
        vocabulary: token ids that the data has.
        seed: of the initial weights.

    Raises:
        ModelError: when it cannot be loaded, or has fewer embeddings than the data has tokens.
    """
    settings = SIZES.get(model) if isinstance(model, str) else model
    if settings is None:
        return _from_hugging_face(str(model), vocabulary)
    with torch.random.fork_rng(devices=[]):
        decoder = Decoder(settings, vocabulary)
    return decoder.initialize(torch.Generator().manual_seed(seed))


def _from_hugging_face(name: str, vocabulary: int) -> nn.Module:
    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        raise ModelError(
            f"the model {name!r} comes from Hugging Face, which needs: pip install 'trainonce[hf]'"
        ) from None
    try:
        inner = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    except Exception as error:  # whatever the hub or a file raises
        raise ModelError(
            f"model {name!r} is no size ({', '.join(SIZES)}) and Hugging Face cannot load it: "
            f"{error}"
        ) from error
    embeddings = int(inner.config.vocab_size)
    if embeddings < vocabulary:
        raise ModelError(
            f"model {name!r} has {embeddings} embeddings and the data {vocabulary} tokens; "
            f"set recipe.data.tokenizer to {name!r}"
        )
    return HuggingFaceModel(inner)


def parameters(module: nn.Module) -> int:
    """How many parameters ``module`` has, shared ones counted once."""
    return sum(parameter.numel() for parameter in module.parameters())
