"""Verbatim memorization by dose and by place in the sequence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.memorization import Passage
from trainonce.methods.data.insertion.user_items import UnfitError, check_take, own_items
from trainonce.methods.registry import LATER, MADE, method
from trainonce.sites import Completion, Item, Prefixes, SettingError, Site
from trainonce.stream.stream import TokenStream

Place = Literal["start", "middle", "end"]

PARTS: dict[Place, tuple[float, float]] = {
    "start": (0.0, 1 / 3),
    "middle": (1 / 3, 2 / 3),
    "end": (2 / 3, 1.0),
}
"""The third of a sequence's places, from the first to the last where a copy fits."""


@method(site=Site.DATA, paper="2509.23383", probe="extraction", exclusive=("file",))
@dataclass(frozen=True, kw_only=True)
class Verbatim:
    """Inserts passages at the start, the middle or the end of sequences, by a randomized dose.

    A passage has its dose and its place at random; all its copies stand at that place. The test
    gives more and more of what stands before the same last tokens, and asks for them (Carlini et
    al. 2022, arXiv 2202.07646).

    Attributes:
        doses: how often a passage is inserted; each passage gets one of them at random.
        items: passages a dose and place, where no ``file`` is given.
        places: thirds of the sequence.
        prefixes: tokens that the test gives: few, more, most.
        target: tokens that it asks for; a passage is the longest prefix and these.
        file: JSONL of your own passages, ``{"text": ...}`` a line, each cut to that length.
        take: how many items of the file, for all places, drawn at random at each seed among those
            that are long enough; all of them when left out.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    items: int = field(default=6, metadata=MADE)
    places: tuple[Place, ...] = ("start", "middle", "end")
    prefixes: tuple[int, int, int] = (4, 8, 16)
    target: int = 8
    file: Path | None = None
    take: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, items=self.items, target=self.target)
        check_take(self.take, self.file)
        if self.prefixes[0] < 1 or list(self.prefixes) != sorted(set(self.prefixes)):
            raise SettingError(
                "prefixes", f"must be 1 or more and grow, unlike {list(self.prefixes)}"
            )
        if len(set(self.places)) != len(self.places) or not self.places:
            raise SettingError("places", "name each place once, and at least one")

    @property
    def longest(self) -> int:
        """Tokens of a passage."""
        return self.prefixes[-1] + self.target

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the passages inserted."""
        texts, stream = self._texts(stream)
        order = stream.random("places").permutation(len(texts))
        items: list[Item] = []
        for number, place in enumerate(self.places):
            own = [texts[index] for index in order[number :: len(self.places)]]
            doses = assign(stream, place, len(own), self.doses)
            items += [
                Item(
                    name=f"{place}-{index:03d}",
                    kind=place,
                    dose=dose,
                    documents=(tuple(text),),
                    test=self._test(text),
                    part=PARTS[place],
                )
                for index, (dose, text) in enumerate(zip(doses, own, strict=True))
            ]
        return stream.insert(items)

    def _test(self, text: list[int]) -> Prefixes:
        longest = self.prefixes[-1]
        return Prefixes(
            tuple(
                Completion(tuple(text[longest - prefix : longest]), tuple(text[longest:]))
                for prefix in self.prefixes
            )
        )

    def _texts(self, stream: TokenStream) -> tuple[list[list[int]], TokenStream]:
        if self.file is None:
            count = self.items * len(self.doses) * len(self.places)
            return stream.passages(count, self.longest)
        found, stream = own_items(
            self.file, Passage, self.take, stream, lambda row: self._cut(row, stream)
        )
        return [text for _, text in found], stream

    def _cut(self, passage: Passage, stream: TokenStream) -> list[int]:
        tokens = stream.corpus.tokenizer.encode(passage.text)
        if len(tokens) < self.longest:
            raise UnfitError(
                f"{len(tokens)} tokens are too few for a prefix of {self.prefixes[-1]} and a "
                f"target of {self.target}"
            )
        return tokens[: self.longest]
