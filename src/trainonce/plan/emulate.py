"""Emulate: a late change to a large run is acted out by what it does to a small one.

The large model's logits move by the difference that the change makes to the small model's
(arXiv 2401.08565, 2310.12962). For one seed the change is really made to the large run, as a check.
"""

from __future__ import annotations

from trainonce.plan.offers import Offer, Refusal, Refused
from trainonce.plan.sizes import weight
from trainonce.study.questions import Arm, Question, RunQuestion
from trainonce.study.recipe import Recipe
from trainonce.study.schema import Strategy


def offer(question: Question, recipe: Recipe) -> Offer | Refusal:
    """The small run, its arms after they left it, and one seed's arm for real."""
    if not isinstance(question, RunQuestion) or question.small is None:
        return _refusal(
            Refused.NO_SMALL,
            "it names no small model to make the change to; a late `change` can, with `small: "
            "{width: 32, layers: 2, heads: 2}`",
        )
    if not question.late:
        return _refusal(
            Refused.STARTS_AT_0,
            "it acts from step 0: what is carried over is a late change, whose small model was "
            "trained without it before; say when with `at: 60%`",
        )
    size = _below(question.small, recipe)
    if size is None:
        return _refusal(
            Refused.NOT_SMALLER,
            f"its small model ({question.small.label}) is not smaller than the base run's",
        )
    late = sum(arm.recipe.steps - arm.since for arm in question.arms) / recipe.steps
    last = question.arms[-1]
    real = (last.recipe.steps - last.since) / recipe.steps / len(recipe.seeds)
    return Offer(strategy=Strategy.EMULATE, run_equivalents=size * (1 + late) + real)


def _refusal(code: Refused, why: str) -> Refusal:
    return Refusal(strategy=Strategy.EMULATE, code=code, why=why)


def _below(small: Arm, recipe: Recipe) -> float | None:
    """The weight of the small model, None where it is none."""
    size = weight(small.recipe.model, recipe)
    return size if size is not None and size < 1 else None
