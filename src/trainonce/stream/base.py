"""The tokens that runs read, wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainonce.stream.runs import windows


class Base(Protocol):
    """All training documents, one after the other."""

    def __len__(self) -> int:
        """How many tokens there are."""

    def take(self, starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[Any]:
        """A copy of the ``width`` tokens from each of ``starts`` ``(B,)`` on: ``(B, width)``."""


@dataclass(frozen=True)
class Contiguous:
    """Tokens in one array.

    Attributes:
        tokens: ``(tokens,)``, may be a memory map.
    """

    tokens: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[Any]:
        """One gather."""
        return windows(self.tokens, width)[starts].view(self.tokens.dtype).reshape(-1, width)


@dataclass(frozen=True)
class Pieces:
    """Pieces of other people's arrays, read as if they stood one after the other.

    A row crosses into another piece where held-out documents were left out, so that reading one
    copies a few slices; a search in ``firsts`` finds them.

    Attributes:
        arrays: tokens, of any integer types.
        numbers: which array each piece lies in, ``(pieces,)``.
        starts: where in it, ``(pieces,)``.
        firsts: which token of all the piece's first one is, and at last how many there are,
            ``(pieces + 1,)``.
        dtype: of what is read; holds every token of the vocabulary.
    """

    arrays: Sequence[npt.NDArray[Any]]
    numbers: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def take(self, starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[Any]:
        """A few slices a row."""
        rows = np.empty((len(starts), width), dtype=self.dtype)
        first = self.firsts.searchsorted(starts, side="right") - 1
        last = self.firsts.searchsorted(starts + width, side="left")
        for row, start, low, high in zip(
            rows, starts.tolist(), first.tolist(), last.tolist(), strict=True
        ):
            bounds = self.firsts[low : high + 1].tolist()
            numbers, places = self.numbers[low:high].tolist(), self.starts[low:high].tolist()
            skipped, done = start - bounds[0], 0
            for number, place, first_token, stop in zip(
                numbers, places, bounds[:-1], bounds[1:], strict=True
            ):
                here = min(stop - first_token - skipped, width - done)
                place += skipped
                row[done : done + here] = self.arrays[number][place : place + here]
                skipped, done = 0, done + here
        return rows
