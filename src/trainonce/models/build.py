"""From a recipe's model to a module: a decoder by size or numbers, or a Hugging Face model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    if isinstance(settings := _settings(model), str):
        return _checked(_pretrained(settings), settings, vocabulary)
    decoder = _decoder(settings, vocabulary)
    return decoder.initialize(torch.Generator().manual_seed(seed))


def shape(model: str | DecoderSettings, vocabulary: int) -> nn.Module:
    """The module of ``model`` with weights of no meaning: to count them, or to load others.

    Nothing of a Hugging Face model is read but its config. On ``torch.device("meta")`` no memory is
    taken either.

    Raises:
        ModelError: as `build` does.
    """
    if isinstance(settings := _settings(model), str):
        return _checked(_configured(settings), settings, vocabulary)
    return _decoder(settings, vocabulary)


def _settings(model: str | DecoderSettings) -> str | DecoderSettings:
    return SIZES.get(model, model) if isinstance(model, str) else model


def _decoder(settings: DecoderSettings, vocabulary: int) -> Decoder:
    with torch.random.fork_rng(devices=[]):
        return Decoder(settings, vocabulary)


def _pretrained(name: str) -> nn.Module:
    with _loading(name):
        from transformers import AutoModelForCausalLM

        loaded: nn.Module = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
        return loaded


def _configured(name: str) -> nn.Module:
    with _loading(name), torch.random.fork_rng(devices=[]):
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(name)
        empty: nn.Module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return empty


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Say in our words why ``name`` cannot be loaded."""
    try:
        yield
    except ImportError:
        raise ModelError(
            f"the model {name!r} comes from Hugging Face, which needs: pip install 'trainonce[hf]'"
        ) from None
    except Exception as error:  # whatever the hub or a file raises
        raise ModelError(
            f"model {name!r} is no size ({', '.join(SIZES)}) and Hugging Face cannot load it: "
            f"{error}"
        ) from error


def _checked(inner: nn.Module, name: str, vocabulary: int) -> HuggingFaceModel:
    embeddings = int(inner.config.vocab_size)  # type: ignore[union-attr, arg-type]
    if embeddings < vocabulary:
        raise ModelError(
            f"model {name!r} has {embeddings} embeddings and the data {vocabulary} tokens; "
            f"set recipe.data.tokenizer to {name!r}"
        )
    return HuggingFaceModel(inner)


def parameters(module: nn.Module) -> int:
    """How many parameters ``module`` has, shared ones counted once."""
    return sum(parameter.numel() for parameter in module.parameters())
