"""Passages for membership inference: which were inserted is known by the draw of the doses."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from trainonce.methods.data.insertion.doses import check_at_least, check_doses, check_windows, deal
from trainonce.methods.data.insertion.memorization import Passage
from trainonce.methods.data.insertion.user_items import read_rows
from trainonce.methods.registry import method
from trainonce.sites import Item, Site, Text
from trainonce.stream.stream import TokenStream


@method(site=Site.DATA, paper="2510.19811", probe="membership")
@dataclass(frozen=True, kw_only=True)
class Passages:
    """Inserts passages a randomized number of times, to see by what scores members are told.

    Those of dose 0 were drawn in the same way and are no members, so that nothing but membership
    tells them apart: members and non-members of one distribution (Hubble).

    Attributes:
        doses: how often a passage is inserted; each passage gets one of them at random.
        items: passages a dose, ignored when ``file`` is given.
        tokens: length of a passage of a held-out document.
        windows: equal parts of the run; each passage gets one of them at random, and all its
            copies are read there.
        file: JSONL of your own passages, ``{"text": ...}`` a line, each used whole.
    """

    doses: tuple[int, ...] = (0, 1, 4, 16, 64)
    items: int = 8
    tokens: int = 30
    windows: int = 1
    file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, items=self.items)
        check_at_least(2, tokens=self.tokens)
        check_windows(self.windows)

    @property
    def longest(self) -> int | None:
        """Tokens of a passage."""
        return self.tokens if self.file is None else None

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the passages inserted."""
        tokenizer = stream.corpus.tokenizer
        if self.file is None:
            texts, stream = stream.passages(self.items * len(self.doses), self.tokens)
        else:
            texts = tokenizer.encode_batch([row.text for row in read_rows(self.file, Passage)])
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
                for index, (own, text) in enumerate(zip(dealt, texts, strict=True))
            ]
        )
