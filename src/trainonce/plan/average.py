"""Average: experts, one a part, stand for all mixtures of the parts by averages of parameters.

Na et al. 2024 (arXiv 2410.15661): the average of runs that went on from one state on a part each
ranks mixtures as runs do that were trained on them. Some mixtures are trained for real to test it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trainonce.methods.registry import methods
from trainonce.plan.offers import Offer, Refusal, Refused
from trainonce.stream.keys import generator
from trainonce.stream.mixture import Counts, Mixture
from trainonce.study.questions import Question, RunQuestion
from trainonce.study.recipe import Recipe
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import AverageSpec, Fork, TrainSpec

METHOD = "average"
ASSUMED = "parameter averages rank like joint training"


def offer(question: Question, recipe: Recipe) -> Offer | Refusal:
    """The steps of an expert a part, and of the mixtures that are trained for real."""
    if not isinstance(question, RunQuestion):
        why = "its unit is an item, and averages stand for runs on mixtures of parts"
        return _refusal(Refused.UNIT, why)
    arm = question.arms[0]
    if any(one.recipe.mixture is None for one in question.arms):
        why = (
            "its arms are no mixtures of parts; ask with `treatment: {change: {data.mixture: []}}`"
        )
        return _refusal(Refused.NO_MIXTURES, why)
    if not question.late:
        why = (
            "it acts from step 0, and parameters average well only where the runs left one trained "
            "state; say when with `at: 60%`"
        )
        return _refusal(Refused.STARTS_AT_0, why)
    if any(replace(one.recipe, mixture=arm.recipe.mixture) != arm.recipe for one in question.arms):
        why = "its arms differ in more than their mixtures, and all experts have one recipe"
        return _refusal(Refused.NO_MIXTURES, why)
    mixed = _mixed(question)
    if not mixed:
        why = "each of its arms is a single part, so that there is nothing to average"
        return _refusal(Refused.NO_MIXTURES, why)
    runs = len(parts_read(question)) + min(question.check, len(mixed))
    steps = runs * (arm.recipe.steps - arm.since)
    return Offer(strategy=Strategy.AVERAGE, run_equivalents=steps / recipe.steps)


def _refusal(code: Refused, why: str) -> Refusal:
    return Refusal(strategy=Strategy.AVERAGE, code=code, why=why)


def parts_read(question: RunQuestion) -> tuple[str, ...]:
    """The parts that any arm reads, in alphabetical order: those with an expert."""
    return tuple(sorted({name for counts in _counts(question) for name, _ in counts}))


def checked(question: RunQuestion, seed: int) -> tuple[int, ...]:
    """The numbers of the arms that are trained for real: drawn by seed among those that mix."""
    mixed = _mixed(question)
    drawn = generator(seed, question.id, "checked mixtures").permutation(mixed)
    return tuple(sorted(drawn[: question.check].tolist()))


def expert(run: TrainSpec, trunk: TrainSpec, part: str, since: int) -> TrainSpec:
    """The run that leaves ``trunk`` and reads one part alone.

    Args:
        run: any arm as a run of its own.
        trunk: the run that it leaves.
        part: the part's name.
        since: the step after which it leaves.
    """
    if run.mixture is None:
        raise ValueError("an expert is of the parts of a mixture, and this run has none")
    own = Mixture(parts=run.mixture.parts, counts=((part, 1),))
    return replace(run, mixture=own, fork=Fork(trunk, since))


def stands_for(counts: Counts, experts: Mapping[str, TrainSpec]) -> TrainSpec | AverageSpec:
    """What answers for a mixture: the average of the experts, or the expert of its only part."""
    models = tuple(experts[name] for name, _ in counts)
    if len(models) == 1:
        return models[0]
    weights = tuple(count for _, count in counts)
    return AverageSpec(models=models, weights=weights, version=methods()[METHOD].version)


def is_arm(question: RunQuestion, mixture: Mixture | None) -> bool:
    """Whether an expert is an arm itself, since that reads no other part."""
    return mixture is not None and mixture.counts in _counts(question)


def _counts(question: RunQuestion) -> list[Counts]:
    return [arm.recipe.mixture for arm in question.arms if arm.recipe.mixture is not None]


def _mixed(question: RunQuestion) -> list[int]:
    """The numbers of the arms that mix parts."""
    return [number for number, counts in enumerate(_counts(question)) if len(counts) > 1]
