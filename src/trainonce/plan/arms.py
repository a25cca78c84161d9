"""What the arms of questions about runs have of their own, and the rungs of their ladders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainonce.models.build import ModelError
from trainonce.plan.base import model_files, model_of, refuse_too_large, size_of, train_settings
from trainonce.plan.design import ArmNumbers
from trainonce.plan.parts import mixture_of
from trainonce.stream import smollm2
from trainonce.stream.corpus import Corpus
from trainonce.stream.parts import Parts
from trainonce.study.load import StudyDefinition
from trainonce.study.problems import StudyError
from trainonce.study.questions import RunQuestion
from trainonce.study.recipe import Recipe
from trainonce.study.schema import FEWEST_RUNGS


def ladder_numbers(
    study: StudyDefinition,
    question: RunQuestion,
    rungs: tuple[ArmNumbers, ...],
    arm: ArmNumbers,
) -> tuple[ArmNumbers, ...]:
    """The rungs, whose sizes with the data's own vocabulary a law can be fitted to."""
    sizes = {rung.parameters for rung in rungs}
    shown = ", ".join(f"{size:,}" for size in sorted(sizes))
    below = sum(size < arm.parameters for size in sizes - {rungs[0].parameters})
    if below < FEWEST_RUNGS:
        right = (
            f"{FEWEST_RUNGS} rungs at least with different numbers of parameters, the base run's "
            f"aside, and fewer than the arm's {arm.parameters:,}"
        )
        raise StudyError([study.problem_at(question.id, ("ladder",), shown, right)])
    return rungs


def arm_numbers(
    study: StudyDefinition,
    question: RunQuestion,
    recipes: Sequence[Recipe],
    corpus: Corpus,
    parts: Parts | None,
    home: Path,
) -> tuple[ArmNumbers, ...]:
    """What runs with ``recipes`` have of their own.

    Raises:
        StudyError: when a model cannot be had.
    """
    base = model_of(study, study.recipe, home)
    size, base_files = size_of(study.recipe, base, corpus), model_files(base)
    found = []
    for recipe in recipes:
        model, files, own = base, base_files, size
        if recipe.model != study.recipe.model:
            try:
                model = model_of(study, recipe, home)
                files, own = model_files(model), size_of(recipe, model, corpus)
            except (ModelError, smollm2.NotInstalledError) as error:
                raise _arm_problem(study, question, recipe, str(error)) from None
        found.append(
            ArmNumbers(
                train=train_settings(recipe, home),
                model=model,
                model_files=files,
                objective=recipe.objective,
                weight=own / size,
                parameters=own,
                mixture=mixture_of(recipe, parts),
            )
        )
    return tuple(found)


def _arm_problem(
    study: StudyDefinition, question: RunQuestion, recipe: Recipe, right: str
) -> StudyError:
    """A model that cannot be had, at the key that names it."""
    small = question.small is not None and question.small.recipe == recipe
    place = ("small",) if small else ("treatment", "change")
    return StudyError([study.problem_at(question.id, place, recipe.model, right)])


def refuse_large_arms(
    study: StudyDefinition, question: RunQuestion, numbers: Sequence[ArmNumbers]
) -> None:
    """Refuse arms whose models cannot be trained here.

    Raises:
        StudyError: naming the arm, and what would help.
    """
    for arm, own in zip(question.arms, numbers, strict=True):
        try:
            refuse_too_large(own.parameters, arm.recipe)
        except ModelError as error:
            place = ("treatment", "change")
            right = f"{error}; or have it predicted from smaller ones: `ladder: [...]`"
            raise StudyError([study.problem_at(question.id, place, arm.label, right)]) from None
