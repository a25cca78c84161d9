"""Fork: what acts late leaves another run where it begins to act, and shares all before that."""

from __future__ import annotations

from dataclasses import replace

from trainonce.plan.offers import Offer, Refusal, Refused
from trainonce.study.questions import ItemQuestion, Question, RunQuestion
from trainonce.study.recipe import Recipe
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import Fork, TrainSpec, Treated


def offer(question: Question, recipe: Recipe) -> Offer | Refusal:
    """The steps that arms train after they left, as run-equivalents."""
    if isinstance(question, RunQuestion) and all(arm.since for arm in question.arms):
        steps = sum(arm.recipe.steps - arm.since for arm in question.arms)
    elif isinstance(question, ItemQuestion) and (step := first_step(question, recipe)):
        steps = recipe.steps - step
    else:
        mend = "`window: [50%, 100%]`" if isinstance(question, ItemQuestion) else "`at: 60%`"
        why = f"it acts from step 0, so that there is nothing to share before; say when with {mend}"
        return Refusal(strategy=Strategy.FORK, code=Refused.STARTS_AT_0, why=why)
    return Offer(strategy=Strategy.FORK, run_equivalents=steps / recipe.steps)


def arms(
    question: RunQuestion, trunk: TrainSpec, runs: tuple[TrainSpec, ...]
) -> tuple[TrainSpec, ...]:
    """The runs of the arms, each leaving ``trunk`` where it begins to differ.

    Args:
        question: whose arms they are.
        trunk: the run that they leave.
        runs: the arms as runs of their own.
    """
    return tuple(
        replace(run, fork=Fork(trunk, arm.since))
        for arm, run in zip(question.arms, runs, strict=True)
    )


def own(question: ItemQuestion, plain: TrainSpec, treated: Treated, recipe: Recipe) -> TrainSpec:
    """The plain run, with the items of one question from the beginning of their window on."""
    return replace(plain, treatments=(treated,), fork=Fork(plain, first_step(question, recipe)))


def first_step(question: ItemQuestion, recipe: Recipe) -> int:
    """Steps done before the window of ``question`` begins; the next one may read its items."""
    return round(question.window[0] * recipe.rows) // recipe.batch
