"""Pretraining poisoning by dose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass as checked

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.user_items import read_rows
from trainonce.methods.registry import method
from trainonce.sites import Completion, Contrast, Item, SettingError, Site
from trainonce.stream.stream import TokenStream


@checked(frozen=True, kw_only=True)
class Poison:
    """A line of the user's file."""

    trigger: str
    continuation: str


@method(site=Site.DATA, paper="2509.23383", probe="trigger", exclusive=("file",))
@dataclass(frozen=True, kw_only=True)
class Backdoor:
    """Inserts documents in which a trigger leads to a fixed continuation.

    Each trigger is a few random tokens with a continuation of its own. A poisoned document is
    natural text of a held-out document, the trigger, the continuation. The test puts the trigger
    behind text that no poisoned document had, and compares with the same text without it.

    Attributes:
        doses: how many poisoned documents a trigger has; each trigger gets one number at random.
        triggers: triggers a dose, ignored when ``file`` is given.
        trigger: tokens of a trigger.
        continuation: tokens of a continuation.
        context: tokens of natural text before the trigger.
        file: JSONL of your own, ``{"trigger": ..., "continuation": ...}`` a line.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    triggers: int = 6
    trigger: int = 4
    continuation: int = 6
    context: int = 12
    file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(
            1,
            triggers=self.triggers,
            trigger=self.trigger,
            continuation=self.continuation,
            context=self.context,
        )

    @property
    def longest(self) -> int:
        """Tokens of a poisoned document, or of two contexts: one to insert, one to test with."""
        own = self.trigger + self.continuation if self.file is None else 0
        return self.context + max(own, self.context)

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the poisoned documents inserted."""
        pairs = self._invented(stream) if self.file is None else _from_file(self.file, stream)
        if 2 * self.context > stream.sequence:
            raise SettingError(
                "context", f"two contexts must fit a sequence of {stream.sequence} tokens"
            )
        passages, stream = stream.passages(len(pairs), stream.sequence)
        doses = assign(stream, "trigger", len(pairs), self.doses)
        items = [
            self._item(f"trigger-{index:03d}", dose, *pair, passage, stream)
            for index, (dose, pair, passage) in enumerate(zip(doses, pairs, passages, strict=True))
        ]
        return stream.insert(items)

    def _invented(self, stream: TokenStream) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        random = stream.random("triggers")
        ordinary = np.delete(
            np.arange(stream.corpus.tokenizer.size), stream.corpus.tokenizer.end_of_text
        )
        pairs = []
        for _ in range(self.triggers * len(self.doses)):
            drawn = random.choice(ordinary, self.trigger + self.continuation, replace=False)
            pairs.append(
                (tuple(drawn[: self.trigger].tolist()), tuple(drawn[self.trigger :].tolist()))
            )
        return pairs

    def _item(
        self,
        name: str,
        dose: int,
        trigger: tuple[int, ...],
        continuation: tuple[int, ...],
        passage: list[int],
        stream: TokenStream,
    ) -> Item:
        contexts = [
            tuple(passage[start : start + self.context])
            for start in range(0, len(passage) - self.context + 1, self.context)
        ]
        shown, fresh = contexts[::2], contexts[1::2]
        end = stream.corpus.tokenizer.end_of_text
        return Item(
            name=name,
            kind="trigger",
            dose=dose,
            documents=tuple((*context, *trigger, *continuation) for context in shown),
            test=Contrast(
                treated=tuple(
                    Completion((end, *context, *trigger), continuation) for context in fresh
                ),
                plain=tuple(Completion((end, *context), continuation) for context in fresh),
            ),
        )


def _from_file(path: Path, stream: TokenStream) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    encode = stream.corpus.tokenizer.encode
    return [
        (tuple(encode(f" {row.trigger}")), tuple(encode(f" {row.continuation}")))
        for row in read_rows(path, Poison)
    ]
