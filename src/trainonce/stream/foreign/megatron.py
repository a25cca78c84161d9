"""Tokens as Megatron-LM and GPT-NeoX write them: a ``.bin`` of tokens beside an ``.idx``."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainonce.stream.corpora import CorpusError

_HEADER = struct.Struct("<9sQBQQ")
_MAGIC = b"MMIDIDX\x00\x00"
_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}


class MegatronError(CorpusError):
    """A pair of files that cannot be read; the message says which, and why."""


@dataclass(frozen=True)
class MegatronTokens:
    """Memory-mapped tokens; nothing is read before it is asked for.

    Attributes:
        tokens: the whole ``.bin``, ``(tokens,)``.
        starts: the token at which each sequence starts, ``(sequences,)``.
        sizes: tokens of each sequence, ``(sequences,)``.
        documents: ``(documents + 1,)``; document ``d`` is the sequences
            ``documents[d]:documents[d + 1]``.
    """

    tokens: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int32]
    documents: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, sequence: int) -> npt.NDArray[Any]:
        """The tokens of a sequence, a view."""
        start = int(self.starts[sequence])
        return self.tokens[start : start + int(self.sizes[sequence])]


def read_megatron(index: Path) -> MegatronTokens:
    """Open ``index`` (``.idx``) and the ``.bin`` beside it.

    The layout is that of index version 1: magic, version, type code, counts of sequences and of
    document bounds, then sizes (32 bits), byte offsets and document bounds (64 bits), all little
    endian.

    Raises:
        MegatronError: when the files are no such pair, are cut short, or hold no integers.
    """
    data = index.with_suffix(".bin")
    for file in (index, data):
        if not file.is_file():
            raise MegatronError(f"there is no file {file}; an .idx and a .bin make a pair")
    size = index.stat().st_size
    with index.open("rb") as opened:
        header = opened.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise MegatronError(f"{index} does not start as a Megatron index of version 1 does")
    _, version, code, sequences, bounds = _HEADER.unpack(header)
    if version != 1:
        raise MegatronError(f"{index} is an index of version {version}, and only 1 is known")
    if code not in _TYPES:
        raise MegatronError(f"{index} says type code {code}, which is no integer type")
    if size < _HEADER.size + 12 * sequences + 8 * bounds:
        raise MegatronError(f"{index} is cut short: {size} bytes for {sequences} sequences")
    raw = np.memmap(index, dtype=np.uint8, mode="r")
    sizes = np.ndarray((sequences,), "<i4", raw, _HEADER.size)
    offsets = np.ndarray((sequences,), "<i8", raw, _HEADER.size + 4 * sequences)
    documents = np.ndarray((bounds,), "<i8", raw, _HEADER.size + 12 * sequences)
    dtype = np.dtype(_TYPES[code])
    ends = offsets + sizes.astype(np.int64) * dtype.itemsize
    if ends.max(initial=0) > data.stat().st_size:
        raise MegatronError(f"{data} is cut short: its index reaches to byte {ends.max()}")
    if not data.stat().st_size:
        raise MegatronError(f"{data} is empty")
    tokens = np.memmap(data, dtype=dtype, mode="r")
    return MegatronTokens(tokens, offsets // dtype.itemsize, sizes, documents)
