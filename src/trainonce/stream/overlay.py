"""Insertions as an overlay: a row index beside the base tokens, applied when a sequence is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from trainonce.stream.runs import copy_runs


@dataclass(frozen=True)
class Pool:
    """Documents one after the other: document ``d`` is ``tokens[bounds[d]:bounds[d + 1]]``.

    Attributes:
        tokens: ``(tokens,)``, of any unsigned integer type.
        bounds: ``(documents + 1,)``, from 0 to the number of tokens.
    """

    tokens: npt.NDArray[Any]
    bounds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, documents: Sequence[Sequence[int]]) -> Pool:
        """The pool of ``documents``, in two bytes a token where that is enough.

        Raises:
            ValueError: when a token is no id of 32 bits.
        """
        lengths = np.fromiter(map(len, documents), dtype=np.int64, count=len(documents))
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        tokens = np.fromiter(chain.from_iterable(documents), dtype=np.int64, count=bounds[-1])
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < 2**32:
            raise ValueError(f"token ids must lie in 0..{2**32 - 1}")
        small = not len(tokens) or tokens.max() < 2**16
        return cls(tokens.astype(np.uint16 if small else np.uint32), bounds)


@dataclass(frozen=True)
class Overlay:
    """Insertions sorted by row: row ``rows[i]`` holds document ``documents[i]`` at ``offsets[i]``.

    Documents are pooled: document ``d`` is ``tokens[bounds[d]:bounds[d + 1]]``, however often it is
    inserted. The corpus is never rewritten and the token count never changes. The index takes at
    most 28 bytes an insertion beside the tokens, 20 where documents are inserted often. No
    insertion ends after token ``reach`` of its row.
    """

    rows: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    offsets: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    documents: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    bounds: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    tokens: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, dtype=np.uint16))
    reach: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def changed_tokens(self) -> int:
        """How many tokens of the run the insertions replace."""
        return int(np.diff(self.bounds)[self.documents].sum())

    @property
    def index_bytes(self) -> int:
        """Memory of all but the pooled tokens, in bytes."""
        arrays = (self.rows, self.offsets, self.documents, self.bounds, self.directory)
        return sum(array.nbytes for array in arrays)

    def add(
        self,
        rows: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        documents: npt.NDArray[np.int64],
        pool: Pool | Sequence[Sequence[int]],
    ) -> Overlay:
        """This overlay with more insertions; ``documents`` number into ``pool``.

        Raises:
            ValueError: when an insertion would overlap another, when a document is empty or not in
                the pool, or an offset is negative.
        """
        pool = pool if isinstance(pool, Pool) else Pool.of(pool)
        _refuse_impossible(rows, offsets, documents, pool)
        numbered = _joined(self.documents, documents)
        numbered[len(self) :] += len(self.bounds) - 1
        in_rows, at_offsets, inserted = _sorted(
            _joined(self.rows, rows), _joined(self.offsets, offsets), numbered
        )
        bounds = np.concatenate([self.bounds, pool.bounds[1:] + self.bounds[-1]])
        ends = np.diff(bounds)[inserted]
        ends += at_offsets
        clash = at_offsets[1:] < ends[:-1]
        clash &= in_rows[1:] == in_rows[:-1]
        if clash.any():
            raise ValueError(f"two insertions overlap in sequence {in_rows[clash.argmax()]}")
        tokens = np.concatenate([self.tokens, pool.tokens]) if len(self.tokens) else pool.tokens
        reach = int(ends.max(initial=0))
        return Overlay(in_rows, at_offsets, inserted, bounds, tokens, reach)

    def apply(self, rows: npt.NDArray[np.int64], tokens: npt.NDArray[Any]) -> None:
        """Write the insertions of ``rows`` ``(B,)`` into ``tokens`` ``(B, width)``, in place.

        Raises:
            ValueError: when an insertion reaches beyond ``width`` tokens.
        """
        if not len(self):
            return
        width = tokens.shape[1]
        self.refuse_longer(width)
        if not tokens.flags.c_contiguous:
            whole = np.ascontiguousarray(tokens)
            self.apply(rows, whole)
            tokens[:] = whole
            return
        first, last = self._ranges(rows)
        counts = last - first
        ends = counts.cumsum()
        entries = (first - ends + counts).repeat(counts)
        entries += np.arange(len(entries))
        places = np.arange(0, tokens.size, width).repeat(counts)
        places += self.offsets.take(entries)
        documents = self.documents.take(entries)
        starts = self.bounds.take(documents)
        documents += 1
        lengths = self.bounds.take(documents) - starts
        copy_runs(self.tokens, starts, lengths, tokens.reshape(-1), places)

    def refuse_longer(self, width: int) -> None:
        """Raise a ValueError when an insertion reaches beyond ``width`` tokens."""
        if self.reach > width:
            raise ValueError(f"an insertion ends at token {self.reach} of sequences of {width}")

    @cached_property
    def directory(self) -> npt.NDArray[np.int32]:
        """Entry ``row + 1`` is where the insertions of ``row`` start; empty when rows are sparse.

        It takes 4 bytes a row, so it pays where there are as many insertions as rows; there the
        search that it saves would take a quarter of the time of reading a row.
        """
        span = int(self.rows[-1]) + 1 if len(self) else 0
        if span > len(self) or len(self) >= 2**31 - 1:
            return np.zeros(0, dtype=np.int32)
        before = np.zeros(span + 3, dtype=np.int32)
        np.cumsum(np.bincount(self.rows, minlength=span + 1), out=before[2:])
        return before

    def _ranges(
        self, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The first entry of each row of ``rows``, and the one after its last."""
        before = self.directory
        if not len(before):
            return self.rows.searchsorted(rows), self.rows.searchsorted(rows, side="right")
        index = np.minimum(rows, len(before) - 3)
        np.maximum(index, -1, out=index)
        index += 1
        first = before.take(index).astype(np.int64)
        index += 1
        return first, before.take(index).astype(np.int64)


def _sorted(
    rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int32], documents: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Insertions by row and offset, ``(n,)`` each; what is given is written over.

    Where row, offset and document fit one number of 64 bits (10^12 tokens with 10 million
    documents do), the numbers are sorted: that saves an argsort's reads in random order, and
    takes a third of its time.
    """
    row_bits, offset_bits, document_bits = (
        int(part.max(initial=0)).bit_length() for part in (rows, offsets, documents)
    )
    if row_bits + offset_bits + document_bits > 64:
        order = np.argsort((rows << offset_bits) | offsets)
        return rows[order], offsets[order], documents[order]
    packed = rows.view(np.uint64)
    for part, bits in ((offsets, offset_bits), (documents, document_bits)):
        packed <<= np.uint64(bits)
        np.bitwise_or(packed, part, out=packed, dtype=np.uint64, casting="unsafe")
    packed.sort()
    for part, bits in ((documents, document_bits), (offsets, offset_bits)):
        mask = np.uint64(2**bits - 1)
        np.bitwise_and(packed, mask, out=part, dtype=np.uint64, casting="unsafe")
        packed >>= np.uint64(bits)
    return packed.view(np.int64), offsets, documents


def _joined(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([old, new], dtype=old.dtype, casting="same_kind")


def _refuse_impossible(
    rows: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    documents: npt.NDArray[np.int64],
    pool: Pool,
) -> None:
    if min(rows.min(initial=0), offsets.min(initial=0)) < 0:
        raise ValueError("rows and offsets of insertions count from 0")
    if pool.bounds[0] != 0 or pool.bounds[-1] != len(pool.tokens):
        raise ValueError(f"the bounds of a pool lead from 0 to its {len(pool.tokens)} tokens")
    known = len(pool.bounds) - 1
    if documents.min(initial=0) < 0 or documents.max(initial=-1) >= known:
        raise ValueError(f"insertions name a document that is none of the {known} in the pool")
    empty = np.flatnonzero(np.diff(pool.bounds) < 1)
    if len(empty):
        raise ValueError(f"document {empty[0]} of the pool is empty")
