"""What a run reads at a position: a sequence of the corpus, or of one of its parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from trainonce.stream.base import Base
from trainonce.stream.keys import stable_hash, stable_hashes
from trainonce.stream.order import sequence_order
from trainonce.stream.parts import Parts

Counts = tuple[tuple[str, int], ...]
"""How many sequences of each part there are in a block; names in alphabetical order."""

_LONGEST_BLOCK = 10_000
_ROUNDING = 1e-5
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The parts that a run reads, as a job's spec says it.

    Attributes:
        parts: fingerprint of the parts.
        counts: how many of ``sum(counts)`` sequences running are of each part.
    """

    parts: str
    counts: Counts


def counts_of(shares: Mapping[str, float]) -> Counts:
    """The smallest whole numbers in proportion to ``shares``; what has no share is left out.

    Raises:
        ValueError: when they do not sum to 1, or are no fractions of up to 10,000 sequences.
    """
    exact = {
        name: Fraction(share).limit_denominator(_LONGEST_BLOCK)
        for name, share in sorted(shares.items())
        if share > 0
    }
    together = math.fsum(shares.values())
    if abs(together - 1) > _ROUNDING:
        raise ValueError(f"shares that sum to 1, and these sum to {together:.4g}")
    block = math.lcm(*(share.denominator for share in exact.values()))
    if sum(exact.values()) != 1 or block > _LONGEST_BLOCK:
        raise ValueError("shares of whole hundredths of a per cent, such as 12.5% or 0.3333")
    return tuple((name, int(share * block)) for name, share in exact.items())


@dataclass(frozen=True)
class Whole:
    """The corpus as a whole, each sequence once an epoch.

    Attributes:
        base: all training documents.
    """

    base: Base

    def starts(
        self, seed: int, sequence: int, positions: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The token at which the sequence of each position starts, ``(B,)``."""
        sequences = (len(self.base) - 1) // sequence
        return sequence_order(seed, sequences, positions) * sequence


@dataclass(frozen=True)
class Mixed:
    """A mixture of parts, each sequence of a part once an epoch of that part.

    Attributes:
        parts: the parts of the corpus.
        counts: what is read of which.
    """

    parts: Parts
    counts: Counts

    @property
    def base(self) -> Base:
        """The training documents, part after part."""
        return self.parts.base

    def starts(
        self, seed: int, sequence: int, positions: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The token at which the sequence of each position starts, ``(B,)``."""
        turn, index = turns([count for _, count in self.counts], seed, positions)
        starts = np.empty_like(positions)
        for number, (name, _) in enumerate(self.counts):
            own = turn == number
            key = stable_hash(seed, "part", name)
            order = sequence_order(key, self.parts.sequences(name, sequence), index[own])
            first = self.parts.firsts[self.parts.names.index(name)]
            starts[own] = first + order * sequence
        return starts


def turns(
    counts: Sequence[int], seed: int, positions: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which part's turn it is at each position, and the how-manieth of that part.

    Positions fall into blocks of ``sum(counts)``. In each block every part has exactly its count,
    spread evenly (steps of about the golden section of the block, which is a low-discrepancy
    sequence), and the block is turned by a draw of (seed, block): over seeds, each position is of
    each part with exactly its share. The pairs (part, number) of all positions are those of
    counting each part up, none twice and none left out, block by block.

    Args:
        counts: sequences of each part in a block, each at least 1.
        seed: the run's seed.
        positions: positions in the run, ``(B,)``.

    Returns:
        The number of the part and the number in it, ``(B,)`` each.
    """
    length = sum(counts)
    block, place = np.divmod(positions, length)
    drawn = stable_hashes((seed, "mixture"), block) % length
    slot = (place * _stride(length) + drawn) % length
    edges = np.concatenate([[0], np.cumsum(counts)])
    part = np.searchsorted(edges, slot, side="right") - 1
    return part, block * np.asarray(counts)[part] + slot - edges[part]


def _stride(length: int) -> int:
    """The number nearest above the golden section of ``length`` that shares no divisor with it."""
    stride = max(1, round(length * _GOLDEN))
    while math.gcd(stride, length) > 1:
        stride += 1
    return stride
