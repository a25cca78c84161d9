"""From a study file to a checked study; all that is wrong with the file is said at once."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from trainonce.methods.registry import Method, Outcome, methods, probe_of
from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.sites import ItemTreatment, SettingError, Site
from trainonce.stream import smollm2
from trainonce.stream.corpora import CorpusSource
from trainonce.stream.corpus import DataSettings
from trainonce.study.problems import Place, Problem, StudyError, nearest
from trainonce.study.schema import AA, QuestionKeys, RecipeKeys, StudyKeys
from trainonce.study.trackers import Tracker
from trainonce.study.yaml_lines import Document, parse
from trainonce.train.schedules import Schedule
from trainonce.train.settings import AdamWSettings, CheckpointSettings, OnNan, ProcessSettings

_DIRECTIONS = {"increase": 1, "decrease": -1, "change": 0}
_MARKS = 2  # an insertion opens and closes with the end-of-text token


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Model, data, optimizer, schedule and length of a base run, run once at each seed.

    No result depends on ``checkpoints``, which says when a run saves its state.
    """

    data: DataSettings
    attention: Literal["across", "within"]
    model: str | DecoderSettings
    optimizer: AdamWSettings
    schedule: Schedule
    batch: int
    steps: int
    clip: float
    precision: str
    accumulate: int
    on_nan: OnNan
    processes: ProcessSettings | None
    recompute: bool
    checkpoints: CheckpointSettings
    seeds: tuple[int, ...]
    allow_changed: float

    @property
    def rows(self) -> int:
        """Sequences that a run reads."""
        return self.steps * self.batch

    @property
    def tokens(self) -> int:
        """Tokens that a run reads."""
        return self.rows * self.data.sequence


@dataclass(frozen=True, kw_only=True)
class Question:
    """A treatment, what it is compared with (its own dose 0), and the outcome that decides.

    Attributes:
        id: its name in the study.
        ask: the question as the user asks it.
        method: the treatment's method.
        treatment: the method with its settings.
        outcome: the outcome that decides.
        direction: +1, -1 or 0: where the effect is expected.
        smallest: the smallest effect of interest.
        lane: see `trainonce.stream.lanes`.
    """

    id: str
    ask: str
    method: Method
    treatment: ItemTreatment
    outcome: Outcome
    direction: int
    smallest: float
    lane: int

    @property
    def settings(self) -> dict[str, Any]:
        """The treatment's settings as plain JSON data."""
        adapter: TypeAdapter[Any] = TypeAdapter(self.method.cls)
        return dict(adapter.dump_python(self.treatment, mode="json"))


@dataclass(frozen=True, kw_only=True)
class StudyDefinition:
    """A checked study.

    Attributes:
        title: what the study is called.
        recipe: the base run.
        questions: in the order of the file; the A/A question is not among them.
        plain: whether a trunk without insertions is trained as a check.
        tracking: what runs are tracked with.
        document: the file, for messages that name lines.
    """

    title: str
    recipe: Recipe
    questions: tuple[Question, ...]
    plain: bool
    tracking: tuple[Tracker, ...]
    document: Document

    def problem(self, question: str, field: str, found: object, right: str) -> Problem:
        """A problem with ``field`` of a question's treatment."""
        index = [question.id for question in self.questions].index(question)
        return self.document.problem(("questions", index, "treatment", field), found, right)


def load(file: Path) -> StudyDefinition:
    """Read and check a study file.

    Raises:
        StudyError: with every problem of the file.
    """
    document = parse(file)
    problems: list[Problem] = []
    keys: StudyKeys | None = None
    context = {"folder": document.file.parent}
    try:
        keys = StudyKeys.model_validate(document.value, context=context)
    except ValidationError as error:
        problems += [_problem(document, details, StudyKeys) for details in error.errors()]
    problems += _twice(document)
    questions = []
    for index, raw in enumerate(_raw_questions(document)):
        try:
            own = QuestionKeys.model_validate(raw)
        except ValidationError:
            continue  # reported with the file
        try:
            questions.append(_question(document, index, own))
        except StudyError as error:
            problems += error.problems
    recipe = None
    try:
        raw_recipe = document.value.get("recipe") or {}
        recipe = _recipe(document, RecipeKeys.model_validate(raw_recipe, context=context))
        problems += _too_long(document, recipe, questions)
    except ValidationError:
        pass  # reported with the file
    if problems or keys is None or recipe is None:
        raise StudyError(problems)
    return StudyDefinition(
        title=keys.study,
        recipe=recipe,
        questions=tuple(questions),
        plain=keys.checks.plain,
        tracking=tuple(keys.tracking),
        document=document,
    )


_NULL = 0.3  # nats: with 320 items a dose, a null effect is told from this in 9 studies of 10


def placebo() -> Question:
    """The A/A question that every study asks unasked."""
    known = methods(Site.DATA)["placebo"]
    outcome = next(outcome for outcome in probe_of(known).outcomes if outcome.name == "loss")
    return Question(
        id=AA,
        ask="Do doses of nothing have an effect? (A/A: they must not)",
        method=known,
        treatment=known.cls(),
        outcome=outcome,
        direction=0,
        smallest=_NULL,
        lane=0,
    )


def _raw_questions(document: Document) -> list[Any]:
    questions = document.value.get("questions")
    return questions if isinstance(questions, list) else []


def _twice(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, raw in enumerate(_raw_questions(document)):
        name = raw.get("id") if isinstance(raw, dict) else None
        place: Place = ("questions", index, "id")
        if name == AA:
            yield document.problem(place, AA, "another id: every study asks this one unasked")
        elif isinstance(name, str) and name in seen:
            yield document.problem(place, name, f"another id: line {seen[name]} has this one")
        elif isinstance(name, str):
            seen[name] = document.key_lines[place]


def _question(document: Document, index: int, keys: QuestionKeys) -> Question:
    place: Place = ("questions", index)
    treatments = {name: known for name, known in methods(Site.DATA).items() if known.probe}
    treatments.pop("placebo")
    name = keys.treatment.method
    known = treatments.get(name)
    if known is None:
        at = _method_place(document, place)
        raise StudyError([document.problem(at, name, nearest(name, treatments))])
    problems: list[Problem] = []
    treatment: Any = None
    settings = dict(keys.treatment.model_extra or {})
    try:
        treatment = TypeAdapter(known.cls).validate_python(settings)
    except ValidationError as error:
        problems += [
            _problem(document, details, known.cls, (*place, "treatment"))
            for details in error.errors()
        ]
    outcomes = {outcome.name: outcome for outcome in probe_of(known).outcomes}
    wanted = keys.outcome or next(iter(outcomes))
    if wanted not in outcomes:
        right = nearest(wanted, outcomes)
        problems.append(document.problem((*place, "outcome"), wanted, right))
    if treatment is not None:
        treatment = _beside_the_study(treatment, document.file.parent)
        problems += _missing_files(document, place, treatment)
    if problems or treatment is None:
        raise StudyError(problems)
    outcome = outcomes[wanted]
    return Question(
        id=keys.id,
        ask=keys.ask or f"Does {name} change {outcome.name}?",
        method=known,
        treatment=treatment,
        outcome=outcome,
        direction=_DIRECTIONS[keys.expect] if keys.expect else outcome.direction,
        smallest=keys.smallest_effect or outcome.smallest,
        lane=keys.lane,
    )


def _method_place(document: Document, place: Place) -> Place:
    named = (*place, "treatment", "method")
    return named if named in document.lines else (*place, "treatment")


def _beside_the_study(treatment: Any, folder: Path) -> Any:
    """Read relative paths from the study's own folder."""
    moved = {
        field.name: (folder / value.expanduser()).resolve()
        for field in dataclasses.fields(treatment)
        if isinstance(value := getattr(treatment, field.name), Path)
    }
    return dataclasses.replace(treatment, **moved)


def _missing_files(document: Document, place: Place, treatment: Any) -> Iterator[Problem]:
    for field in dataclasses.fields(treatment):
        value = getattr(treatment, field.name)
        if isinstance(value, Path) and not value.is_file():
            at = (*place, "treatment", field.name)
            yield document.problem(at, str(value), "there is no such file")


def _recipe(document: Document, keys: RecipeKeys) -> Recipe:
    folder = document.file.parent
    tokenizer = keys.data.tokenizer
    return Recipe(
        data=DataSettings(
            corpus=CorpusSource(**keys.data.corpus.model_dump()),
            tokenizer=_local(tokenizer.name, folder) or tokenizer.vocabulary,
            sequence=keys.data.sequence,
            heldout=keys.data.heldout,
        ),
        attention=keys.data.attention,
        model=(
            model
            if isinstance(model := keys.model.resolved(), DecoderSettings)
            else _local(model, folder) or model
        ),
        optimizer=keys.optimizer.resolved(),
        schedule=keys.schedule.resolved(),
        batch=keys.batch,
        steps=keys.length.steps(keys.batch, keys.data.sequence),
        clip=keys.clip,
        precision=keys.precision,
        accumulate=keys.accumulate,
        on_nan=keys.on_nan,
        processes=keys.processes.resolved(),
        recompute=keys.recompute,
        checkpoints=keys.checkpoints.resolved(),
        seeds=tuple(keys.seeds),
        allow_changed=keys.allow_changed,
    )


def _local(name: str | None, folder: Path) -> str | None:
    """A name as it is, or as the absolute path of the folder beside the study that it means.

    Names of our own keep their meaning, whatever lies beside the study.
    """
    if name is None or name in SIZES or name == smollm2.NAME:
        return name
    local = (folder / Path(name).expanduser()).resolve()
    return str(local) if local.is_dir() else name


def _too_long(document: Document, recipe: Recipe, questions: list[Question]) -> Iterator[Problem]:
    identities = [raw.get("id") for raw in _raw_questions(document) if isinstance(raw, dict)]
    for question in questions:
        longest, sequence = question.treatment.longest, recipe.data.sequence
        if longest is not None and longest + _MARKS > sequence:
            place: Place = ("questions", identities.index(question.id), "treatment")
            yield document.problem(
                place,
                f"an item of {longest} tokens",
                f"an item with its {_MARKS} end-of-text marks must fit a sequence, and "
                f"recipe.data.sequence is {sequence}; make the item shorter or the sequence longer",
            )


def _problem(document: Document, details: ErrorDetails, schema: type, base: Place = ()) -> Problem:
    """A pydantic error in our words, at the place that the user has to mend."""
    place: Place = (*base, *details["loc"])
    kind, found = details["type"], details["input"]
    inner = details.get("ctx", {}).get("error")
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known_keys(schema, details["loc"][:-1])
        parent = "the file" if len(place) == 1 else str(place[-2])
        right = f"{parent} has no such key; {nearest(str(place[-1]), known)}"
        return document.problem(place, place[-1], right)
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return document.problem(place, None, "is missing")
    if isinstance(inner, SettingError):
        place = (*place, inner.field)
        value = found.get(inner.field) if isinstance(found, dict) else found
        shown = _value_at(document.value, place, value)
        return document.problem(place, shown, str(inner))
    right = str(inner) if inner is not None else details["msg"]
    while place and place not in document.lines:
        place = place[:-1]  # a place inside a validator is none that the user wrote
    return document.problem(place, found, right[:1].lower() + right[1:])


def _value_at(value: Any, place: Place, otherwise: Any) -> Any:
    for part in place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return otherwise if not isinstance(otherwise, dict) else None
    return value


def _known_keys(schema: Any, place: Place) -> list[str]:
    """The keys that the schema has at ``place``."""
    for part in place:
        if isinstance(part, str):
            model = _model_in(schema)
            schema = model.model_fields[part].annotation if model else None
        else:
            schema = next(iter(typing.get_args(schema)), None)
    model = _model_in(schema)
    if model is not None:
        return list(model.model_fields)
    if dataclasses.is_dataclass(schema):
        return [field.name for field in dataclasses.fields(schema)]
    return []


def _model_in(schema: Any) -> type[BaseModel] | None:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema
    if typing.get_origin(schema) in (typing.Annotated, typing.Union, types.UnionType):
        for argument in typing.get_args(schema):
            if (model := _model_in(argument)) is not None:
                return model
    return None
