"""From a recipe's model to a module: a decoder by size or numbers, or a Hugging Face model."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainonce.models.barrier import positions_within
from trainonce.models.decoder import SIZES, Decoder, DecoderSettings


class ModelError(ValueError):
    """A model that cannot be built; the message says what would help."""


class HuggingFaceModel(nn.Module):
    """A causal model of Hugging Face, called as ours are: token ids to logits.

    Attributes:
        inner: the model.
        boundary: the token that opens a document, when a token may attend to its own document only.
    """

    def __init__(self, inner: nn.Module, boundary: int | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.boundary = boundary

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits ``(B, T, V)`` of the token after each."""
        options = {}
        if self.boundary is not None:
            options["position_ids"] = positions_within(tokens_BT, self.boundary)
        logits_BTV: Tensor = self.inner(input_ids=tokens_BT, use_cache=False, **options).logits
        return logits_BTV


def build(
    model: str | DecoderSettings, vocabulary: int, seed: int, boundary: int | None = None
) -> nn.Module:
    """The model before its first step.

    Args:
        model: a name in `SIZES`, numbers, or the path or id of a Hugging Face causal model, whose
            pretrained weights are loaded.
        vocabulary: token ids that the data has.
        seed: of the initial weights.
        boundary: the token that opens a document, when a token may attend to its own document only.

    Raises:
        ModelError: when it cannot be loaded, has fewer embeddings than the data has tokens, or lets
            documents see each other in spite of a boundary.
    """
    if isinstance(settings := _settings(model), str):
        checked = _checked(_pretrained(settings), settings, vocabulary, boundary)
        _refuse_leaks(checked, settings)
        return checked
    decoder = _decoder(settings, vocabulary, boundary)
    return decoder.initialize(torch.Generator().manual_seed(seed))


def shape(model: str | DecoderSettings, vocabulary: int, boundary: int | None = None) -> nn.Module:
    """The module of ``model`` with weights of no meaning: to count them, or to load others.

    Nothing of a Hugging Face model is read but its config. On ``torch.device("meta")`` no memory is
    taken either.

    Raises:
        ModelError: as `build` does.
    """
    if isinstance(settings := _settings(model), str):
        return _checked(_configured(settings), settings, vocabulary, boundary)
    return _decoder(settings, vocabulary, boundary)


def _settings(model: str | DecoderSettings) -> str | DecoderSettings:
    return SIZES.get(model, model) if isinstance(model, str) else model


def _decoder(settings: DecoderSettings, vocabulary: int, boundary: int | None) -> Decoder:
    with torch.random.fork_rng(devices=[]):
        return Decoder(settings, vocabulary, boundary)


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


def _checked(
    inner: nn.Module, name: str, vocabulary: int, boundary: int | None
) -> HuggingFaceModel:
    embeddings = int(inner.config.vocab_size)  # type: ignore[union-attr, arg-type]
    if embeddings < vocabulary:
        raise ModelError(
            f"model {name!r} has {embeddings} embeddings and the data {vocabulary} tokens; "
            f"set recipe.data.tokenizer to {name!r}"
        )
    if boundary is not None and "position_ids" not in inspect.signature(inner.forward).parameters:
        raise ModelError(_no_barrier(name, "takes no positions"))
    return HuggingFaceModel(inner, boundary)


@torch.no_grad()
def _refuse_leaks(model: HuggingFaceModel, name: str) -> None:
    """Measure that a document's logits do not change with the document before it.

    Some models take positions and build their mask from something else.
    """
    if model.boundary is None:
        return
    other = 1 if model.boundary == 0 else 0
    packed_BT = torch.tensor([[other] * 4 + [model.boundary, other]])
    was_training = model.training
    packed_TV, alone_TV = model.eval()(packed_BT)[0, 4:], model(packed_BT[:, 4:])[0]
    model.train(was_training)
    if not torch.allclose(packed_TV, alone_TV, rtol=1e-3, atol=1e-3):
        raise ModelError(_no_barrier(name, "does not tell documents apart by their positions"))


def _no_barrier(name: str, why: str) -> str:
    return (
        f"model {name!r} {why}, so its attention cannot be kept within documents; "
        "set recipe.data.attention to `across`, or take another model"
    )


def parameters(module: nn.Module) -> int:
    """How many parameters ``module`` has, shared ones counted once."""
    return sum(parameter.numel() for parameter in module.parameters())
