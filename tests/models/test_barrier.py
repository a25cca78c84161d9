from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from trainonce.methods.data.insertion.memorization import Memorization
from trainonce.models.barrier import positions_within, within_documents
from trainonce.models.build import ModelError, build, shape
from trainonce.models.decoder import Decoder, DecoderSettings
from trainonce.models.llama import as_llama
from trainonce.models.stacked import stack
from trainonce.stream.stream import TokenStream

END, VOCABULARY = 0, 50
SMALL = DecoderSettings(width=32, layers=2, heads=4, kv_heads=2)


def loud(model: nn.Module) -> nn.Module:
    """Weights large enough that attention matters."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2, generator=draw)
    return model.eval()


def packed(lengths: list[int], first: int) -> tuple[torch.Tensor, list[slice]]:
    """A sequence ``(1, T)`` that begins inside a document, and where its documents lie."""
    draw = np.random.default_rng(sum(lengths) + first)
    pieces = [draw.integers(1, VOCABULARY, first)]
    pieces += [np.concatenate([[END], draw.integers(1, VOCABULARY, n)]) for n in lengths]
    ends = np.cumsum([len(piece) for piece in pieces])
    spans = [slice(int(e) - len(p), int(e)) for e, p in zip(ends, pieces, strict=True) if len(p)]
    return torch.from_numpy(np.concatenate(pieces))[None], spans


@hypothesis_settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5), first=st.integers(0, 6))
@torch.no_grad()
def test_a_packed_document_has_the_logits_of_the_document_alone(
    lengths: list[int], first: int
) -> None:
    model = loud(build(SMALL, VOCABULARY, seed=1, boundary=END))
    tokens_BT, spans = packed(lengths, first)
    together_TV = model(tokens_BT)[0]
    for span in spans:
        torch.testing.assert_close(
            together_TV[span], model(tokens_BT[:, span])[0], rtol=1e-5, atol=1e-5
        )


@torch.no_grad()
def test_without_the_barrier_a_document_sees_those_before_it() -> None:
    tokens_BT, spans = packed([5, 6], first=3)
    open_model = loud(build(SMALL, VOCABULARY, seed=1))
    alone_TV = open_model(tokens_BT[:, spans[2]])[0]
    assert (open_model(tokens_BT)[0, spans[2]] - alone_TV).abs().max() > 0.1


def test_masks_and_positions_of_a_sequence_by_hand() -> None:
    tokens_BT = torch.tensor([[3, END, 4, 5, END]])
    assert within_documents(tokens_BT, END)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]
    assert positions_within(tokens_BT, END).tolist() == [[0, 0, 1, 2, 0]]


@torch.no_grad()
def test_an_inserted_item_is_a_document_of_its_own(stream: TokenStream) -> None:
    treated = Memorization(doses=(0, 4), passages=2, canaries=2, tokens=16)(stream.keyed("memory"))
    tokenizer = stream.corpus.tokenizer
    model = loud(build(SMALL, tokenizer.size, seed=1, boundary=tokenizer.end_of_text))
    row, offset = int(treated.overlay.rows[0]), int(treated.overlay.offsets[0])
    tokens_BT = torch.from_numpy(treated.read([row]))
    item = slice(offset, offset + 17)  # with the mark that opens it
    assert tokens_BT[0, offset] == tokens_BT[0, offset + 17] == tokenizer.end_of_text
    torch.testing.assert_close(
        model(tokens_BT)[0, item], model(tokens_BT[:, item])[0], rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_stacked_models_keep_the_barrier() -> None:
    models = [loud(build(SMALL, VOCABULARY, seed, boundary=END)) for seed in (1, 2)]
    tokens_BT, _ = packed([5, 6], first=3)
    for one, out_BTV in zip(models, stack(models)(tokens_BT[None]), strict=True):
        torch.testing.assert_close(out_BTV, one(tokens_BT), rtol=1e-4, atol=1e-5)


def saved(model: nn.Module, folder: Path) -> str:
    loud(model).save_pretrained(folder)  # type: ignore[operator]
    return str(folder)


@torch.no_grad()
def test_a_hugging_face_model_keeps_documents_apart_as_ours_does(tmp_path: Path) -> None:
    ours = loud(build(SMALL, VOCABULARY, seed=1, boundary=END))
    assert isinstance(ours, Decoder)
    as_llama(ours).save_pretrained(tmp_path)
    theirs = build(str(tmp_path), VOCABULARY, seed=0, boundary=END).eval()
    tokens_BT = torch.cat([packed([5, 6], first=3)[0], packed([2, 9], first=3)[0]])
    torch.testing.assert_close(theirs(tokens_BT), ours(tokens_BT), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_learned_positions_begin_anew_with_each_document(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=4, n_positions=32,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    name = saved(GPT2LMHeadModel(config), tmp_path)
    model = build(name, VOCABULARY, seed=0, boundary=END).eval()
    tokens_BT, spans = packed([5, 6], first=3)
    torch.testing.assert_close(
        model(tokens_BT)[0, spans[2]], model(tokens_BT[:, spans[2]])[0], rtol=1e-5, atol=1e-5
    )


def test_models_that_cannot_keep_documents_apart_are_refused(tmp_path: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM, OPTConfig, OPTForCausalLM

    bloom = BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=1, n_head=4)
    name = saved(BloomForCausalLM(bloom), tmp_path / "bloom")
    with pytest.raises(ModelError, match=r"takes no positions.*recipe\.data\.attention"):
        shape(name, VOCABULARY, boundary=END)
    opt = OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, word_embed_proj_dim=32, ffn_dim=32,
        num_hidden_layers=1, num_attention_heads=4, max_position_embeddings=32,
    )  # fmt: skip
    name = saved(OPTForCausalLM(opt), tmp_path / "opt")
    with pytest.raises(ModelError, match="does not tell documents apart"):
        build(name, VOCABULARY, seed=0, boundary=END)
    build(name, VOCABULARY, seed=0)
