from __future__ import annotations

from typing import Any

import pytest
import torch

from trainonce.models.build import ModelError, build, parameters
from trainonce.models.decoder import SIZES, Decoder, DecoderSettings
from trainonce.models.llama import as_llama

SMALL = DecoderSettings(width=32, layers=2, heads=4, kv_heads=2)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_logits_equal_those_of_a_llama_with_the_same_weights(tied: bool, kv_heads: int) -> None:
    settings = DecoderSettings(width=32, layers=2, heads=4, kv_heads=kv_heads, tied=tied)
    decoder = build(settings, vocabulary=50, seed=1)
    assert isinstance(decoder, Decoder)
    tokens_BT = torch.randint(50, (3, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = as_llama(decoder)(tokens_BT).logits
        torch.testing.assert_close(decoder(tokens_BT), theirs, rtol=1e-4, atol=1e-5)


def test_the_future_does_not_change_the_past() -> None:
    decoder = build(SMALL, vocabulary=50, seed=1)
    tokens_BT = torch.arange(20)[None]
    changed_BT = tokens_BT.clone()
    changed_BT[:, 12:] = 3
    with torch.no_grad():
        torch.testing.assert_close(decoder(tokens_BT)[:, :12], decoder(changed_BT)[:, :12])


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = build(SMALL, vocabulary=50, seed=9).state_dict()
    torch.manual_seed(2)
    two = build(SMALL, vocabulary=50, seed=9).state_dict()
    other = build(SMALL, vocabulary=50, seed=10).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])


def test_sizes_are_what_their_documentation_says() -> None:
    expected = {"nano": 0.4, "micro": 1.6, "mini": 4.4, "small": 23, "base": 76}
    for name, millions in expected.items():
        with torch.device("meta"):
            model = Decoder(SIZES[name], vocabulary=1024)
        beside = parameters(model) - model.embedding.weight.numel()
        assert round(beside / 1e6, 1 if millions < 10 else 0) == millions, (name, beside)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"width": 30, "layers": 1, "heads": 4}, "even multiple of heads"),
        ({"width": 32, "layers": 1, "heads": 4, "kv_heads": 3}, "kv_heads 3 must divide heads 4"),
        ({"width": 32, "layers": 0, "heads": 4}, "layers must be at least 1"),
    ],
)
def test_shapes_that_cannot_be_are_refused(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecoderSettings(**numbers)


def test_a_hugging_face_model_by_path(tmp_path: object) -> None:
    decoder = build(SMALL, vocabulary=50, seed=1)
    assert isinstance(decoder, Decoder)
    llama = as_llama(decoder)
    llama.save_pretrained(str(tmp_path))
    loaded = build(str(tmp_path), vocabulary=50, seed=0)
    tokens_BT = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded(tokens_BT), llama(tokens_BT).logits)
    with pytest.raises(ModelError, match="50 embeddings and the data 60 tokens"):
        build(str(tmp_path), vocabulary=60, seed=0)


def test_a_name_that_leads_nowhere_is_named(tmp_path: object) -> None:
    with pytest.raises(ModelError, match="is no size"):
        build(f"{tmp_path}/none", vocabulary=50, seed=0)
