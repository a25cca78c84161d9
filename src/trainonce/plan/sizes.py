"""How large models are beside the base run's, before any data is read."""

from __future__ import annotations

import torch

from trainonce.models.build import ModelError, parameters, shape
from trainonce.models.decoder import DecoderSettings
from trainonce.study.recipe import Recipe


def weight(model: str | DecoderSettings, base: Recipe) -> float | None:
    """Parameters of ``model`` in those of the base run's; None where they cannot be counted.

    Strategies are chosen by it. Where the tokenizer is named, its vocabulary is not known yet and
    embeddings are left out; the plan's costs, which are made later, count them.
    """
    if model == base.model:
        return 1.0
    vocabulary = base.data.tokenizer if isinstance(base.data.tokenizer, int) else 1
    try:
        with torch.device("meta"):
            return parameters(shape(model, vocabulary)) / parameters(shape(base.model, vocabulary))
    except ModelError:
        return None
