"""Verbatim memorization by dose and by place in the sequence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.memorization import Passage
from trainonce.methods.data.insertion.user_items import ItemsError, read_rows
from trainonce.methods.registry import method
from trainonce.sites import Completion, Item, Prefixes, SettingError, Site
from trainonce.stream.stream import TokenStream

Place = Literal["start", "middle", "end"]

PARTS: dict[Place, tuple[float, float]] = {
    "start": (0.0, 1 / 3),
    "middle": (1 / 3, 2 / 3),
    "end": (2 / 3, 1.0),
}
"""The third of a sequence's places, from the first to the last where a copy fits."""


@method(site=Site.DATA, paper="2509.23383", probe="extraction")
@dataclass(frozen=True, kw_only=True)
class Verbatim:
    """Inserts passages at the start, the middle or the end of sequences, by a randomized dose.

    A passage has its dose and its place at random; all its copies stand at that place. The test
    gives more and more of what stands before the same last tokens, and asks for them (Carlini et
    al. 2022, arXiv 2202.07646).

    Attributes:
        doses: how often a passage is inserted; each passage gets one of them at random.
        items: passages a dose and place, ignored when ``file`` is given.
        places: thirds of the sequence.
        prefixes: tokens that the test gives: few, more, most.
        target: tokens that it asks for; a passage is the longest prefix and these.
        file: JSONL of your own passages, ``{"text": ...}`` a line, each cut to that length.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    items: int = 6
    places: tuple[Place, ...] = ("start", "middle", "end")
    prefixes: tuple[int, int, int] = (4, 8, 16)
    target: int = 8
    file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, items=self.items, target=self.target)
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
        rows = read_rows(self.file, Passage)
        texts = stream.corpus.tokenizer.encode_batch([row.text for row in rows])
        for number, text in enumerate(texts, start=1):
            if len(text) < self.longest:
                raise ItemsError(
                    f"{self.file}: item {number}: {len(text)} tokens are too few for a prefix of "
                    f"{self.prefixes[-1]} and a target of {self.target}"
                )
        return [text[: self.longest] for text in texts], stream
