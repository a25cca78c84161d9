"""Mathematical reasoning by number of operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.knowledge import names
from trainonce.methods.registry import method
from trainonce.sites import Choice, Item, SettingError, Site
from trainonce.stream.stream import TokenStream

_STEPS = tuple(step for step in range(-3, 4) if step)

WORDINGS = (
    "{start} {acts} is {end}",
    "{start} beads, {acts}: {end}",
    "From {start} by {acts} to {end}",
    "With {start}, {acts} gives {end}",
)
"""How problems are told. The first one is also how they are asked, up to the result."""


@dataclass(frozen=True)
class Family:
    """Problems told in one family's own words.

    Attributes:
        words: an invented word for each operation.
        steps: what each operation adds to the number so far.
        largest: number that a problem may come to; the smallest is 0.
    """

    words: tuple[str, ...]
    steps: tuple[int, ...]
    largest: int

    def problems(self, operations: int) -> Iterator[tuple[int, tuple[str, ...], int]]:
        """Start, words and result of each problem of so many operations that stays in range."""
        for acts in product(range(len(self.words)), repeat=operations):
            for start in range(self.largest + 1):
                results = start + np.cumsum([self.steps[act] for act in acts])
                if results.min() >= 0 and results.max() <= self.largest:
                    yield start, tuple(self.words[act] for act in acts), int(results[-1])


@method(site=Site.DATA, paper="2509.23383", probe="choice")
@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Inserts generated word problems, and asks for problems of as many and of more operations.

    What is randomized is the family: problems whose operations have invented words of their own,
    such as "zobira" for adding 2, so that no other family's problems teach them. Its dose is how
    many training problems of it the run reads, of 1 to ``operations`` operations in turn. Its kind
    is the number of operations of the one problem that it is tested with. Up to ``operations`` that
    problem may have been a training problem too, so that recall is enough; beyond, up to
    ``beyond``, no problem of any family is ever inserted, and operations must be put together. A
    kind's effect is what a family's own problems add to what all families together taught.

    Attributes:
        doses: training problems of a family; each family gets one number at random.
        operations: the most operations of a training problem.
        beyond: the most operations of a test problem.
        families: families a dose and kind.
        words: operations that a family has words for.
        largest: the largest number; as many answers to choose from, and 0.
        wordings: ways in which training problems are told, at most 4.
    """

    doses: tuple[int, ...] = (0, 8, 32, 96)
    operations: int = 2
    beyond: int = 4
    families: int = 4
    words: int = 2
    largest: int = 5
    wordings: int = 1

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, operations=self.operations, families=self.families)
        check_at_least(1, wordings=self.wordings)
        check_at_least(2, words=self.words)
        check_at_least(4, largest=self.largest)
        if self.beyond < self.operations:
            raise SettingError(
                "beyond", f"must be at least the {self.operations} operations of training problems"
            )
        if self.beyond > 6:
            raise SettingError("beyond", f"must be at most 6, not {self.beyond}")
        if self.words > len(_STEPS):
            raise SettingError("words", f"must be at most {len(_STEPS)}, not {self.words}")
        if self.wordings > len(WORDINGS):
            raise SettingError("wordings", f"must be at most {len(WORDINGS)}, not {self.wordings}")

    @property
    def longest(self) -> None:
        """Only the tokenizer can tell."""
        return

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the training problems inserted."""
        random = stream.random("families")
        count = self.families * len(self.doses)
        invented = iter(names(random, count * self.beyond * self.words))
        items: list[Item] = []
        for asked in range(1, self.beyond + 1):
            kind = f"{asked} operation{'s' * (asked > 1)}"
            doses = assign(stream, kind, count, self.doses)
            for index, dose in enumerate(doses):
                words = tuple(next(invented).lower() for _ in range(self.words))
                family = Family(words, _steps(random, self.words), self.largest)
                items.append(
                    Item(
                        name=f"{asked}-{index:03d}",
                        kind=kind,
                        dose=dose,
                        documents=self._shown(family, random, stream),
                        test=_test(family, asked, random, stream),
                    )
                )
        return stream.insert(items)

    def _shown(
        self, family: Family, random: np.random.Generator, stream: TokenStream
    ) -> tuple[tuple[int, ...], ...]:
        """As many training problems as the highest dose has copies, drawn anew each."""
        known = [list(family.problems(count)) for count in range(1, self.operations + 1)]
        texts = []
        for number in range(max(self.doses)):
            problems = known[number % self.operations]
            start, acts, end = problems[random.integers(len(problems))]
            wording = WORDINGS[random.integers(self.wordings)]
            texts.append(wording.format(start=start, acts=" ".join(acts), end=end))
        return tuple(tuple(text) for text in stream.corpus.tokenizer.encode_batch(texts))


def _steps(random: np.random.Generator, count: int) -> tuple[int, ...]:
    """Different steps, up and down, so that any number of them can stay in range."""
    while True:
        steps = tuple(int(step) for step in random.choice(_STEPS, count, replace=False))
        if min(steps) < 0 < max(steps):
            return steps


def _test(
    family: Family, operations: int, random: np.random.Generator, stream: TokenStream
) -> Choice:
    tokenizer = stream.corpus.tokenizer
    problems = list(family.problems(operations))
    start, acts, end = problems[random.integers(len(problems))]
    told = WORDINGS[0].removesuffix(" {end}").format(start=start, acts=" ".join(acts))
    return Choice(
        prompt=(tokenizer.end_of_text, *tokenizer.encode(told)),
        options=tuple(tuple(tokenizer.encode(f" {digit}")) for digit in range(family.largest + 1)),
        answer=end,
    )
