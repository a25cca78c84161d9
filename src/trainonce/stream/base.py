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

    A piece ends where held-out documents were left out; a search in ``firsts`` finds it.

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
        """One gather an array for rows inside one piece, a few slices for each of the others."""
        rows = np.empty((len(starts), width), dtype=self.dtype)
        first = self.firsts.searchsorted(starts, side="right") - 1
        inside = starts + width <= self.firsts[first + 1]
        numbers = self.numbers[first]
        places = self.starts[first] + starts - self.firsts[first]
        for number in np.unique(numbers[inside]).tolist():
            chosen = np.flatnonzero(inside & (numbers == number))
            rows[chosen] = Contiguous(self.arrays[number]).take(places[chosen], width)
        for index in np.flatnonzero(~inside).tolist():
            self._copy(int(first[index]), int(starts[index]), rows[index])
        return rows

    def _copy(self, piece: int, start: int, row: npt.NDArray[Any]) -> None:
        """Fill ``row`` from token ``start`` on, which lies in ``piece``."""
        done = 0
        while done < len(row):
            skipped = start + done - int(self.firsts[piece])
            left = int(self.firsts[piece + 1] - self.firsts[piece]) - skipped
            here = min(left, len(row) - done)
            place = int(self.starts[piece]) + skipped
            row[done : done + here] = self.arrays[self.numbers[piece]][place : place + here]
            done += here
            piece += 1
