"""The order of a run: a seeded bijection over sequence numbers, no shuffled index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainonce.stream.keys import stable_hash

_ROUNDS = 4
_MASK_64 = np.uint64(0xFFFFFFFFFFFFFFFF)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) & _MASK_64
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB) & _MASK_64
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True)
class Bijection:
    """A permutation of ``range(size)`` chosen by ``key``, computed entry by entry.

    A balanced Feistel network permutes the next even power of two; entries that land outside
    ``range(size)`` are sent round again (cycle walking), which keeps it a permutation.
    """

    size: int
    key: int

    def __post_init__(self) -> None:
        """Refuse an empty domain."""
        if self.size < 1:
            raise ValueError(f"a bijection needs at least one entry, not {self.size}")

    def __call__(self, entries: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Map ``entries`` (any shape, each in ``range(size)``) to their images."""
        values = np.asarray(entries, dtype=np.int64)
        shape, values = values.shape, np.atleast_1d(values)  # scalars would warn of overflow
        if values.size and (values.min() < 0 or values.max() >= self.size):
            raise IndexError(f"entries must lie in 0..{self.size - 1}")
        half = max(1, ((self.size - 1).bit_length() + 1) // 2)
        keys = [np.uint64(stable_hash(self.key, half, i)) for i in range(_ROUNDS)]
        image = _feistel(values.astype(np.uint64), half, keys)
        outside = image >= self.size
        while outside.any():
            image[outside] = _feistel(image[outside], half, keys)
            outside = image >= self.size
        return image.astype(np.int64).reshape(shape)


def _feistel(
    values: npt.NDArray[np.uint64], half: int, keys: list[np.uint64]
) -> npt.NDArray[np.uint64]:
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return np.asarray((left << shift) | right)


def sequence_order(seed: int, sequences: int, positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The sequence number read at each position of a run: each sequence once an epoch.

    Args:
        seed: the run's seed.
        sequences: how many sequences the corpus has.
        positions: positions in the run, any shape.
    """
    position = np.asarray(positions, dtype=np.int64)
    epoch, index = np.divmod(position, sequences)
    order = np.empty_like(position)
    for number in np.unique(epoch):
        chosen = epoch == number
        order[chosen] = Bijection(sequences, stable_hash(seed, "order", number))(index[chosen])
    return order
