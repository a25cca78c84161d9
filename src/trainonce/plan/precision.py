"""What the design can tell about each question before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping

from trainonce.plan.jobs import Line, heldout_spec
from trainonce.plan.lines import Design, Where
from trainonce.plan.plan import PlannedArm, PlannedQuestion, Role
from trainonce.plan.power import detectable_difference, detectable_effect
from trainonce.plan.rungs import Early, planned_rungs
from trainonce.study.questions import ItemQuestion, RunQuestion
from trainonce.study.schema import Strategy


def planned(
    design: Design,
    drawn: Mapping[Where, Line],
    question: ItemQuestion | RunQuestion,
    stops: Mapping[str, Early],
) -> PlannedQuestion:
    """A question with its strategy, its precision and what its answer will rest on."""
    if isinstance(question, RunQuestion):
        return _planned_runs(design, drawn, question, stops.get(question.id))
    return _planned_items(design, question)


def _planned_runs(
    design: Design, drawn: Mapping[Where, Line], question: RunQuestion, early: Early | None
) -> PlannedQuestion:
    seeds = design.study.recipe.seeds

    def measured(role: Role, name: str, number: int) -> tuple[str, ...]:
        found = (drawn[role, name, number, seed] for seed in seeds)
        return tuple(heldout_spec(line.spec).key for line in found)

    base = PlannedArm(label=question.base, measured=measured(Role.TRUNK, "", 0))
    arms = [
        PlannedArm(label=arm.label, measured=measured(Role.ARM, question.id, number))
        for number, arm in enumerate(question.arms)
    ]
    strategy, outcome = design.chosen[question.id], question.outcome
    shared = (
        "up to where it leaves, an arm is the base run: it begins with that run's exact state"
        if strategy is Strategy.FORK
        else "nothing but the base run, which is the trunk"
    )
    return PlannedQuestion(
        question=question,
        strategy=strategy,
        detectable_effect=detectable_difference(
            len(seeds), outcome.spread, len(design.study.questions)
        ),
        units=len(seeds),
        assumptions=(
            "arms have the weights at the start, the order of data and the insertions of the base "
            "run of the same seed, and are compared with it seed by seed",
            f"shared: {shared}",
            "differences from the base run are normally distributed over seeds, with a standard "
            f"deviation of {outcome.spread:g} in {outcome.name} (assumed, for the detectable "
            "effect only)",
            *((early.stopping.says,) if early else ()),
        ),
        arms=(base, *arms),
        stopping=early.stopping if early else None,
        rungs=planned_rungs(design, drawn, question, early) if early else (),
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
