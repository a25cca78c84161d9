"""What papers say, as questions with a direction: a YAML file a paper, in this folder.

A paper whose claim is one has ``claim``, ``decides`` and ``holds`` in its file. One that publishes
several directions lists them under ``directions``: each is a claim of its own, and all of them are
decided by the answers of the one study, and of variants of it in which some keys of the recipe are
others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from trainonce.methods.registry import methods
from trainonce.papers.looks import HELDOUT, Look, looked_at, told_beside
from trainonce.sites import Site
from trainonce.study.problems import Place, Problem, StudyError, nearest
from trainonce.study.questions import ItemQuestion, Question
from trainonce.study.recipe_keys import Strict, listed
from trainonce.study.translate import problem_of
from trainonce.study.yaml_lines import Document, parse

FOLDER = Path(__file__).parent
Holds = Literal["higher", "lower", "changed", "not higher", "not lower", "unchanged"]
EXPECTED: Mapping[Holds, int] = {
    "higher": 1,
    "lower": -1,
    "changed": 0,
    "not higher": 1,
    "not lower": -1,
    "unchanged": 0,
}
"""The direction that a deciding question expects. A claim that something is not lower is decided by
looking for how much lower it is; one that it is changed or unchanged, by looking either way."""

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]


Names = Annotated[list[str], BeforeValidator(listed)]


class _Says(Strict):
    """What is said, and what decides it."""

    methods: list[str]
    claim: Annotated[str, Field(min_length=1)]
    decides: Annotated[Names, Field(min_length=1)]
    against: Names = Field(default_factory=list)
    smallest_effect: Annotated[float, Field(gt=0)] | None = None
    holds: Holds
    premise: list[str] = Field(default_factory=list)


class _Direction(_Says):
    """``directions[]``."""

    id: Id


class _Variant(Strict):
    """``variants.<name>``."""

    recipe: Annotated[dict[str, Any], Field(min_length=1)]


class _Paper(Strict):
    """``papers/<id>.yaml``."""

    id: Id
    title: Annotated[str, Field(min_length=1)]
    authors: str
    year: Annotated[int, Field(ge=1900, le=2100)]
    venue: str | None = None
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")] | None = None
    repo: str | None = None
    site: Site
    budget: Annotated[float, Field(gt=0)]
    note: str = ""
    study: dict[str, Any]
    variants: dict[Id, _Variant] = Field(default_factory=dict)


class _OneClaim(_Paper, _Says):
    """A paper whose claim is one."""


class _Directions(_Paper):
    """A paper that publishes several directions."""

    directions: Annotated[list[_Direction], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says, and how it is re-tested.

    Attributes:
        id: its name in the ledger; of a direction, the paper's and its own.
        paper: the name of its file.
        title: of the paper.
        authors: of the paper.
        year: of the paper.
        venue: where it was published, where that is known.
        arxiv: its arXiv id, where it has one.
        repo: where its authors' code is, as owner/name.
        site: where its method acts; ``study`` for a paper about training as a whole.
        methods: names of the methods that carry it.
        says: the claim, in a sentence.
        decides: what decides it: the id of a question, or another name of
            `trainonce.papers.looks`; where there are several, each must be as the claim says.
        against: names of what the deciding effect is compared with, each of them; empty where the
            question's own comparison decides.
        smallest: the smallest difference of interest, where the question does not say it.
        holds: what the claim says of the deciding outcome, against what it is compared with.
        premise: names of what must be answered yes for the claim to be decidable here.
        budget: seconds that its study may take on two cores.
        note: what was changed after looking at an answer, and why it is as it is.
        document: its study.
        variants: that study with other values of some keys of its recipe, by name.
        lines: of its keys in the file.
    """

    id: str
    paper: str
    title: str
    authors: str
    year: int
    venue: str | None
    arxiv: str | None
    repo: str | None
    site: str
    methods: tuple[str, ...]
    says: str
    decides: tuple[str, ...]
    against: tuple[str, ...]
    smallest: float | None
    holds: Holds
    premise: tuple[str, ...]
    budget: float
    note: str
    document: Document
    variants: Mapping[str, Document]
    lines: Mapping[str, int]

    @property
    def alone(self) -> bool:
        """Whether it is all that its paper's file says."""
        return self.id == self.paper

    @property
    def contrasts(self) -> bool:
        """Whether its smallest effect of interest is its own, and not its question's."""
        return bool(self.against) or any(looked_at(name).beside for name in self.decides)

    @property
    def studied(self) -> tuple[str | None, ...]:
        """The variants of its study that it looks at, None being the study itself."""
        names = (*self.decides, *self.against, *self.premise)
        return tuple(dict.fromkeys(looked_at(name).variant for name in names))

    def study(self, variant: str | None) -> Document:
        """Its study, or a variant of it."""
        return self.document if variant is None else self.variants[variant]

    def checked(self, questions: tuple[Question, ...]) -> None:
        """Hold the claim against the questions of its study.

        Raises:
            StudyError: when it is decided by no such question, or by one that looks elsewhere.
        """
        known = {question.id: question for question in questions}
        for key, names in (
            ("decides", self.decides),
            ("against", self.against),
            ("premise", self.premise),
        ):
            for name in names:
                if wrong := self._unseen(name, known) or self._misplaced(key, name):
                    raise self._error(key, name, wrong)
        if self.contrasts != (self.smallest is not None):
            right = (
                "is missing: the smallest difference that would be of interest"
                if self.contrasts
                else "stands with `against`, or with what is told beside the answers; else it is "
                "the question's own"
            )
            raise self._error("smallest_effect", self.smallest, right)
        if self.contrasts:
            return
        for name in self.decides:
            asked = known[looked_at(name).question]
            if asked.direction != EXPECTED[self.holds]:
                way = {1: "increase", -1: "decrease", 0: "change"}[EXPECTED[self.holds]]
                raise self._error("holds", self.holds, f"question {asked.id} must expect: {way}")

    def _unseen(self, name: str, known: Mapping[str, Question]) -> str:
        """Why a name is not of what the study's answers tell; empty where it is."""
        look = looked_at(name)
        if look.question == HELDOUT:
            unchecked = (self.document.value.get("checks") or {}).get("plain") is False
            return "the study must have a plain run: leave `checks.plain` out" if unchecked else ""
        if look.question not in known:
            return f"no question of the study; one of {', '.join(known)}"
        return _unmeasured(look, known[look.question])

    def _misplaced(self, key: str, name: str) -> str:
        """Why a name that is known cannot stand under a key; empty where it can."""
        beside = looked_at(name).beside
        if key != "decides" and beside:
            return "what is told beside the answers can only decide: no question asks for it"
        if key == "decides" and beside and self.against:
            return "what is told beside the answers is `against` nothing: leave `against` out"
        if key == "decides" and beside != looked_at(self.decides[0]).beside:
            return "answers and what is told beside them do not decide together"
        return ""

    def _error(self, key: str, found: object, right: str) -> StudyError:
        own = self.id.removeprefix(f"{self.paper}-")
        field = key if self.alone else f"{own}.{key}"
        line = self.lines.get(key, self.lines["claim"])
        return StudyError([Problem(self.document.file, line, field, repr(found), right)])


def _unmeasured(look: Look, question: Question) -> str:
    """Why a question tells nothing of a part of it, or beside it; empty where it does."""
    if look.outcome is not None and look.outcome not in (known := told_beside(question)):
        right = nearest(look.outcome, known) if known else "nothing is"
        return f"not told beside the answer to {question.id}: {right}"
    measured = question.measure_at if isinstance(question, ItemQuestion) else ()
    if look.at is not None and look.at not in measured:
        return f"question {question.id} has no such `measure_at`"
    return ""


def read_claims(file: Path) -> tuple[Claim, ...]:
    """The claims in a file: one, or one a direction.

    Raises:
        StudyError: with everything that is wrong with it, but for its study.
    """
    document = parse(file)
    schema = _Directions if "directions" in document.value else _OneClaim
    try:
        keys = schema.model_validate(document.value)
    except ValidationError as error:
        raise StudyError(problem_of(document, e, schema) for e in error.errors()) from None
    problems = list(_unknown(document, keys))
    if problems:
        raise StudyError(problems)
    if isinstance(keys, _OneClaim):
        return (_claim(keys.id, keys, keys, document, ()),)
    return tuple(
        _claim(f"{keys.id}-{own.id}", keys, own, document, ("directions", number))
        for number, own in enumerate(keys.directions)
    )


def _claim(name: str, paper: _Paper, own: _Says, document: Document, place: Place) -> Claim:
    study = document.below("study")
    return Claim(
        id=name,
        paper=paper.id,
        title=paper.title,
        authors=paper.authors,
        year=paper.year,
        venue=paper.venue,
        arxiv=paper.arxiv,
        repo=paper.repo,
        site=str(paper.site),
        methods=tuple(own.methods),
        says=own.claim.strip(),
        decides=tuple(own.decides),
        against=tuple(own.against),
        smallest=own.smallest_effect,
        holds=own.holds,
        premise=tuple(own.premise),
        budget=paper.budget,
        note=paper.note.strip(),
        document=study,
        variants={one: study.overlaid("recipe", _recipe(document, one)) for one in paper.variants},
        lines={str(at[-1]): n for at, n in document.key_lines.items() if at[:-1] == place and at},
    )


def _recipe(document: Document, variant: str) -> Document:
    return document.below("variants").below(variant).below("recipe")


def _unknown(document: Document, keys: _OneClaim | _Directions) -> Iterator[Problem]:
    if keys.id != document.file.stem:
        yield document.problem(("id",), keys.id, f"the file's name, {document.file.stem}")
    if isinstance(keys, _OneClaim):
        yield from _unknown_names(document, (), keys, keys.variants)
        return
    seen = set[str]()
    for number, own in enumerate(keys.directions):
        if own.id in seen:
            yield document.problem(("directions", number, "id"), own.id, "stands twice")
        seen.add(own.id)
        yield from _unknown_names(document, ("directions", number), own, keys.variants)


def _unknown_names(
    document: Document, place: Place, own: _Says, variants: Collection[str]
) -> Iterator[Problem]:
    for number, name in enumerate(own.methods):
        if name not in methods():
            yield document.problem((*place, "methods", number), name, "no method has this name")
    for key, names in (
        ("decides", own.decides),
        ("against", own.against),
        ("premise", own.premise),
    ):
        for name in names:
            variant = looked_at(name).variant
            if variant is not None and variant not in variants:
                right = nearest(variant, variants) if variants else "there are none"
                yield document.problem((*place, key), name, f"no variant of the study: {right}")


@cache
def claims() -> dict[str, Claim]:
    """All claims of the ledger by id, those of a paper side by side."""
    return {one.id: one for file in sorted(FOLDER.glob("*.yaml")) for one in read_claims(file)}


def claims_named(name: str) -> tuple[Claim, ...]:
    """The claim of an id, or all claims of a paper's; none where it is neither."""
    return tuple(claim for claim in claims().values() if name in (claim.id, claim.paper))


def claim_names() -> dict[str, str]:
    """What claims can be asked for by, their own id or their paper's, each with the title."""
    known = claims().values()
    return {name: claim.title for claim in known for name in (claim.paper, claim.id)}


def claims_of(method: str) -> tuple[Claim, ...]:
    """The claims that a method carries."""
    return tuple(claim for claim in claims().values() if method in claim.methods)
