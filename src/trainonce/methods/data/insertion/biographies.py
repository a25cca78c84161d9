"""Personal facts: biographies of invented people, by kind of fact and by wording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.knowledge import names
from trainonce.methods.registry import method
from trainonce.sites import Choice, Item, SettingError, Site
from trainonce.stream.stream import TokenStream

Fact = Literal["city", "work", "year", "language"]
Wording = Literal["verbatim", "paraphrased"]

FACTS: dict[Fact, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "city": (
        ("lives in {}", "has a home in {}", "settled in {}", "is a resident of {}"),
        "The town where {name} lives is",
        ("Paris", "Oslo", "Cairo", "Lima", "Delhi", "Rome", "Tokyo", "Quito"),
    ),
    "work": (
        ("works as a {}", "is a {}", "earns money as a {}", "was trained to be a {}"),
        "By profession {name} is a",
        ("baker", "doctor", "farmer", "judge", "painter", "sailor", "teacher", "writer"),
    ),
    "year": (
        (
            "was born in {}",
            "came to the world in {}",
            "is of the year {}",
            "has been here since {}",
        ),
        "The year of birth of {name} is",
        ("1931", "1942", "1953", "1964", "1975", "1986", "1997", "2008"),
    ),
    "language": (
        ("speaks {}", "talks in {}", "grew up with {}", "writes letters in {}"),
        "The mother tongue of {name} is",
        ("French", "Dutch", "Arabic", "Spanish", "Hindi", "Italian", "Turkish", "Greek"),
    ),
}
"""Of each kind of fact its wordings, the question in words that are never shown, and its values."""


@method(site=Site.DATA, paper="2510.19811", probe="ranking")
@dataclass(frozen=True, kw_only=True)
class Biographies:
    """Inserts biographies of invented people, to see which of their facts a model can tell.

    A biography states one fact of each kind about its person. Each person has a dose, a wording and
    the kind of the one fact that the test asks for, at random: copies are ``verbatim`` the same, or
    ``paraphrased``, each in the next of four wordings. The test asks in words that no biography
    has, which sets apart knowing a fact from completing a sentence.

    Attributes:
        doses: how often a biography is inserted; each person gets one of them at random.
        facts: kinds of fact that a biography states.
        wordings: whether copies are the same, or worded anew.
        people: people a dose, kind of fact and wording.
    """

    doses: tuple[int, ...] = (0, 4, 16, 64)
    facts: tuple[Fact, ...] = ("city", "work", "year", "language")
    wordings: tuple[Wording, ...] = ("verbatim", "paraphrased")
    people: int = 4

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, people=self.people)
        for field in ("facts", "wordings"):
            given = getattr(self, field)
            if len(set(given)) != len(given) or not given:
                raise SettingError(field, "name each once, and at least one")

    @property
    def longest(self) -> None:
        """Only the tokenizer can tell."""
        return

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the biographies inserted."""
        random, count = stream.random("people"), self.people * len(self.doses)
        people = iter(names(random, count * len(self.facts) * len(self.wordings)))
        items: list[Item] = []
        for fact in self.facts:
            for wording in self.wordings:
                kind = f"{fact}, {wording}"
                for index, dose in enumerate(assign(stream, kind, count, self.doses)):
                    values = {one: int(random.integers(len(FACTS[one][2]))) for one in self.facts}
                    name = next(people)
                    items.append(
                        Item(
                            name=f"{fact}-{wording}-{index:03d}",
                            kind=kind,
                            dose=dose,
                            documents=_biographies(name, values, wording, stream),
                            test=_test(name, fact, values[fact], stream),
                        )
                    )
        return stream.insert(items)


def _biographies(
    name: str, values: dict[Fact, int], wording: Wording, stream: TokenStream
) -> tuple[tuple[int, ...], ...]:
    texts = []
    for version in range(1 if wording == "verbatim" else 4):
        said = [FACTS[fact][0][version].format(FACTS[fact][2][n]) for fact, n in values.items()]
        texts.append(f"{name} {', '.join(said)}.")
    return tuple(tuple(text) for text in stream.corpus.tokenizer.encode_batch(texts))


def _test(name: str, fact: Fact, value: int, stream: TokenStream) -> Choice:
    tokenizer = stream.corpus.tokenizer
    return Choice(
        prompt=(tokenizer.end_of_text, *tokenizer.encode(FACTS[fact][1].format(name=name))),
        options=tuple(tuple(tokenizer.encode(f" {choice}")) for choice in FACTS[fact][2]),
        answer=value,
    )
