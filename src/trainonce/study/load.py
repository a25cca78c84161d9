"""From a study file to a checked study; all that is wrong with the file is said at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainonce.methods.probe.loss.heldout_loss import of_part
from trainonce.methods.registry import Outcome, methods, probe_of
from trainonce.sites import Site
from trainonce.stream.parts import REST
from trainonce.study.changes import MIXTURE, change_arms, length_arms
from trainonce.study.ladders import ladder_arms, small_arm
from trainonce.study.own_files import from_folder, missing_files, settings_beside
from trainonce.study.problems import Place, Problem, StudyError, nearest
from trainonce.study.questions import (
    DIRECTIONS,
    Arm,
    CorpusQuestion,
    ItemQuestion,
    RunQuestion,
    StopEarly,
)
from trainonce.study.recipe import Recipe, resolve
from trainonce.study.recipe_keys import RecipeKeys
from trainonce.study.schema import AA, QuestionKeys, StudyKeys
from trainonce.study.trackers import Tracker
from trainonce.study.translate import problem_of
from trainonce.study.yaml_lines import Document, parse
from trainonce.tasks.specs.measurements import HELDOUT_PROBE

_MARKS = 2  # an insertion opens and closes with the end-of-text token


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
    questions: tuple[CorpusQuestion, ...]
    plain: bool
    tracking: tuple[Tracker, ...]
    document: Document

    def problem(self, question: str, field: str, found: object, right: str) -> Problem:
        """A problem with ``field`` of a question's treatment."""
        return self.problem_at(question, ("treatment", field), found, right)

    def problem_at(self, question: str, place: Place, found: object, right: str) -> Problem:
        """A problem at ``place`` of a question."""
        index = [question.id for question in self.questions].index(question)
        return self.document.problem(("questions", index, *place), found, right)


def load(file: Path, text: str | None = None) -> StudyDefinition:
    """Read and check a study file.

    Args:
        file: the study file.
        text: what it held, in place of what it holds now, as a saved plan remembers it.

    Raises:
        StudyError: with every problem of the file.
    """
    return load_document(parse(file, text))


def load_document(document: Document) -> StudyDefinition:
    """Check a study that was read.

    Raises:
        StudyError: with every problem of it.
    """
    problems: list[Problem] = []
    keys: StudyKeys | None = None
    context = {"folder": document.file.parent}
    try:
        keys = StudyKeys.model_validate(document.value, context=context)
    except ValidationError as error:
        problems += [problem_of(document, details, StudyKeys) for details in error.errors()]
    problems += _twice(document)
    recipe = None
    try:
        raw_recipe = document.value.get("recipe") or {}
        own_keys = RecipeKeys.model_validate(raw_recipe, context=context)
        recipe = resolve(own_keys, document.file.parent)
    except ValidationError:
        pass  # reported with the file
    questions: list[CorpusQuestion] = []
    for index, raw in enumerate(_raw_questions(document)):
        try:
            own = QuestionKeys.model_validate(raw)
        except ValidationError:
            continue  # reported with the file
        try:
            questions.append(_question(document, index, own, recipe))
        except StudyError as error:
            problems += error.problems
    if recipe is not None:
        problems += _too_long(document, recipe, questions)
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


def placebo() -> ItemQuestion:
    """The A/A question that every study asks unasked."""
    known = methods(Site.DATA)["placebo"]
    outcome = next(outcome for outcome in probe_of(known).outcomes if outcome.name == "loss")
    return ItemQuestion(
        id=AA,
        ask="Do doses of nothing have an effect? (A/A: they must not)",
        method=known,
        treatment=known.cls(),
        outcome=outcome,
        direction=0,
        smallest=_NULL,
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


def _question(
    document: Document, index: int, keys: QuestionKeys, recipe: Recipe | None
) -> CorpusQuestion:
    place: Place = ("questions", index)
    problems = list(_misplaced(document, place, keys))
    question: CorpusQuestion | None = None
    try:
        if keys.treatment.method is not None:
            question = _item_question(document, place, keys, keys.treatment.method)
        else:
            question = _run_question(document, place, keys, recipe)
    except StudyError as error:
        problems += error.problems
    if problems or question is None:
        raise StudyError(problems)
    return question


def _misplaced(document: Document, place: Place, keys: QuestionKeys) -> Iterator[Problem]:
    """Keys that belong to another kind of question."""
    items, given = keys.treatment.method is not None, keys.model_fields_set
    for name in ("lane", "window", "measure_at"):
        if name in given and not items:
            right = "belongs to questions that insert items (`treatment: {method: ...}`)"
            yield document.problem((*place, name), None, right)
    if "at" in given and keys.treatment.change is None:
        right = "belongs to `treatment: {change: ...}`" + (
            "; items are inserted late with `window: [50%, 100%]`" if items else ""
        )
        yield document.problem((*place, "at"), None, right)
    if "stop" in given and items:
        right = "belongs to `treatment: {change: ...}`: items are no runs that could be stopped"
        yield document.problem((*place, "stop"), None, right)
    if "check" in given and MIXTURE not in (keys.treatment.change or {}):
        right = f"belongs to questions about mixtures (`treatment: {{change: {{{MIXTURE}: ...}}}}`)"
        yield document.problem((*place, "check"), None, right)
    for name in ("ladder", "small"):
        if name in given and keys.treatment.change is None:
            right = "belongs to `treatment: {change: ...}`"
            yield document.problem((*place, name), None, right)
    if not items:
        for name in keys.treatment.model_extra or {}:
            right = "treatment has no such key beside change and lengths"
            yield document.problem((*place, "treatment", name), name, right)
    if keys.how in keys.forbidden:
        right = f"`not` holds {keys.how!s} too: nothing is left"
        yield document.problem((*place, "how"), str(keys.how), right)


def _outcome(
    document: Document, place: Place, keys: QuestionKeys, known: tuple[Outcome, ...]
) -> Outcome:
    outcomes = {outcome.name: outcome for outcome in known}
    wanted = keys.outcome or next(iter(outcomes))
    if wanted not in outcomes:
        right = nearest(wanted, outcomes)
        raise StudyError([document.problem((*place, "outcome"), wanted, right)])
    if outcomes[wanted].over:
        deciding = ", ".join(name for name, outcome in outcomes.items() if not outcome.over)
        right = f"an outcome that compares doses: {deciding}; this one is told beside it anyway"
        raise StudyError([document.problem((*place, "outcome"), wanted, right)])
    return outcomes[wanted]


def _run_question(
    document: Document, place: Place, keys: QuestionKeys, recipe: Recipe | None
) -> RunQuestion:
    problems: list[Problem] = []
    treatment = (*place, "treatment")
    change, lengths = keys.treatment.change, keys.treatment.lengths
    try:
        if change is not None:
            arms = change_arms(document, (*treatment, "change"), change, keys.at, recipe)
        else:
            arms = length_arms(document, (*treatment, "lengths"), lengths or [], recipe)
    except StudyError as error:
        problems += error.problems
    ladder: tuple[Arm, ...] = ()
    try:
        if keys.ladder is not None and change is not None and not problems:
            ladder = ladder_arms(document, (*place, "ladder"), keys.ladder, arms, recipe)
    except StudyError as error:
        problems += error.problems
    parts = _parts_asked(keys, recipe)
    try:
        known = (*methods(Site.PROBE)[HELDOUT_PROBE].outcomes, *parts)
        outcome = _outcome(document, place, keys, known)
    except StudyError as error:
        problems += error.problems
    if problems:
        raise StudyError(problems)
    asked = (
        f"Does another {' and '.join(change)} change {outcome.name}?"
        if change
        else f"What does a shorter run cost in {outcome.name}?"
    )
    return RunQuestion(
        id=keys.id,
        ask=keys.ask or asked,
        outcome=outcome,
        direction=DIRECTIONS[keys.expect] if keys.expect else outcome.direction,
        smallest=keys.smallest_effect or outcome.smallest,
        how=keys.how,
        forbidden=tuple(keys.forbidden),
        kind="lengths" if change is None else "change",
        base="the whole length" if change is None else "the base run",
        arms=arms,
        late=keys.at > 0,
        stop=_stop(document, place, keys, len(arms), parts.get(outcome)),
        part=parts.get(outcome),
        check=keys.check,
        ladder=ladder,
        small=small_arm(document, keys.small, recipe) if keys.small else None,
        changed=tuple(dict.fromkeys(key.partition(".")[0] for key in change or ("length",))),
    )


def _stop(
    document: Document, place: Place, keys: QuestionKeys, arms: int, part: str | None
) -> StopEarly | None:
    """What ``stop`` says, where there is something to stop: arms that run beside each other."""
    if keys.stop is None:
        return None
    right, changed = None, {key.partition(".")[0] for key in keys.treatment.change or {}}
    if keys.treatment.lengths is not None or "length" in changed:
        right = "lengths are not rivals, so that none of them loses"
    elif keys.at:
        right = "an arm that leaves late has no finished curves like its own to be judged by"
    elif "objective" in changed:
        right = "the training losses of different objectives tell nothing about each other"
    elif MIXTURE in (keys.treatment.change or {}):
        right = "the training losses on different mixtures tell nothing about each other"
    elif keys.ladder is not None or keys.small is not None:
        right = "an arm with a `ladder` or a `small` run need not be trained"
    elif part is not None:
        right = "arms are stopped by the loss on all held-out documents, not on a part of them"
    elif arms == 1:
        right = "one arm has no rival; give `change` a list of values"
    if right is not None:
        found = document.problem((*place, "stop"), None, f"{right}; else leave `stop` away")
        raise StudyError([found])
    return StopEarly(chance=keys.stop.early, rungs=tuple(keys.stop.rungs))


def _parts_asked(keys: QuestionKeys, recipe: Recipe | None) -> dict[Outcome, str]:
    """The outcomes that are of one part; any part will do where the recipe cannot be read."""
    if recipe is None:
        names = [(keys.outcome or "").partition("/")[2]]
    else:
        names = [*recipe.parts, REST] if recipe.parts else []
    return {of_part(name): name for name in names}


def _item_question(document: Document, place: Place, keys: QuestionKeys, name: str) -> ItemQuestion:
    treatments = {name: known for name, known in methods(Site.DATA).items() if known.probe}
    treatments.pop("placebo")
    known = treatments.get(name)
    if known is None:
        at = _method_place(document, place)
        raise StudyError([document.problem(at, name, nearest(name, treatments))])
    problems: list[Problem] = []
    treatment: Any = None
    settings = dict(keys.treatment.model_extra or {})
    problems += settings_beside(document, place, known, settings)
    try:
        treatment = known.adapter.validate_python(settings)
    except ValidationError as error:
        problems += [
            problem_of(document, details, known.cls, (*place, "treatment"))
            for details in error.errors()
        ]
    try:
        outcome = _outcome(document, place, keys, probe_of(known).outcomes)
    except StudyError as error:
        problems += error.problems
    if treatment is not None:
        treatment = from_folder(treatment, document.file.parent)
        problems += missing_files(document, place, treatment)
    if problems or treatment is None:
        raise StudyError(problems)
    return ItemQuestion(
        id=keys.id,
        ask=keys.ask or f"Does {name} change {outcome.name}?",
        method=known,
        treatment=treatment,
        outcome=outcome,
        direction=DIRECTIONS[keys.expect] if keys.expect else outcome.direction,
        smallest=keys.smallest_effect or outcome.smallest,
        lane=keys.lane,
        window=keys.window,
        measure_at=tuple(keys.measure_at),
        how=keys.how,
        forbidden=tuple(keys.forbidden),
    )


def _method_place(document: Document, place: Place) -> Place:
    named = (*place, "treatment", "method")
    return named if named in document.lines else (*place, "treatment")


def _too_long(
    document: Document, recipe: Recipe, questions: list[CorpusQuestion]
) -> Iterator[Problem]:
    identities = [raw.get("id") for raw in _raw_questions(document) if isinstance(raw, dict)]
    for question in questions:
        if not isinstance(question, ItemQuestion):
            continue
        longest, sequence = question.treatment.longest, recipe.data.sequence
        if longest is not None and longest + _MARKS > sequence:
            place: Place = ("questions", identities.index(question.id), "treatment")
            yield document.problem(
                place,
                f"an item of {longest} tokens",
                f"an item with its {_MARKS} end-of-text marks must fit a sequence, and "
                f"recipe.data.sequence is {sequence}; make the item shorter or the sequence longer",
            )
