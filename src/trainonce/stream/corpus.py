"""A tokenized corpus: memory-mapped shards, split by document hash, cached by fingerprint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt

from trainonce.stream import smollm2
from trainonce.stream.corpora import CorpusError, CorpusSource, documents, fingerprint
from trainonce.stream.keys import stable_hash
from trainonce.stream.tokenizers import (
    END_OF_TEXT,
    FastTokenizer,
    TokenizerError,
    from_hugging_face,
    load_tokenizer,
    train_bpe,
)

SPLITS = ("train", "source", "heldout")
_FORMAT = 1
_BATCH = 256
_TOKENIZER = "tokenizer.json"

Progress = Callable[[str, int, int], None]
"""Told (what is being done, how much is done, of how much)."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What a run reads.

    Attributes:
        corpus: where the documents come from.
        tokenizer: a vocabulary size for a byte-level BPE trained on the corpus, or the path or id
            of a Hugging Face tokenizer, or ``smollm2`` (see `trainonce.stream.smollm2`).
        sequence: tokens a sequence.
        heldout: share of the documents, by hash, that is never trained on. Half of them measure
            the held-out loss; the other half are where questions take their passages from.
    """

    corpus: CorpusSource
    tokenizer: int | str = 1024
    sequence: int = 128
    heldout: float = 0.1


@dataclass(frozen=True)
class Split:
    """The documents of one split, one after the other, each closed by the end-of-text token."""

    tokens: npt.NDArray[Any]
    bounds: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Corpus:
    """A tokenized corpus in a folder of the cache."""

    folder: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Fingerprint, vocabulary and counts, as the writer found them."""
        return dict(json.loads((self.folder / "corpus.json").read_text(encoding="utf-8")))

    @property
    def fingerprint(self) -> str:
        """A hash of documents, tokenizer and split."""
        return str(self.facts["fingerprint"])

    @cached_property
    def tokenizer(self) -> FastTokenizer:
        """The tokenizer that wrote the tokens, as it was when it wrote them."""
        ending = self.facts.get("end_of_text", END_OF_TEXT)
        return load_tokenizer(self.folder / _TOKENIZER, ending)

    def split(self, name: str) -> Split:
        """The memory-mapped tokens of ``train``, ``source`` or ``heldout``.

        Raises:
            CorpusError: when a file has gone or was cut short.
        """
        if harmed := self.harmed():
            raise CorpusError(
                f"{harmed} has gone or was cut short; run the study again, which prepares the "
                "tokens anew"
            )
        return Split(
            np.memmap(self.folder / f"{name}.tokens", dtype=self.facts["dtype"], mode="r"),
            np.load(self.folder / f"{name}.bounds.npy"),
        )

    def harmed(self) -> Path | None:
        """A file of this corpus that is not there or does not have its size, or None."""
        for described in (self.folder / "corpus.json", self.folder / _TOKENIZER):
            if not described.is_file():
                return described
        width = np.dtype(self.facts["dtype"]).itemsize
        for name in SPLITS:
            tokens, bounds = self.folder / f"{name}.tokens", self.folder / f"{name}.bounds.npy"
            if not bounds.is_file():
                return bounds
            if not tokens.is_file() or tokens.stat().st_size != self.facts["tokens"][name] * width:
                return tokens
        return None

    @cached_property
    def train(self) -> Split:
        """What runs read."""
        return self.split("train")

    def blocks(self, name: str, width: int) -> npt.NDArray[np.int64]:
        """Where blocks of ``width`` tokens start that lie inside one document of a split."""
        split = self.split(name)
        starts = [
            np.arange(low, high - width, width, dtype=np.int64)
            for low, high in zip(split.bounds[:-1], split.bounds[1:], strict=True)
        ]
        return np.concatenate(starts) if starts else np.zeros(0, dtype=np.int64)


def prepare(settings: DataSettings, home: Path, progress: Progress | None = None) -> Corpus:
    """The tokenized corpus of ``settings``, written once and cached under ``home`` after that.

    Raises:
        CorpusError: when the corpus cannot be read, or a split of it would be empty.
        TokenizerError: when the tokenizer cannot be had.
    """
    say = progress or (lambda _what, _done, _total: None)
    say("reading", 0, 1)
    texts = list(dict.fromkeys(documents(settings.corpus)))
    if not texts:
        raise CorpusError(f"the corpus {settings.corpus.name!r} has no documents")
    corpus_hash = fingerprint(texts)
    say("reading", 1, 1)
    tokenizer, named = _tokenizer(settings.tokenizer, texts, corpus_hash, home, say)
    identity = f"{_FORMAT}|{corpus_hash}|{tokenizer.fingerprint}|{settings.heldout!r}"
    name = f"{stable_hash('corpus', identity):016x}{stable_hash(identity):016x}"
    folder = home / "corpora" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        if Corpus(folder).harmed():
            temporary = folder.with_suffix(".tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.mkdir()
            facts = _write(temporary, texts, tokenizer, settings.heldout, say)
            facts |= {"fingerprint": name, "tokenizer": named}
            facts |= {"end_of_text": tokenizer.end_of_text_token}
            tokenizer.save(temporary / _TOKENIZER)
            (temporary / "corpus.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
            temporary.replace(folder)
    return Corpus(folder)


def split_of(text: str, heldout: float) -> str:
    """Which split a document belongs to: a function of its own text alone."""
    place = stable_hash("split", text) / 2.0**64
    if place >= heldout:
        return "train"
    return "source" if place < heldout / 2 else "heldout"


def _tokenizer(
    named: int | str, texts: Sequence[str], corpus_hash: str, home: Path, say: Progress
) -> tuple[FastTokenizer, str | None]:
    """The tokenizer, and the path or id of it when Hugging Face has it."""
    if named == smollm2.NAME:
        try:
            named = str(smollm2.smollm2_folder(home))
        except smollm2.NotInstalledError as error:
            raise TokenizerError(str(error)) from None
    if isinstance(named, str):
        return from_hugging_face(named), named
    path = home / "tokenizers" / f"bpe-{named}-{corpus_hash}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            say("training the tokenizer", 0, 1)
            temporary = path.with_suffix(".tmp")
            train_bpe(texts, named).save(temporary)
            temporary.replace(path)
            say("training the tokenizer", 1, 1)
    return load_tokenizer(path), None


def _write(
    folder: Path, texts: Sequence[str], tokenizer: FastTokenizer, heldout: float, say: Progress
) -> dict[str, Any]:
    dtype = np.dtype(np.uint16 if tokenizer.size <= 2**16 else np.uint32)
    lengths: dict[str, list[int]] = {name: [] for name in SPLITS}
    files = {name: (folder / f"{name}.tokens").open("wb") for name in SPLITS}
    try:
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            for text, tokens in zip(batch, tokenizer.encode_batch(batch), strict=True):
                name = split_of(text, heldout)
                ids = np.array([*tokens, tokenizer.end_of_text], dtype=dtype)
                files[name].write(ids.tobytes())
                lengths[name].append(len(ids))
            say("tokenizing", min(start + _BATCH, len(texts)), len(texts))
    finally:
        for file in files.values():
            file.close()
    for name in SPLITS:
        if not lengths[name]:
            raise CorpusError(_empty_split(name, len(texts), heldout))
        np.save(folder / f"{name}.bounds.npy", _bounds(lengths[name]))
    return {
        "dtype": dtype.name,
        "vocabulary": tokenizer.size,
        "documents": {name: len(lengths[name]) for name in SPLITS},
        "tokens": {name: sum(lengths[name]) for name in SPLITS},
    }


def _bounds(lengths: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(list(lengths))]).astype(np.int64)


def _empty_split(name: str, documents: int, heldout: float) -> str:
    return (
        f"with {documents} documents and heldout {heldout:.0%} no document falls into the split "
        f"{name!r}; give a larger corpus or another `heldout` share"
    )
