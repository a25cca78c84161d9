"""Random choices named by what they are for, so that none disturbs another."""

from __future__ import annotations

import numpy as np
import xxhash

_SEPARATOR = "\x1f"


def stable_hash(*parts: object, bits: int = 64) -> int:
    """Hash ``parts`` to an integer of ``bits`` (at most 64) bits, the same on every machine."""
    text = _SEPARATOR.join(str(part) for part in parts)
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) >> (64 - bits)


def generator(seed: int, question: str, purpose: str) -> np.random.Generator:
    """A random generator that depends on (seed, question, purpose) and on nothing else.

    Adding, removing or reordering questions therefore leaves every draw of the others as it was.
    """
    return np.random.Generator(np.random.Philox(key=stable_hash(seed, question, purpose)))
