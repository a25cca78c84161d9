"""Two-level fractional factorial designs of resolution IV or better, computed by search.

Each factor is a word over some basic factors: a set of them, as the bits of a number. A factor's
column of signs is the product of its basic factors' columns. Words whose sum (exclusive or) is
empty define the design; the shortest such sum of factors is its resolution. At IV no main effect is
mixed with another one or with a pairwise interaction; at V no two pairwise interactions are mixed
either. Box and Hunter (1961); fewest short words among equals, as Fries and Hunter (1980) choose.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

_MOST_SEARCHED = 13_000  # choices of words that are compared before words are taken one by one

Signs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Factorial:
    """Which factors are on in which run.

    Attributes:
        basic: basic factors; there are ``2 ** basic`` runs.
        words: each factor as bits over the basic factors; the first ones are these themselves.
    """

    basic: int
    words: tuple[int, ...]

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return 1 << self.basic

    @cached_property
    def signs(self) -> Signs:
        """+1 where a factor is on and -1 where it is off, ``(runs, factors)``.

        In the first run all are on.
        """
        return np.stack([self.column(word) for word in self.words], axis=1)

    @property
    def generators(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Factors that are products of basic ones: the factor, and the factors of its word."""
        return tuple(
            (factor, tuple(bit for bit in range(self.basic) if word >> bit & 1))
            for factor, word in enumerate(self.words)
            if factor >= self.basic
        )

    @cached_property
    def pattern(self) -> tuple[int, ...]:
        """How many defining words have 1, 2, 3, ... factors."""
        return word_lengths(self.words, self.basic)

    @property
    def resolution(self) -> int | None:
        """The shortest defining word; None for a full factorial, which mixes nothing."""
        if set(self.words) & set(self.pairs):
            return 3
        if any(len(mixed) > 1 for mixed in self.pairs.values()):
            return 4
        return next((size + 1 for size, count in enumerate(self.pattern) if count), None)

    @cached_property
    def pairs(self) -> dict[int, tuple[tuple[int, int], ...]]:
        """Pairs of factors by the word of their interaction; pairs of one word are mixed."""
        found: dict[int, tuple[tuple[int, int], ...]] = {}
        for one, other in itertools.combinations(range(len(self.words)), 2):
            word = self.words[one] ^ self.words[other]
            found[word] = (*found.get(word, ()), (one, other))
        return found

    @property
    def left(self) -> tuple[int, ...]:
        """Words that hold neither a main effect nor a pairwise interaction, only higher ones."""
        taken = {0, *self.words, *self.pairs}
        return tuple(word for word in range(self.runs) if word not in taken)

    def column(self, word: int) -> Signs:
        """The signs of a word, ``(runs,)``."""
        off: Signs = np.bitwise_count(np.arange(self.runs) & word).astype(np.int64) % 2
        return 1 - 2 * off


def factorial(factors: int) -> Factorial:
    """The smallest design of resolution IV or better for so many factors.

    Words of an odd number of basic factors give resolution IV, as no three of them sum to nothing,
    and there are as many as half the runs. Where the choice is small all words are searched for a
    higher resolution and fewer short words; else odd ones are added one by one.
    """
    if factors < 1:
        raise ValueError("a design needs at least one factor")
    basic = next(k for k in range(1, factors + 1) if k == factors or 1 << (k - 1) >= factors)
    first = tuple(1 << bit for bit in range(basic))
    added = factors - basic
    longer = [word for word in range(1 << basic) if word.bit_count() >= 3]
    if math.comb(len(longer), added) <= _MOST_SEARCHED:
        choices = itertools.combinations(longer, added)
        designs = (Factorial(basic, (*first, *words)) for words in choices)
        return min(designs, key=lambda design: design.pattern)
    words, odd = first, [word for word in longer if word.bit_count() % 2]
    for _ in range(added):
        free = [word for word in odd if word not in words]
        words = min(((*words, word) for word in free), key=_short_words)
    return Factorial(basic, words)


def word_lengths(words: Sequence[int], basic: int) -> tuple[int, ...]:
    """How many sums of the words that are empty take 1, 2, 3, ... of the words.

    Args:
        words: the first ``basic`` ones are the basic factors themselves.
        basic: basic factors.
    """
    added = np.array(words[basic:], dtype=np.int64)
    chosen = np.arange(1, 1 << len(added))  # each set of added factors makes one defining word
    sums, sizes = np.zeros_like(chosen), np.zeros_like(chosen)
    for place, word in enumerate(added):
        inside = chosen >> place & 1
        sums ^= inside * word
        sizes += inside
    lengths = sizes + np.bitwise_count(sums).astype(np.int64)
    return tuple(np.bincount(lengths, minlength=len(words) + 1)[1:].tolist())


def _short_words(words: Sequence[int]) -> tuple[int, int]:
    """Pairs of factors that share their interaction's column with another pair, and how often.

    Cheap where there are too many factors to list all defining words.
    """
    array = np.array(words)
    one, other = np.triu_indices(len(array), 1)
    _, counts = np.unique(array[one] ^ array[other], return_counts=True)
    return int((counts**2).sum()), int(array[-1])
