"""A tokenized corpus: memory-mapped shards, split by document hash, cached by fingerprint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt

from trainonce.stream import smollm2
from trainonce.stream.corpora import (
    CorpusError,
    CorpusSource,
    Fingerprint,
    documents,
    fingerprint,
    unique,
)
from trainonce.stream.journal import write_whole
from trainonce.stream.keys import stable_hash
from trainonce.stream.splits import SPLITS
from trainonce.stream.tokenizers import (
    END_OF_TEXT,
    FastTokenizer,
    TokenizerError,
    from_hugging_face,
    load_tokenizer,
    train_bpe,
)
from trainonce.stream.writer import LEFTOVERS, write_tokens

_FORMAT = 1
_FACTS = "corpus.json"
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
        return dict(json.loads((self.folder / _FACTS).read_text(encoding="utf-8")))

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
        for described in (self.folder / _FACTS, self.folder / _TOKENIZER):
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

    Documents stream through, and none is kept. A writer that was killed is gone on from.

    Raises:
        CorpusError: when the corpus cannot be read, or a split of it would be empty.
        TokenizerError: when the tokenizer cannot be had.
    """
    say = progress or (lambda _what, _done, _total: None)
    say("reading", 0, 1)
    found = fingerprint(unique(documents(settings.corpus)))
    if not found.documents:
        raise CorpusError(f"the corpus {settings.corpus.name!r} has no documents")
    say("reading", 1, 1)
    texts = unique(documents(settings.corpus))
    tokenizer, named = _tokenizer(settings.tokenizer, texts, found.hash, home, say)
    identity = f"{_FORMAT}|{found.hash}|{tokenizer.fingerprint}|{settings.heldout!r}"
    name = f"{stable_hash('corpus', identity):016x}{stable_hash(identity):016x}"
    folder = home / "corpora" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        if Corpus(folder).harmed():
            shutil.rmtree(folder, ignore_errors=True)
            work = folder.with_suffix(".work")
            if not (work / _FACTS).is_file():
                facts = _write(work, settings, found, tokenizer, say)
                facts |= {"fingerprint": name, "tokenizer": named}
                facts |= {"end_of_text": tokenizer.end_of_text_token}
                tokenizer.save(work / _TOKENIZER)
                write_whole(work / _FACTS, json.dumps(facts, indent=1))
            for leftover in LEFTOVERS:
                (work / leftover).unlink(missing_ok=True)
            work.replace(folder)
    return Corpus(folder)


def _tokenizer(
    named: int | str, texts: Iterable[str], corpus_hash: str, home: Path, say: Progress
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
    work: Path,
    settings: DataSettings,
    before: Fingerprint,
    tokenizer: FastTokenizer,
    say: Progress,
) -> dict[str, Any]:
    """Write the splits, and hold that the documents are those that the fingerprint was of."""
    total, now = before.documents, Fingerprint()
    texts = now.of(unique(documents(settings.corpus)))
    facts = write_tokens(
        work, texts, tokenizer, settings.heldout, lambda done: say("tokenizing", done, total)
    )
    problem = None
    if now.hash != before.hash:
        problem = f"the corpus {settings.corpus.name!r} changed while it was read; run again"
    for name in SPLITS:
        if not facts["documents"][name]:
            problem = problem or _empty_split(name, total, settings.heldout)
    if problem:
        shutil.rmtree(work)
        raise CorpusError(problem)
    return facts


def _empty_split(name: str, documents: int, heldout: float) -> str:
    return (
        f"with {documents} documents and heldout {heldout:.0%} no document falls into the split "
        f"{name!r}; give a larger corpus or another `heldout` share"
    )
