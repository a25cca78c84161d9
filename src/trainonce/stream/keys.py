"""Random choices named by what they are for, so that none disturbs another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

_SEPARATOR = "\x1f"


def stable_hash(*parts: object, bits: int = 64) -> int:
    """Hash ``parts`` to an integer of ``bits`` (at most 64) bits, the same on every machine."""
    text = _SEPARATOR.join(str(part) for part in parts)
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) >> (64 - bits)


def stable_hashes(
    parts: Sequence[object], last: npt.NDArray[np.int64], bits: int = 63
) -> npt.NDArray[np.int64]:
    """``stable_hash(*parts, number, bits=bits)`` of each ``number`` in ``last``, ``(n,)``.

    It saves two thirds of the time of calling it for each. ``bits`` is at most 63.
    """
    prefix = _SEPARATOR.join([*map(str, parts), ""]).encode("utf-8", "surrogatepass")
    texts = map(prefix.__add__, map(str.encode, map(str, last.tolist())))
    hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, texts), dtype=np.uint64, count=len(last))
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


def generator(seed: int, question: str, purpose: str) -> np.random.Generator:
    """A random generator that depends on (seed, question, purpose) and on nothing else.

    Adding, removing or reordering questions therefore leaves every draw of the others as it was.
    """
    return np.random.Generator(np.random.Philox(key=stable_hash(seed, question, purpose)))
