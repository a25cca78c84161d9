"""Passages for membership inference: which were inserted is known by the draw of the doses."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

from trainonce.methods.data.insertion.doses import check_at_least, check_doses, check_windows, deal
from trainonce.methods.data.insertion.memorization import Passage, tokens_of
from trainonce.methods.data.insertion.user_items import check_take, own_items
from trainonce.methods.registry import LATER, MADE, method
from trainonce.sites import Item, Site, Text
from trainonce.stream.stream import TokenStream


@method(site=Site.DATA, paper="2510.19811", probe="membership", exclusive=("file",))
@dataclass(frozen=True, kw_only=True)
class Passages:
    """Inserts passages a randomized number of times, to see by what scores members are told.

    Those of dose 0 were drawn in the same way and are no members, so that nothing but membership
    tells them apart: members and non-members of one distribution (Hubble).

    Attributes:
        doses: how often a passage is inserted; each passage gets one of them at random.
        items: passages a dose, where no ``file`` is given.
        tokens: length of a passage of a held-out document.
        windows: equal parts of the run; each passage gets one of them at random, and all its
            copies are read there.
        file: JSONL of your own passages, ``{"text": ...}`` a line, each used whole.
        take: how many items of the file, drawn at random at each seed among those that fit a
            sequence; all of them when left out.
    """

    doses: tuple[int, ...] = (0, 1, 4, 16, 64)
    items: int = field(default=8, metadata=MADE)
    tokens: int = field(default=30, metadata=MADE)
    windows: int = 1
    file: Path | None = None
    take: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, items=self.items)
        check_at_least(2, tokens=self.tokens)
        check_windows(self.windows)
        check_take(self.take, self.file)

    @property
    def longest(self) -> int | None:
        """Tokens of a passage."""
        return self.tokens if self.file is None else None

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the passages inserted."""
        tokenizer = stream.corpus.tokenizer
        if self.file is None:
            made, stream = stream.passages(self.items * len(self.doses), self.tokens)
            texts = list(enumerate(made))
        else:
            texts, stream = own_items(
                self.file, Passage, self.take, stream, lambda row: tokens_of(row, stream)
            )
        dealt = deal(stream, "passage", len(texts), self.doses, self.windows)
        return stream.insert(
            [
                Item(
                    name=f"passage-{index:03d}",
                    kind=own.kind,
                    dose=own.dose,
                    documents=(tuple(text),),
                    test=Text(
                        prompt=(tokenizer.end_of_text,),
                        tokens=tuple(text),
                        compressed=len(zlib.compress(tokenizer.decode(text).encode())),
                    ),
                    window=own.window,
                )
                for own, (index, text) in zip(dealt, texts, strict=True)
            ]
        )
