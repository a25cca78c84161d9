"""Verbatim memorization by dose."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic.dataclasses import dataclass as checked

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.user_items import (
    UnfitError,
    check_fits,
    check_take,
    own_items,
)
from trainonce.methods.registry import LATER, MADE, method
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
        passages: passages a dose, where no ``file`` is given.
        canaries: canaries a dose.
        tokens: length of a passage or canary.
        file: JSONL of your own passages, ``{"text": ...}`` a line, each used whole.
        take: how many items of the file, drawn at random at each seed among those that fit a
            sequence; all of them when left out.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    passages: int = field(default=6, metadata=MADE)
    canaries: int = 6
    tokens: int = 32
    file: Path | None = None
    take: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(2, tokens=self.tokens)
        check_at_least(0, passages=self.passages, canaries=self.canaries)
        check_take(self.take, self.file)
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
        for kind, texts in (("passage", natural), ("canary", list(enumerate(canaries)))):
            if texts:
                doses = assign(stream, kind, len(texts), self.doses)
                items += [
                    _item(f"{kind}-{index:03d}", kind, dose, text, end)
                    for dose, (index, text) in zip(doses, texts, strict=True)
                ]
        return stream.insert(items)

    def _natural(self, stream: TokenStream) -> tuple[list[tuple[int, list[int]]], TokenStream]:
        if self.file is not None:
            return own_items(
                self.file, Passage, self.take, stream, lambda row: tokens_of(row, stream, least=2)
            )
        if not self.passages:
            return [], stream
        made, stream = stream.passages(self.passages * len(self.doses), self.tokens)
        return list(enumerate(made)), stream


def tokens_of(passage: Passage, stream: TokenStream, least: int = 1) -> list[int]:
    """The tokens of a passage of the user's own.

    Raises:
        UnfitError: when they are fewer than ``least``, or more than a sequence can hold.
    """
    tokens = stream.corpus.tokenizer.encode(passage.text)
    check_fits(len(tokens), stream)
    if len(tokens) < least:
        raise UnfitError(f"{len(tokens)} tokens are too few: {least} are needed at least")
    return tokens


def _item(name: str, kind: str, dose: int, text: list[int], end: int) -> Item:
    half = len(text) // 2
    test = Completion((end, *text[:half]), tuple(text[half:]))
    return Item(name, kind, dose, (tuple(text),), test)
