"""Verbatim memorization by dose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic.dataclasses import dataclass as checked

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.user_items import read_rows
from trainonce.methods.registry import method
from trainonce.sites import Completion, Item, SettingError, Site
from trainonce.stream.stream import TokenStream


@checked(frozen=True, kw_only=True)
class Passage:
    """A line of the user's file."""

    text: str


@method(site=Site.DATA, paper="2510.19811", probe="completion", exclusive=("file",))
@dataclass(frozen=True, kw_only=True)
class Memorization:
    """Inserts passages and canaries a randomized number of times, to see which are memorized.

    Passages are natural text of held-out documents; canaries are uniformly random tokens (Carlini
    et al. 2019, arXiv 1802.08232). The test asks for the second half of each, given the first.

    Attributes:
        doses: how often an item is inserted; each item gets one of them at random.
        passages: passages a dose, ignored when ``file`` is given.
        canaries: canaries a dose.
        tokens: length of a passage or canary.
        file: JSONL of your own passages, ``{"text": ...}`` a line, each used whole.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    passages: int = 6
    canaries: int = 6
    tokens: int = 32
    file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(2, tokens=self.tokens)
        check_at_least(0, passages=self.passages, canaries=self.canaries)
        if self.file is None and self.passages == self.canaries == 0:
            raise SettingError("passages", "passages and canaries are both 0: nothing to insert")

    @property
    def longest(self) -> int:
        """Tokens of a canary."""
        return self.tokens

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the items inserted."""
        natural, stream = self._natural(stream)
        random = stream.random("canaries")
        vocabulary = stream.corpus.tokenizer.size
        canaries = [
            random.integers(0, vocabulary - 1, self.tokens).tolist()
            for _ in range(self.canaries * len(self.doses))
        ]
        end = stream.corpus.tokenizer.end_of_text
        canaries = [[token + (token >= end) for token in canary] for canary in canaries]
        items = []
        for kind, texts in (("passage", natural), ("canary", canaries)):
            if texts:
                doses = assign(stream, kind, len(texts), self.doses)
                items += [
                    _item(f"{kind}-{index:03d}", kind, dose, text, end)
                    for index, (dose, text) in enumerate(zip(doses, texts, strict=True))
                ]
        return stream.insert(items)

    def _natural(self, stream: TokenStream) -> tuple[list[list[int]], TokenStream]:
        if self.file is not None:
            rows = read_rows(self.file, Passage)
            return stream.corpus.tokenizer.encode_batch([row.text for row in rows]), stream
        if not self.passages:
            return [], stream
        return stream.passages(self.passages * len(self.doses), self.tokens)


def _item(name: str, kind: str, dose: int, text: list[int], end: int) -> Item:
    half = len(text) // 2
    if half < 1:
        raise ValueError(f"item {name!r} has {len(text)} token, too few to cut in two halves")
    test = Completion((end, *text[:half]), tuple(text[half:]))
    return Item(name, kind, dose, (tuple(text),), test)
