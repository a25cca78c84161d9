"""Tokens that others wrote, found by name or path: what lies where, and where documents start."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from trainonce.stream.corpora import CorpusError, CorpusSource, load_dataset, looks_like_a_path
from trainonce.stream.foreign.flat import document_bounds, read_flat
from trainonce.stream.foreign.megatron import MegatronError, read_megatron
from trainonce.stream.journal import write_whole
from trainonce.stream.keys import stable_hash

_SAMPLES = 4096
_SAMPLE_TOKENS = 16_384


@dataclass(frozen=True)
class Shard:
    """Tokens that lie one after another.

    Attributes:
        name: the file, or the dataset and the number of its part.
        tokens: mapped into memory, ``(tokens,)``.
        known_bounds: where documents start and the last one ends, ``(documents + 1,)``; None when
            only the end-of-document token can tell.
    """

    name: str
    tokens: npt.NDArray[Any]
    known_bounds: npt.NDArray[np.int64] | None = None

    def bounds(self, end_of_text: int) -> npt.NDArray[np.int64]:
        """Where documents start and the last one ends.

        Raises:
            CorpusError: when they are told by a token that is not there.
        """
        if self.known_bounds is not None:
            return self.known_bounds
        bounds = document_bounds(self.tokens, end_of_text)
        if len(bounds) == 2 and self.tokens[-1] != end_of_text:
            raise CorpusError(
                f"{self.name} holds no token {end_of_text} that would end a document; "
                "is `end` right, and `dtype`?"
            )
        return bounds


@dataclass(frozen=True)
class Foreign:
    """A corpus of tokens that others wrote.

    Attributes:
        files: the files that it lies in.
        needs_end: whether the token that ends documents must be given.
        open: maps the shards, given the type of tokens whose files do not say it.
    """

    files: tuple[Path, ...]
    needs_end: bool
    open: Callable[[str], list[Shard]]


def find_foreign(source: CorpusSource) -> Foreign | None:
    """The tokens that ``source`` names, or None when it names texts.

    Raises:
        CorpusError: when there is no such dataset.
    """
    path = Path(source.name)
    if source.name == "stdlib":
        return None
    if path.is_file():
        return _of_files([path])
    if path.is_dir() and not (path / "dataset_info.json").is_file():
        if not (path / "dataset_dict.json").is_file():
            return _of_files(sorted(file for file in path.rglob("*") if file.is_file()))
    elif not path.exists() and looks_like_a_path(source.name):
        return None
    return _of_dataset(source)


def fingerprint(shards: Sequence[Shard]) -> str:
    """A hash of counts, types and document bounds, and of samples of the tokens.

    Samples are blocks of 16,384 tokens, first, last and evenly between, 4,096 of them for all
    shards; fewer tokens than that are read whole. A change elsewhere is not seen.
    """
    digest = xxhash.xxh3_128()
    blocks = max(2, _SAMPLES // max(1, len(shards)))
    for shard in shards:
        tokens, bounds = shard.tokens, shard.known_bounds
        digest.update(f"{len(tokens)} {tokens.dtype.str} {bounds is None}\n".encode())
        if len(tokens) <= blocks * _SAMPLE_TOKENS:
            digest.update(np.ascontiguousarray(tokens).view(np.uint8).data)
        else:
            for start in np.linspace(0, len(tokens) - _SAMPLE_TOKENS, blocks).astype(np.int64):
                digest.update(tokens[start : start + _SAMPLE_TOKENS].tobytes())
        if bounds is not None:
            digest.update(bounds.data)
    return digest.hexdigest()


def sizes(foreign: Foreign) -> list[list[Any]]:
    """Path and size of each file."""
    return [[str(file), file.stat().st_size] for file in foreign.files]


def remembered_fingerprint(source: CorpusSource, foreign: Foreign, dtype: str, home: Path) -> str:
    """The fingerprint, as found when the files had these sizes and times of change, or anew."""
    stamps = [[str(f), f.stat().st_size, f.stat().st_mtime_ns] for f in foreign.files]
    asked = f"{stable_hash(source.name, source.field, source.split, dtype):016x}"
    file = home / "fingerprints" / f"{asked}.json"
    if stamps and file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["stamps"] == stamps:
            return str(known["fingerprint"])
    found = fingerprint(foreign.open(dtype))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps({"stamps": stamps, "fingerprint": found}))
    return found


def _of_files(files: Sequence[Path]) -> Foreign | None:
    """Megatron's pairs or flat files among ``files``; None when there are none."""
    pairs = sorted({file.with_suffix(".idx") for file in files if _is_half(file)})
    flat = [file for file in files if file.suffix == ".npy"]
    if pairs and flat:
        raise CorpusError(f"{pairs[0]} and {flat[0]} are of two formats; name one of their folders")
    if pairs:
        both = tuple(half for pair in pairs for half in (pair, pair.with_suffix(".bin")))
        for half in both:
            if not half.is_file():
                raise MegatronError(f"there is no file {half}; an .idx and a .bin make a pair")
        return Foreign(both, False, lambda _dtype: [_megatron(pair) for pair in pairs])
    if flat:
        return Foreign(tuple(flat), True, partial(_flat, flat))
    return None


def _is_half(file: Path) -> bool:
    other = {".idx": ".bin", ".bin": ".idx"}.get(file.suffix)
    return other is not None and (file.suffix == ".idx" or file.with_suffix(other).is_file())


def _flat(files: Sequence[Path], dtype: str) -> list[Shard]:
    return [Shard(str(file), read_flat(file, dtype)) for file in files]


def _megatron(index: Path) -> Shard:
    read = read_megatron(index)
    starts = np.append(read.starts, read.starts[-1:] + read.sizes[-1:])
    if not len(starts) or starts[0] or (np.diff(starts) != read.sizes).any():
        raise MegatronError(f"the sequences of {index} do not lie one after the other")
    documents = read.documents
    if documents[0] or documents[-1] != len(read) or (np.diff(documents) < 0).any():
        raise MegatronError(f"the documents of {index} do not hold each of its sequences once")
    data = str(index.with_suffix(".bin"))
    return Shard(data, read.tokens[: int(starts[-1])], starts[documents])


def _of_dataset(source: CorpusSource) -> Foreign | None:
    import pyarrow as pa

    data = load_dataset(source)
    column = data.data.column(source.field)
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return None
    if not pa.types.is_integer(column.type.value_type):
        raise CorpusError(
            f"field {source.field!r} of {source.name!r} holds {column.type}, "
            "which is neither texts nor lists of tokens"
        )
    if data._indices is not None:
        raise CorpusError(f"{source.name!r} is a selection of rows; save its flatten_indices()")
    files = tuple(Path(file["filename"]) for file in data.cache_files)
    return Foreign(files, False, lambda _dtype: list(_lists(source.name, column)))


def _lists(name: str, column: Any) -> Iterator[Shard]:
    """The parts of an Arrow column of lists; no token is copied."""
    for number, chunk in enumerate(column.chunks):
        if chunk.null_count or chunk.values.null_count:
            raise CorpusError(f"part {number} of {name} has rows or tokens that are null")
        if len(chunk):
            bounds = chunk.offsets.to_numpy().astype(np.int64)
            tokens = chunk.values.to_numpy(zero_copy_only=True)[bounds[0] : bounds[-1]]
            yield Shard(f"part {number} of {name}", tokens, bounds - bounds[0])
