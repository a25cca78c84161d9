"""A tokenized corpus: memory-mapped shards, split by document hash, cached by fingerprint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt

from trainonce.stream import smollm2
from trainonce.stream.base import Base, Contiguous, Pieces
from trainonce.stream.corpora import (
    CorpusError,
    CorpusSource,
    Fingerprint,
    documents,
    fingerprint,
    unique,
)
from trainonce.stream.foreign.index import COPIED, PIECES, write_index
from trainonce.stream.foreign.index import LEFTOVERS as INDEX_LEFTOVERS
from trainonce.stream.foreign.shards import Foreign, find_foreign, remembered_fingerprint, sizes
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
from trainonce.stream.writer import LEFTOVERS, token_type, write_tokens

_FORMAT = 1
_FACTS = "corpus.json"
_PLACE = "place.json"
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

    @cached_property
    def place(self) -> dict[str, Any] | None:
        """Where the training tokens lie that others wrote; None when they lie in this folder."""
        file = self.folder / _PLACE
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    @property
    def unclosed(self) -> int:
        """How many documents do not end with the end-of-text token; only foreign ones may."""
        return int(self.facts.get("unclosed", 0))

    def split(self, name: str) -> Split:
        """The memory-mapped tokens of ``source``, ``heldout``, or our own ``train``.

        Raises:
            CorpusError: when a file has gone or was cut short.
        """
        self._refuse_harm()
        return Split(
            np.memmap(self.folder / f"{name}.tokens", dtype=self.facts["dtype"], mode="r"),
            np.load(self.folder / f"{name}.bounds.npy"),
        )

    @cached_property
    def train(self) -> Base:
        """What runs read.

        Raises:
            CorpusError: when a file has gone or was cut short, here or where foreign tokens lie.
        """
        if self.place is None:
            return Contiguous(self.split("train").tokens)
        self._refuse_harm()
        source = CorpusSource(**self.place["source"])
        foreign = find_foreign(source)
        if foreign is None or sizes(foreign) != self.place["files"]:
            raise CorpusError(
                f"{source.name} has gone or is not what it was; run the study again, which looks "
                "at it anew"
            )
        arrays = [shard.tokens for shard in foreign.open(self.place["dtype"])]
        numbers, starts, firsts = np.asarray(np.load(self.folder / PIECES, mmap_mode="r"))
        return Pieces(arrays, numbers, starts, firsts, np.dtype(self.facts["dtype"]))

    def _refuse_harm(self) -> None:
        if harmed := self.harmed():
            raise CorpusError(
                f"{harmed} has gone or was cut short; run the study again, which prepares the "
                "tokens anew"
            )

    def harmed(self) -> Path | None:
        """A file of this corpus that is not there or does not have its size, or None."""
        for described in (self.folder / _FACTS, self.folder / _TOKENIZER):
            if not described.is_file():
                return described
        width = np.dtype(self.facts["dtype"]).itemsize
        foreign = "unclosed" in self.facts
        if foreign and not (self.folder / PIECES).is_file():
            return self.folder / PIECES
        for name in COPIED if foreign else SPLITS:
            tokens, bounds = self.folder / f"{name}.tokens", self.folder / f"{name}.bounds.npy"
            if not bounds.is_file():
                return bounds
            if not tokens.is_file() or tokens.stat().st_size != self.facts["tokens"][name] * width:
                return tokens
        return None

    def blocks(self, name: str, width: int) -> npt.NDArray[np.int64]:
        """Where blocks of ``width`` tokens start that lie inside one document of a split."""
        bounds = self.split(name).bounds
        return blocks_inside(bounds[:-1], bounds[1:], width)


def blocks_inside(
    lows: npt.NDArray[np.int64], highs: npt.NDArray[np.int64], width: int
) -> npt.NDArray[np.int64]:
    """Where blocks of ``width`` tokens start that lie inside one of the documents ``low:high``."""
    starts = [
        np.arange(low, high - width, width, dtype=np.int64)
        for low, high in zip(lows, highs, strict=True)
    ]
    return np.concatenate(starts) if starts else np.zeros(0, dtype=np.int64)


def prepare(settings: DataSettings, home: Path, progress: Progress | None = None) -> Corpus:
    """The tokenized corpus of ``settings``, written once and cached under ``home`` after that.

    Texts stream through, and none is kept. Tokens that others wrote stay where they are. A writer
    that was killed is gone on from.

    Raises:
        CorpusError: when the corpus cannot be read, or a split of it would be empty.
        TokenizerError: when the tokenizer cannot be had.
    """
    say = progress or (lambda _what, _done, _total: None)
    say("reading", 0, 1)
    foreign = find_foreign(settings.corpus)
    if foreign:
        return _prepare_foreign(settings, foreign, home, say)
    found = fingerprint(unique(documents(settings.corpus)))
    if not found.documents:
        raise CorpusError(f"the corpus {settings.corpus.name!r} has no documents")
    say("reading", 1, 1)
    texts = unique(documents(settings.corpus))
    tokenizer, named = _tokenizer(settings.tokenizer, texts, found.hash, home, say)
    identity = f"{_FORMAT}|{found.hash}|{tokenizer.fingerprint}|{settings.heldout!r}"
    return _whole(
        home, identity, tokenizer, named, lambda work: _write(work, settings, found, tokenizer, say)
    )


def _prepare_foreign(settings: DataSettings, foreign: Foreign, home: Path, say: Progress) -> Corpus:
    source = settings.corpus
    if isinstance(settings.tokenizer, int):
        raise TokenizerError(
            f"{source.name} holds tokens, so the tokenizer that wrote them must be named: "
            "the path or id of a Hugging Face tokenizer"
        )
    if foreign.needs_end and source.end is None:
        raise CorpusError(
            f"{source.name} does not say where documents end: give the token that ends them, "
            "`corpus: {name: ..., end: ID}`"
        )
    tokenizer, named = _tokenizer(settings.tokenizer, (), "", home, say)
    if source.end is not None:
        tokenizer = tokenizer.ended_by(source.end)
    dtype = source.dtype or token_type(tokenizer.size).name
    known = remembered_fingerprint(source, foreign, dtype, home)
    say("reading", 1, 1)
    identity = f"foreign {_FORMAT}|{known}|{tokenizer.fingerprint}|{settings.heldout!r}"

    def write(work: Path) -> dict[str, Any]:
        shards = foreign.open(dtype)
        total = sum(len(shard.tokens) for shard in shards)
        facts = write_index(
            work,
            shards,
            tokenizer.size,
            tokenizer.end_of_text,
            settings.heldout,
            lambda done: say("indexing", done, total),
        )
        return _checked(work, facts, sum(facts["documents"].values()), settings.heldout)

    corpus = _whole(home, identity, tokenizer, named, write)
    place = {"source": asdict(source), "dtype": dtype, "files": sizes(foreign)}
    if corpus.place != place:
        write_whole(corpus.folder / _PLACE, json.dumps(place, indent=1))
    return Corpus(corpus.folder)


def _whole(
    home: Path,
    identity: str,
    tokenizer: FastTokenizer,
    named: str | None,
    write: Callable[[Path], dict[str, Any]],
) -> Corpus:
    """The corpus of ``identity``: as it is, or written to a work folder that is then renamed."""
    name = f"{stable_hash('corpus', identity):016x}{stable_hash(identity):016x}"
    folder = home / "corpora" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        if Corpus(folder).harmed():
            shutil.rmtree(folder, ignore_errors=True)
            work = folder.with_suffix(".work")
            if not (work / _FACTS).is_file():
                facts = write(work)
                facts |= {"fingerprint": name, "tokenizer": named}
                facts |= {"end_of_text": tokenizer.end_of_text_token}
                tokenizer.save(work / _TOKENIZER)
                write_whole(work / _FACTS, json.dumps(facts, indent=1))
            for leftover in {*LEFTOVERS, *INDEX_LEFTOVERS}:
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
    if now.hash != before.hash:
        shutil.rmtree(work)
        raise CorpusError(
            f"the corpus {settings.corpus.name!r} changed while it was read; run again"
        )
    return _checked(work, facts, total, settings.heldout)


def _checked(work: Path, facts: dict[str, Any], documents: int, heldout: float) -> dict[str, Any]:
    """``facts`` as they are, when no split is empty."""
    for name in SPLITS:
        if not facts["documents"][name]:
            shutil.rmtree(work)
            raise CorpusError(_empty_split(name, documents, heldout))
    return facts


def _empty_split(name: str, documents: int, heldout: float) -> str:
    return (
        f"with {documents} documents and heldout {heldout:.0%} no document falls into the split "
        f"{name!r}; give a larger corpus or another `heldout` share"
    )
