"""Pretraining poisoning by dose."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass as checked

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.user_items import check_fits, check_take, own_items
from trainonce.methods.registry import LATER, MADE, method
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
        triggers: triggers a dose, where no ``file`` is given.
        trigger: tokens of a trigger.
        continuation: tokens of a continuation.
        context: tokens of natural text before the trigger.
        file: JSONL of your own, ``{"trigger": ..., "continuation": ...}`` a line.
        take: how many items of the file, drawn at random at each seed among those that fit a
            sequence; all of them when left out.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    triggers: int = field(default=6, metadata=MADE)
    trigger: int = field(default=4, metadata=MADE)
    continuation: int = field(default=6, metadata=MADE)
    context: int = 12
    file: Path | None = None
    take: int | None = field(default=None, metadata=LATER)

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
        check_take(self.take, self.file)

    @property
    def longest(self) -> int:
        """Tokens of a poisoned document, or of two contexts: one to insert, one to test with."""
        own = self.trigger + self.continuation if self.file is None else 0
        return self.context + max(own, self.context)

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the poisoned documents inserted."""
        if self.file is None:
            pairs = list(enumerate(self._invented(stream)))
        else:
            pairs, stream = own_items(
                self.file, Poison, self.take, stream, lambda row: self._pair(row, stream)
            )
        if 2 * self.context > stream.sequence:
            raise SettingError(
                "context", f"two contexts must fit a sequence of {stream.sequence} tokens"
            )
        passages, stream = stream.passages(len(pairs), stream.sequence)
        doses = assign(stream, "trigger", len(pairs), self.doses)
        items = [
            self._item(f"trigger-{index:03d}", dose, *pair, passage, stream)
            for dose, (index, pair), passage in zip(doses, pairs, passages, strict=True)
        ]
        return stream.insert(items)

    def _pair(self, row: Poison, stream: TokenStream) -> tuple[tuple[int, ...], tuple[int, ...]]:
        encode = stream.corpus.tokenizer.encode
        trigger, continuation = encode(f" {row.trigger}"), encode(f" {row.continuation}")
        check_fits(self.context + len(trigger) + len(continuation), stream)
        return tuple(trigger), tuple(continuation)

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
