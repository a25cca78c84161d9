"""Insertions whose input embeddings carry noise while a run reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Gaussian noise on the embeddings of one text in a batch.

    Attributes:
        row: the row of the batch.
        start: the text's first token in the row.
        tokens: length of the text; what lies beyond the row has none.
        seed: that the noise is drawn from.
        strength: its standard deviation, in root mean squares of the text's embeddings.
    """

    row: int
    start: int
    tokens: int
    seed: int
    strength: float


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Which texts of a run carry noise.

    Attributes:
        rows: where they stand, ascending, ``(n,)``.
        starts: the first token of each, ``(n,)``.
        lengths: tokens of each, ``(n,)``.
        seeds: that their noise is drawn from, ``(n,)``; the copies of an item have one.
        strength: see `Noise`.
    """

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.int64]
    strength: float

    def of(self, rows: npt.NDArray[np.int64]) -> list[Noise]:
        """The noises of a batch of ``rows`` ``(B,)``."""
        first, last = (self.rows.searchsorted(rows, side) for side in ("left", "right"))
        return [
            Noise(
                row=number,
                start=int(self.starts[entry]),
                tokens=int(self.lengths[entry]),
                seed=int(self.seeds[entry]),
                strength=self.strength,
            )
            for number in range(len(rows))
            for entry in range(first[number], last[number])
        ]
