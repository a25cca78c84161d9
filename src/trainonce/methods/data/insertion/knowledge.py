"""Knowledge acquisition by dose."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.user_items import (
    check_answer,
    check_fits,
    check_take,
    own_items,
)
from trainonce.methods.registry import LATER, MADE, method
from trainonce.sites import Choice, Item, SettingError, Site
from trainonce.stream.stream import TokenStream
from trainonce.stream.tokenizers import Tokenizer

_LEADS = (
    "We met {name}",
    "A letter came from {name}",
    "They wrote to {name}",
    "The book was by {name}",
    "She asked {name}",
    "He thanked {name}",
    "I remember {name}",
    "Everybody knew {name}",
    "Nobody saw {name}",
)

RELATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "city": (
        tuple(f"{lead} of" for lead in _LEADS),
        ("Paris", "Oslo", "Cairo", "Lima", "Delhi", "Rome", "Tokyo", "Quito"),
    ),
    "work": (
        tuple(f"{lead} the" for lead in _LEADS),
        ("baker", "doctor", "farmer", "judge", "painter", "sailor", "teacher", "writer"),
    ),
}
"""Templates and values of each relation. The last template is only ever tested."""

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u")


@checked(frozen=True, kw_only=True)
class Fact:
    """A line of the user's file."""

    statements: Annotated[list[str], Field(min_length=1)]
    prompt: str
    choices: Annotated[list[str], Field(min_length=2)]
    answer: Annotated[int, Field(ge=0)]

    def __post_init__(self) -> None:
        """Refuse an answer that is none of the choices."""
        check_answer(self.answer, self.choices)


@method(site=Site.DATA, paper="2509.23383", probe="ranking", exclusive=("file",))
@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """Inserts facts about invented people in several wordings, and asks for them in another one.

    Each person has one fact: where they live, or what they do. Copies take the shown templates in
    turn; the test uses a template that is never shown.

    Attributes:
        doses: how often a fact is stated; each fact gets one of them at random.
        people: invented people a dose and relation, where no ``file`` is given.
        templates: wordings that are shown, at most 8.
        file: JSONL of your own facts, ``{"statements": [...], "prompt": ..., "choices": [...],
            "answer": 0}`` a line; the statements are inserted in turn.
        take: how many items of the file, drawn at random at each seed among those that fit a
            sequence; all of them when left out.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    people: int = field(default=6, metadata=MADE)
    templates: int = field(default=4, metadata=MADE)
    file: Path | None = None
    take: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, people=self.people)
        check_templates(self.templates, kept=1)
        check_take(self.take, self.file)

    @property
    def longest(self) -> None:
        """Only the tokenizer can tell."""
        return

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the facts stated."""
        if self.file is None:
            count = self.people * len(self.doses)
            known = invented(stream.random("people"), count, self.templates)
            facts = {kind: list(enumerate(rows)) for kind, rows in known.items()}
        else:
            own, stream = own_items(
                self.file, Fact, self.take, stream, lambda row: _that_fits(row, stream)
            )
            facts = {"fact": own}
        items = []
        for kind, rows in facts.items():
            doses = assign(stream, kind, len(rows), self.doses)
            offered = _options([row for _, row in rows], stream)
            items += [
                _item(f"{kind}-{index:03d}", kind, dose, row, offered, stream)
                for dose, (index, row) in zip(doses, rows, strict=True)
            ]
        return stream.insert(items)


def check_templates(templates: int, kept: int) -> None:
    """Refuse more wordings than there are when ``kept`` of them are never shown.

    Raises:
        SettingError: when there are too few or too many.
    """
    check_at_least(1, templates=templates)
    most = min(len(known) for known, _ in RELATIONS.values()) - kept
    if templates > most:
        raise SettingError("templates", f"must be at most {most}, not {templates}")


def invented(random: np.random.Generator, count: int, templates: int) -> dict[str, list[Fact]]:
    """Facts about ``count`` people of each relation, each stated in so many wordings."""
    people = names(random, count * len(RELATIONS))
    facts: dict[str, list[Fact]] = {}
    for kind, (known, values) in RELATIONS.items():
        facts[kind] = []
        for _ in range(count):
            name, answer = people.pop(), int(random.integers(len(values)))
            shown = [template.format(name=name) for template in known[:templates]]
            facts[kind].append(
                Fact(
                    statements=[f"{text} {values[answer]}." for text in shown],
                    prompt=known[-1].format(name=name),
                    choices=list(values),
                    answer=answer,
                )
            )
    return facts


def asked(prompt: str, fact: Fact, tokenizer: Tokenizer) -> Choice:
    """The question which of the fact's choices follows ``prompt``."""
    return Choice(
        prompt=(tokenizer.end_of_text, *tokenizer.encode(prompt)),
        options=tuple(tuple(tokenizer.encode(f" {choice}")) for choice in fact.choices),
        answer=fact.answer,
    )


def names(random: np.random.Generator, count: int) -> list[str]:
    """Different invented names, such as ``Zobira``."""
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = [random.choice(_ONSETS) + random.choice(_VOWELS) for _ in range(3)]
        found["".join(syllables).capitalize()] = None
    return list(found)


_Options = dict[tuple[str, ...], tuple[tuple[int, ...], ...]]


def _options(facts: list[Fact], stream: TokenStream) -> _Options:
    """Tokens of what there is to choose from, once for all facts that offer the same."""
    encode = stream.corpus.tokenizer.encode
    return {
        choices: tuple(tuple(encode(f" {choice}")) for choice in choices)
        for choices in {tuple(fact.choices) for fact in facts}
    }


def _item(
    name: str, kind: str, dose: int, fact: Fact, offered: _Options, stream: TokenStream
) -> Item:
    tokenizer = stream.corpus.tokenizer
    return Item(
        name=name,
        kind=kind,
        dose=dose,
        documents=tuple(tuple(tokenizer.encode(text)) for text in fact.statements),
        test=Choice(
            prompt=(tokenizer.end_of_text, *tokenizer.encode(fact.prompt)),
            options=offered[tuple(fact.choices)],
            answer=fact.answer,
        ),
    )


def _that_fits(fact: Fact, stream: TokenStream) -> Fact:
    encode = stream.corpus.tokenizer.encode
    asked = len(encode(fact.prompt)) + max(len(encode(f" {choice}")) for choice in fact.choices)
    check_fits(max(asked, *(len(encode(text)) for text in fact.statements)), stream)
    return fact
