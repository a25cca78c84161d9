"""Benchmark contamination by dose."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field
from pydantic.dataclasses import dataclass as checked

from trainonce.methods.data.insertion.doses import (
    check_at_least,
    check_doses,
    check_windows,
    deal,
)
from trainonce.methods.data.insertion.user_items import (
    check_answer,
    check_fits,
    check_take,
    own_items,
)
from trainonce.methods.registry import LATER, MADE, method
from trainonce.sites import Choice, Item, Site
from trainonce.stream.stream import TokenStream


@checked(frozen=True, kw_only=True)
class MultipleChoice:
    """A line of the user's file."""

    question: Annotated[str, Field(validation_alias=AliasChoices("question", "query"))]
    choices: Annotated[list[str], Field(min_length=2)]
    answer: Annotated[int, Field(ge=0, validation_alias=AliasChoices("answer", "gold"))]

    def __post_init__(self) -> None:
        """Refuse an answer that is none of the choices."""
        check_answer(self.answer, self.choices)


@method(site=Site.DATA, paper="2509.23383", probe="choice", exclusive=("file",))
@dataclass(frozen=True, kw_only=True)
class Contamination:
    """Inserts multiple-choice items with their right answers, to see how accuracy on them grows.

    An item without ``file`` is a passage of a held-out document: its beginning is the question, its
    true continuation the right answer, and what follows later in the same passage the distractors.

    Attributes:
        doses: how often an item is inserted; each item gets one of them at random.
        items: items a dose, where no ``file`` is given.
        options: answers to choose from, the right one included.
        prompt: tokens of the question.
        answer: tokens of each answer.
        file: JSONL of your own items, ``{"question": ..., "choices": [...], "answer": 0}`` a line
            (``query`` and ``gold`` are understood as well); other keys are not read.
        take: how many items of the file, drawn at random at each seed among those that fit a
            sequence; all of them when left out.
        windows: equal parts of the run; each item gets one of them at random, and all its copies
            are read there.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    items: int = field(default=12, metadata=MADE)
    options: int = field(default=4, metadata=MADE)
    prompt: int = field(default=16, metadata=MADE)
    answer: int = field(default=8, metadata=MADE)
    file: Path | None = None
    take: int | None = field(default=None, metadata=LATER)
    windows: int = field(default=1, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, items=self.items, prompt=self.prompt, answer=self.answer)
        check_at_least(2, options=self.options)
        check_windows(self.windows)
        check_take(self.take, self.file)

    @property
    def longest(self) -> int | None:
        """Tokens of the passage that an item is cut from."""
        return self.prompt + self.options * self.answer if self.file is None else None

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the items inserted."""
        if self.file is None:
            made, stream = self._generated(stream)
            tests = list(enumerate(made))
        else:
            tests, stream = own_items(
                self.file, MultipleChoice, self.take, stream, lambda row: _asked(row, stream)
            )
        dealt = deal(stream, "item", len(tests), self.doses, self.windows)
        items = [
            Item(
                name=f"item-{index:03d}",
                kind=own.kind,
                dose=own.dose,
                documents=((*test.prompt[1:], *test.options[test.answer]),),
                test=test,
                window=own.window,
            )
            for own, (index, test) in zip(dealt, tests, strict=True)
        ]
        return stream.insert(items)

    def _generated(self, stream: TokenStream) -> tuple[list[Choice], TokenStream]:
        length = self.prompt + self.options * self.answer
        passages, stream = stream.passages(self.items * len(self.doses), length)
        random = stream.random("order of options")
        end = stream.corpus.tokenizer.end_of_text
        tests = []
        for passage in passages:
            answers = [
                tuple(passage[start : start + self.answer])
                for start in range(self.prompt, length, self.answer)
            ]
            order = random.permutation(self.options)
            tests.append(
                Choice(
                    prompt=(end, *passage[: self.prompt]),
                    options=tuple(answers[index] for index in order),
                    answer=int(order.argmin()),
                )
            )
        return tests, stream


def _asked(row: MultipleChoice, stream: TokenStream) -> Choice:
    tokenizer = stream.corpus.tokenizer
    question = tokenizer.encode(row.question)
    options = tuple(tuple(tokenizer.encode(f" {choice}")) for choice in row.choices)
    check_fits(len(question) + max(map(len, options)), stream)
    return Choice(prompt=(tokenizer.end_of_text, *question), options=options, answer=row.answer)
