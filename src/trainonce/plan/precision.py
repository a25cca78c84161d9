"""What the design can tell about each question before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trainonce.plan import average
from trainonce.plan.jobs import Line, heldout_spec
from trainonce.plan.lines import Design, Where, model_of
from trainonce.plan.plan import PlannedArm, PlannedQuestion, Role
from trainonce.plan.power import detectable_difference, detectable_effect
from trainonce.study.questions import ItemQuestion, RunQuestion
from trainonce.study.schema import Strategy
from trainonce.tasks.specs import AverageSpec, TrainSpec

_SHARED = {
    Strategy.FORK: "up to where it leaves, an arm is the base run: it begins with that run's exact "
    "state",
    Strategy.AVERAGE: "up to where it leaves, an expert is the base run; a mixture's model is the "
    "average of the experts' parameters by its shares, and is not trained",
}


def planned(
    design: Design, drawn: Mapping[Where, Line], question: ItemQuestion | RunQuestion
) -> PlannedQuestion:
    """A question with its strategy, its precision and what its answer will rest on."""
    if isinstance(question, RunQuestion):
        return _planned_runs(design, drawn, question)
    return _planned_items(design, question)


def _planned_runs(
    design: Design, drawn: Mapping[Where, Line], question: RunQuestion
) -> PlannedQuestion:
    seeds, part = design.study.recipe.seeds, design.part(question)
    strategy, outcome = design.chosen[question.id], question.outcome

    def measured(models: Iterable[TrainSpec | AverageSpec]) -> tuple[str, ...]:
        return tuple(heldout_spec(model, part).key for model in models)

    def planned_arm(number: int, label: str) -> PlannedArm:
        models = [model_of(design, drawn, question, number, seed) for seed in seeds]
        places = [(Role.REAL, question.id, number, seed) for seed in seeds]
        real = measured(drawn[place].spec for place in places if place in drawn)
        own = measured(models)
        trained = strategy is Strategy.AVERAGE and isinstance(models[0], TrainSpec)
        return PlannedArm(label=label, measured=own, real=own if trained else real)

    trunks = (drawn[Role.TRUNK, "", 0, seed].spec for seed in seeds)
    base = PlannedArm(label=question.base, measured=measured(trunks))
    arms = [planned_arm(number, arm.label) for number, arm in enumerate(question.arms)]
    shared = _SHARED.get(strategy, "nothing but the base run, which is the trunk")
    mixed = any(arm.recipe.mixture != design.study.recipe.mixture for arm in question.arms)
    order = "number of sequences (of other parts)" if mixed else "order of data"
    assumed = (average.ASSUMED,) if strategy is Strategy.AVERAGE else ()
    return PlannedQuestion(
        question=question,
        strategy=strategy,
        detectable_effect=detectable_difference(
            len(seeds), outcome.spread, len(design.study.questions)
        ),
        units=len(seeds),
        assumptions=(
            f"arms have the weights at the start, the {order} and the insertions of the base run "
            "of the same seed, and are compared with it seed by seed",
            f"shared: {shared}",
            *assumed,
            "differences from the base run are normally distributed over seeds, with a standard "
            f"deviation of {outcome.spread:g} in {outcome.name} (assumed, for the detectable "
            "effect only)",
        ),
        arms=(base, *arms),
    )


def _planned_items(design: Design, question: ItemQuestion) -> PlannedQuestion:
    packed = [design.packed(question.id, seed) for seed in design.study.recipe.seeds]
    items = [item for trunk in packed for item in trunk.stream.items[question.id]]
    top = max(question.treatment.doses)
    treated = sum(item.dose == top for item in items)
    control = sum(item.dose == 0 for item in items)
    strata = len(
        {
            (number, item.kind)
            for number, trunk in enumerate(packed)
            for item in trunk.stream.items[question.id]
        }
    )
    share = sum(trunk.changed[question.id] for trunk in packed) / len(packed)
    strategy = design.chosen.get(question.id, Strategy.MULTIPLEX)
    alone = strategy is not Strategy.MULTIPLEX
    assumptions = [
        "doses are dealt to items at random, by seed, in equal numbers within each kind of item",
        (
            f"it changes {share:.2%} of the tokens, in a run of its own"
            if alone
            else f"it changes {share:.2%} of the tokens, and questions do not touch each other"
        )
        if share
        else "it changes nothing",
        f"items differ by a standard deviation of {question.outcome.spread:g} in "
        f"{question.outcome.name} (assumed, for the detectable effect only)",
    ]
    return PlannedQuestion(
        question=question,
        strategy=strategy,
        detectable_effect=detectable_effect(
            treated, control, question.outcome.spread, len(design.study.questions), strata
        ),
        units=len(items),
        assumptions=tuple(assumptions),
    )
