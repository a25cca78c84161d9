"""Replicate: every arm is a run of its own from step 0, beside the base run of the same seed."""

from __future__ import annotations

from trainonce.plan.offers import Offer, Refusal, Refused
from trainonce.plan.sizes import weight
from trainonce.study.questions import Question, RunQuestion
from trainonce.study.recipe import Recipe
from trainonce.study.schema import Strategy


def offer(question: Question, recipe: Recipe) -> Offer | Refusal:
    """A whole run an arm, or one for a question that inserts items."""
    if not isinstance(question, RunQuestion):
        return Offer(strategy=Strategy.REPLICATE, run_equivalents=1.0)
    if question.late:
        why = (
            "it acts late: up to there an arm is the base run, bit by bit, and training that again "
            "gives nothing"
        )
        return Refusal(strategy=Strategy.REPLICATE, code=Refused.STARTS_LATE, why=why)
    steps = sum(
        arm.recipe.steps * (weight(arm.recipe.model, recipe) or 1.0) for arm in question.arms
    )
    return Offer(strategy=Strategy.REPLICATE, run_equivalents=steps / recipe.steps)
