"""Extrapolate: a large run is predicted from a ladder of smaller ones, by a scaling law.

What is predicted is the loss at the end of a run, where the learning rate has decayed, so the law
is fitted to such ends alone: states on the stable stretch of a schedule lie above them by what the
decay is worth. For another size at the base run's length it is the law of size. For a longer run
every rung, and the base run, is also decayed to shorter lengths, which leave it on its stable
stretch (Hägele et al. 2024, arXiv 2405.18392), and the law is Chinchilla's, of size and tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainonce.plan.offers import Offer, Refusal, Refused
from trainonce.plan.sizes import weight
from trainonce.study.changes import shorter
from trainonce.study.questions import Arm, Question, RunQuestion
from trainonce.study.recipe import Recipe
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import Fork, TrainSpec
from trainonce.train.schedules import WarmupStableDecay

SHORTER = (0.25, 0.4, 0.65)
"""Shares of the length that rungs are also decayed to: a law of tokens has three numbers, and the
whole length is left out of the fit that tests it."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A run of the ladder.

    Attributes:
        label: its size, and its length where it is shorter.
        recipe: its own.
        size: number of the run of this size and the whole length; 0 is the base run.
        since: the step after which it leaves that run; None for one that trains from step 0.
    """

    label: str
    recipe: Recipe
    size: int
    since: int | None = None


def offer(question: Question, recipe: Recipe) -> Offer | Refusal:
    """The runs of the ladder, but for the base run itself."""
    if not isinstance(question, RunQuestion) or not question.ladder:
        return _refusal(
            Refused.NO_LADDER,
            "it names no smaller runs to predict from; a `change` to a larger model or a longer "
            "run can, with `ladder: [25%, 35%, 50%, 70%]`",
        )
    if refused := _refused(question, recipe):
        return refused
    steps = sum(
        (rung.recipe.steps - (rung.since or 0)) * (weight(rung.recipe.model, recipe) or 1.0)
        for rung in rungs(question, recipe)[1:]
    )
    return Offer(strategy=Strategy.EXTRAPOLATE, run_equivalents=steps / recipe.steps)


def rungs(question: RunQuestion, recipe: Recipe) -> tuple[Rung, ...]:
    """The runs that the law is fitted to: the base run, one a size, and shorter ones of each."""
    base = Arm(label=question.base, recipe=recipe, since=0)
    sizes = [
        Rung(label=arm.label, recipe=arm.recipe, size=number)
        for number, arm in enumerate((base, *question.ladder))
    ]
    if not _longer(question, recipe):
        return tuple(sizes)
    ends = [
        Rung(label=f"{rung.label}, {arm.label}", recipe=arm.recipe, size=rung.size, since=arm.since)
        for rung in sizes
        for arm in _shorter(rung.recipe)
    ]
    return (*sizes, *ends)


def runs(found: Sequence[Rung], alone: Sequence[TrainSpec]) -> tuple[TrainSpec, ...]:
    """The runs of a ladder, the shorter ones leaving the whole one of their size.

    Args:
        found: the ladder.
        alone: each rung as a run of its own.
    """
    return tuple(
        replace(run, fork=Fork(alone[rung.size], rung.since)) if rung.since else run
        for rung, run in zip(found, alone, strict=True)
    )


def _refused(question: RunQuestion, recipe: Recipe) -> Refusal | None:
    (arm,) = question.arms
    if replace(arm.recipe, model=recipe.model, steps=recipe.steps) != recipe:
        return _refusal(
            Refused.OTHER_CHANGE,
            "it changes more than `model` and `length`, which a scaling law says nothing about",
        )
    size, longer = weight(arm.recipe.model, recipe), _longer(question, recipe)
    if size is None or size < 1 or (size == 1 and not longer):
        return _refusal(
            Refused.NOT_LARGER,
            "its arm is no larger and no longer than the base run: a ladder leads upwards",
        )
    if longer and not _shorter(recipe):
        return _refusal(
            Refused.SCHEDULE,
            "a longer run is predicted from lengths that leave a stable learning rate and decay: "
            "set `recipe.schedule` to wsd with a decay, and a warm-up that ends by "
            f"{100 * SHORTER[0]:g}% of the length less the decay",
        )
    tall = [rung.label for rung in question.ladder if not _below(rung, size, recipe)]
    if tall:
        return _refusal(
            Refused.NOT_SMALLER,
            f"rungs must be smaller than the arm, and these are not: {'; '.join(tall)}",
        )
    return None


def _refusal(code: Refused, why: str) -> Refusal:
    return Refusal(strategy=Strategy.EXTRAPOLATE, code=code, why=why)


def _below(rung: Arm, size: float, recipe: Recipe) -> bool:
    own = weight(rung.recipe.model, recipe)
    return own is not None and own < size


def _longer(question: RunQuestion, recipe: Recipe) -> bool:
    return question.arms[0].recipe.steps > recipe.steps


def _shorter(recipe: Recipe) -> tuple[Arm, ...]:
    """The shorter lengths of a run; none where its schedule has no stretch to leave it on."""
    schedule = recipe.schedule
    if not isinstance(schedule, WarmupStableDecay) or not schedule.decay:
        return ()
    warm = max(1, math.ceil(schedule.warmup * recipe.steps))
    arms = tuple(shorter(recipe, schedule, share) for share in SHORTER)
    return arms if all(arm.since >= warm for arm in arms) else ()
