from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from trainonce.stream.corpora import CorpusError, CorpusSource, documents
from trainonce.stream.corpus import Corpus, DataSettings, prepare
from trainonce.stream.splits import split_of
from trainonce.stream.tokenizers import TokenizerError, train_bpe


def test_every_document_is_in_the_split_of_its_hash(corpus: Corpus, settings: DataSettings) -> None:
    texts = list(documents(settings.corpus))
    decoded = {}
    for name in ("train", "source", "heldout"):
        split = corpus.split(name)
        for low, high in zip(split.bounds[:-1], split.bounds[1:], strict=True):
            decoded[corpus.tokenizer.decode(split.tokens[low : high - 1].tolist())] = name
            assert split.tokens[high - 1] == corpus.tokenizer.end_of_text
    assert decoded == {text: split_of(text, settings.heldout) for text in texts}


def test_a_document_keeps_its_split_when_others_come_or_go() -> None:
    shares = [split_of(f"document {i}", 0.2) for i in range(5000)]
    assert 0.07 < shares.count("heldout") / 5000 < 0.13
    assert 0.07 < shares.count("source") / 5000 < 0.13


def test_blocks_lie_inside_one_document(corpus: Corpus) -> None:
    split = corpus.split("source")
    for start in corpus.blocks("source", 32):
        block = split.tokens[start : start + 32]
        assert corpus.tokenizer.end_of_text not in block


def test_a_prepared_corpus_is_found_again(
    corpus: Corpus, settings: DataSettings, home: Path
) -> None:
    told: list[str] = []
    again = prepare(settings, home, lambda what, _done, _total: told.append(what))
    assert again.folder == corpus.folder
    assert set(told) == {"reading"}


def test_another_share_is_another_corpus(
    corpus: Corpus, settings: DataSettings, home: Path
) -> None:
    assert prepare(replace(settings, heldout=0.4), home).fingerprint != corpus.fingerprint


def test_the_tokenizer_gives_text_back(corpus: Corpus) -> None:
    text = "seen: naïve — 漢字 \t\n and  two spaces"
    assert corpus.tokenizer.decode(corpus.tokenizer.encode(text)) == text


def test_training_a_tokenizer_is_deterministic() -> None:
    texts = ["a few words", "a few more words"] * 5
    assert train_bpe(texts, 280).fingerprint == train_bpe(texts, 280).fingerprint


def test_a_hugging_face_tokenizer_by_path(
    settings: DataSettings, corpus: Corpus, home: Path, tmp_path: Path
) -> None:
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer.from_file(str(corpus.folder / "tokenizer.json"))
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>").save_pretrained(
        tmp_path / "tok"
    )
    other = prepare(replace(settings, tokenizer=str(tmp_path / "tok")), home)
    np.testing.assert_array_equal(other.split("train").tokens, corpus.split("train").tokens)


def test_what_cannot_be_had_is_named(settings: DataSettings, home: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="cannot load the tokenizer"):
        prepare(replace(settings, tokenizer=str(tmp_path)), home)
    single = tmp_path / "one.jsonl"
    single.write_text('{"text": "just one document"}')
    with pytest.raises(CorpusError, match="no document falls into the split"):
        prepare(replace(settings, corpus=CorpusSource(name=str(single))), home)


@pytest.mark.parametrize("name", ["train.tokens", "source.bounds.npy", "corpus.json"])
def test_a_file_that_has_gone_is_named_and_written_anew(
    settings: DataSettings, tmp_path: Path, name: str
) -> None:
    whole = prepare(settings, tmp_path)
    expected = {file.name: file.read_bytes() for file in whole.folder.iterdir()}
    (whole.folder / name).unlink()
    with pytest.raises(CorpusError, match=f"{name} has gone or was cut short; run the study again"):
        Corpus(whole.folder).split("train")
    again = prepare(settings, tmp_path)
    assert {file.name: file.read_bytes() for file in again.folder.iterdir()} == expected
