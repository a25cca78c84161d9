"""The parts of a study's corpus, and whether they hold what its questions want of them."""

from __future__ import annotations

from collections.abc import Iterator

from trainonce.stream.corpora import CorpusError
from trainonce.stream.corpus import Corpus
from trainonce.stream.mixture import Counts, Mixture
from trainonce.stream.parts import Parts, PartsError, divide
from trainonce.study.changes import MIXTURE
from trainonce.study.load import StudyDefinition
from trainonce.study.problems import Place, Problem, StudyError
from trainonce.study.questions import RunQuestion
from trainonce.study.recipe import Recipe


def find_parts(study: StudyDefinition, corpus: Corpus) -> Parts | None:
    """The parts that the recipe names; None where it names none.

    Raises:
        StudyError: when a pattern matches nothing, a part that a mixture reads is shorter than a
            sequence, or one that an outcome is about has no held-out documents to measure.
    """
    recipe = study.recipe
    if not recipe.parts:
        return None
    place: Place = ("recipe", "data", "parts")
    try:
        parts = divide(recipe.data, corpus, recipe.parts)
    except PartsError as error:
        place = (*place, error.part)
        found: object = list(recipe.parts[error.part])
        if error.pattern is not None:
            found = recipe.parts[error.part][error.pattern]
            numbered = (*place, error.pattern)
            place = numbered if numbered in study.document.lines else place
        raise StudyError([study.document.problem(place, found, str(error))]) from None
    except CorpusError as error:
        raise StudyError([study.document.problem(place, None, str(error))]) from None
    problems = [*_short(study, parts), *_unmeasured(study, parts)]
    if problems:
        raise StudyError(problems)
    return parts


def mixture_of(recipe: Recipe, parts: Parts | None) -> Mixture | None:
    """What the run of ``recipe`` reads, as its spec says it."""
    if recipe.mixture is None or parts is None:
        return None
    return Mixture(parts=parts.fingerprint, counts=recipe.mixture)


def _short(study: StudyDefinition, parts: Parts) -> Iterator[Problem]:
    """Mixtures that read a part in which there is not one sequence."""
    for place, counts in _mixtures(study):
        for name, _ in counts:
            if not parts.sequences(name, study.recipe.data.sequence):
                right = (
                    f"the part {name!r} has fewer training tokens than one sequence of "
                    f"{study.recipe.data.sequence}; give it more documents or no share"
                )
                yield study.document.problem(place, name, right)


def _mixtures(study: StudyDefinition) -> Iterator[tuple[Place, Counts]]:
    if study.recipe.mixture:
        yield ("recipe", "data", "mixture"), study.recipe.mixture
    for index, question in enumerate(study.questions):
        if isinstance(question, RunQuestion):
            place: Place = ("questions", index, "treatment", "change", MIXTURE)
            for number, arm in enumerate(question.arms):
                if arm.recipe.mixture and arm.recipe.mixture != study.recipe.mixture:
                    listed = (*place, number)
                    own = listed if listed in study.document.lines else place
                    yield own, arm.recipe.mixture


def _unmeasured(study: StudyDefinition, parts: Parts) -> Iterator[Problem]:
    """Outcomes of parts that no held-out document belongs to."""
    for index, question in enumerate(study.questions):
        if not isinstance(question, RunQuestion) or question.part is None:
            continue
        if not len(parts.heldout_blocks(question.part, study.recipe.data.sequence)):
            right = (
                f"no held-out document of the part {question.part!r} is as long as a sequence; "
                "give it more documents, or hold out more with `recipe.data.heldout`"
            )
            yield study.document.problem(
                ("questions", index, "outcome"), question.outcome.name, right
            )
