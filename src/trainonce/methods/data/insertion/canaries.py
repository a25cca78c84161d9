"""Which patterns are memorized: canaries of several kinds, by dose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.registry import method
from trainonce.sites import Choice, Item, SettingError, Site
from trainonce.stream.stream import TokenStream

Kind = Literal["random", "rare", "repeated", "natural"]

_COUNTED = 1 << 22  # tokens of held-out documents that tell which tokens are rare
_RARE = 8  # rare tokens are the rarest of so many equal parts of the vocabulary


@method(site=Site.DATA, paper="2509.23383", probe="exposure")
@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Inserts canaries of several kinds a randomized number of times, to see which stay.

    ``random`` canaries are tokens drawn uniformly; ``rare`` ones are drawn from the rarest eighth
    of the vocabulary, by its counts in held-out documents; ``repeated`` ones say a random motif
    over and over, with the motif's start where it is asked for; ``natural`` ones are passages of
    held-out documents. The test gives the first ``prefix`` tokens and asks for the rest, among
    other rests that were drawn in the same way and are never inserted: its exposure (Carlini et
    al. 2019, arXiv 1802.08232).

    Attributes:
        doses: how often a canary is inserted; each canary gets one of them at random.
        kinds: patterns to insert.
        items: canaries a dose and kind.
        tokens: length of a canary.
        prefix: tokens of it that the test gives.
        motif: tokens of a repeated canary's motif.
        alternatives: other rests that a canary's own is ranked among.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    kinds: tuple[Kind, ...] = ("random", "rare", "repeated", "natural")
    items: int = 6
    tokens: int = 16
    prefix: int = 8
    motif: int = 4
    alternatives: int = 127

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, items=self.items, prefix=self.prefix, motif=self.motif)
        check_at_least(1, alternatives=self.alternatives)
        if len(set(self.kinds)) != len(self.kinds) or not self.kinds:
            raise SettingError("kinds", "name each kind once, and at least one")
        if self.tokens <= self.prefix:
            raise SettingError("prefix", f"must be shorter than a canary's {self.tokens} tokens")

    @property
    def longest(self) -> int:
        """Tokens of a canary."""
        return self.tokens

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the canaries inserted."""
        count = self.items * len(self.doses)
        natural: list[list[int]] = []
        if "natural" in self.kinds:
            natural, stream = stream.passages(count + self.alternatives, self.tokens)
        items: list[Item] = []
        for kind in self.kinds:
            if kind == "natural":
                texts, others = natural[:count], natural[count:]
            else:
                draw = self._drawing(kind, stream)
                texts = [draw() for _ in range(count)]
                others = [draw() for _ in range(self.alternatives)]
            rests = tuple(tuple(text[self.prefix :]) for text in others)
            doses = assign(stream, kind, count, self.doses)
            items += [
                self._item(f"{kind}-{index:03d}", kind, dose, text, rests, stream)
                for index, (dose, text) in enumerate(zip(doses, texts, strict=True))
            ]
        return stream.insert(items)

    def _drawing(self, kind: Kind, stream: TokenStream) -> Callable[[], list[int]]:
        """What draws one more canary of ``kind``."""
        random = stream.random(f"{kind} canaries")
        tokens = _rarest(stream) if kind == "rare" else _ordinary(stream)
        drawn = self.motif if kind == "repeated" else self.tokens
        return lambda: np.resize(random.choice(tokens, drawn), self.tokens).tolist()

    def _item(
        self,
        name: str,
        kind: str,
        dose: int,
        text: list[int],
        others: tuple[tuple[int, ...], ...],
        stream: TokenStream,
    ) -> Item:
        end = stream.corpus.tokenizer.end_of_text
        own = tuple(text[self.prefix :])
        return Item(
            name=name,
            kind=kind,
            dose=dose,
            documents=(tuple(text),),
            test=Choice(prompt=(end, *text[: self.prefix]), options=(own, *others), answer=0),
        )


def _ordinary(stream: TokenStream) -> npt.NDArray[np.int64]:
    """All tokens but the one that ends documents."""
    tokenizer = stream.corpus.tokenizer
    return np.delete(np.arange(tokenizer.size), tokenizer.end_of_text)


def _rarest(stream: TokenStream) -> npt.NDArray[np.int64]:
    """The rarest ordinary tokens of held-out documents; those with equal counts by number."""
    counted = np.asarray(stream.corpus.split("source").tokens[:_COUNTED])
    counts = np.bincount(counted, minlength=stream.corpus.tokenizer.size)
    ordinary = _ordinary(stream)
    order = np.argsort(counts[ordinary], kind="stable")
    return ordinary[order[: max(2, len(ordinary) // _RARE)]]
