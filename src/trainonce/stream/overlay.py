"""Insertions as an overlay: a row index beside the base tokens, applied when a sequence is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


def _empty() -> npt.NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Overlay:
    """Insertions sorted by row: row ``rows[i]`` holds document ``documents[i]`` at ``offsets[i]``.

    Documents are pooled: document ``d`` is ``tokens[bounds[d]:bounds[d + 1]]``, however often it is
    inserted. The corpus is never rewritten and the token count never changes.
    """

    rows: npt.NDArray[np.int64] = field(default_factory=_empty)
    offsets: npt.NDArray[np.int64] = field(default_factory=_empty)
    documents: npt.NDArray[np.int64] = field(default_factory=_empty)
    bounds: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    tokens: npt.NDArray[np.int64] = field(default_factory=_empty)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def changed_tokens(self) -> int:
        """How many tokens of the run the insertions replace."""
        return int((self.bounds[self.documents + 1] - self.bounds[self.documents]).sum())

    def add(
        self,
        rows: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        documents: npt.NDArray[np.int64],
        pool: Sequence[Sequence[int]],
    ) -> Overlay:
        """This overlay with more insertions; ``documents`` number into ``pool``.

        Raises:
            ValueError: when an insertion would overlap another.
        """
        lengths = np.array([len(document) for document in pool], dtype=np.int64)
        flat = [token for document in pool for token in document]
        all_rows = np.concatenate([self.rows, rows])
        all_offsets = np.concatenate([self.offsets, offsets])
        order = np.lexsort((all_offsets, all_rows))
        merged = Overlay(
            rows=all_rows[order],
            offsets=all_offsets[order],
            documents=np.concatenate([self.documents, documents + len(self.bounds) - 1])[order],
            bounds=np.concatenate([self.bounds, self.bounds[-1] + np.cumsum(lengths)]),
            tokens=np.concatenate([self.tokens, np.array(flat, dtype=np.int64)]),
        )
        merged._refuse_overlaps()
        return merged

    def apply(self, rows: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]) -> None:
        """Write the insertions of ``rows`` ``(B,)`` into ``tokens`` ``(B, width)``, in place."""
        first = np.searchsorted(self.rows, rows, side="left")
        last = np.searchsorted(self.rows, rows, side="right")
        for index in np.flatnonzero(last > first):
            for entry in range(first[index], last[index]):
                document = self.documents[entry]
                inserted = self.tokens[self.bounds[document] : self.bounds[document + 1]]
                offset = self.offsets[entry]
                tokens[index, offset : offset + len(inserted)] = inserted

    def _refuse_overlaps(self) -> None:
        ends = self.offsets + self.bounds[self.documents + 1] - self.bounds[self.documents]
        same_row = self.rows[1:] == self.rows[:-1]
        clash = np.flatnonzero(same_row & (self.offsets[1:] < ends[:-1]))
        if len(clash):
            row = int(self.rows[clash[0]])
            raise ValueError(f"two insertions overlap in sequence {row}")
