"""What the design can tell about each question before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trainonce.plan import average
from trainonce.plan.design import Design
from trainonce.plan.drawing import model_of
from trainonce.plan.extrapolate import rungs
from trainonce.plan.jobs import Role
from trainonce.plan.lines import Line, Where
from trainonce.plan.measuring import emulated_spec, heldout_spec
from trainonce.plan.planned import PlannedArm, PlannedLadder, PlannedPoint, PlannedQuestion, Sizes
from trainonce.plan.power import detectable_difference, detectable_effect
from trainonce.plan.rungs import Early, planned_rungs
from trainonce.study.questions import CorpusQuestion, ItemQuestion, RunQuestion
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec

_SHARED = {
    Strategy.FORK: "up to where it leaves, an arm is the base run: it begins with that run's exact "
    "state",
    Strategy.AVERAGE: "up to where it leaves, an expert is the base run; a mixture's model is the "
    "average of the experts' parameters by its shares, and is not trained",
}


def planned(
    design: Design,
    drawn: Mapping[Where, Line],
    question: CorpusQuestion,
    stops: Mapping[str, Early],
) -> PlannedQuestion:
    """A question with its strategy, its precision and what its answer will rest on."""
    if isinstance(question, RunQuestion):
        found = _RUNS.get(design.chosen[question.id], _planned_runs)(design, drawn, question)
        early = stops.get(question.id)
        return found if early is None else _stopped(design, drawn, question, early, found)
    return _planned_items(design, question)


def _planned_runs(
    design: Design, drawn: Mapping[Where, Line], question: RunQuestion
) -> PlannedQuestion:
    seeds, part = design.study.recipe.seeds, design.part(question)
    strategy = design.chosen[question.id]

    def measured(models: Iterable[TrainSpec | AverageSpec]) -> tuple[str, ...]:
        return tuple(heldout_spec(model, part).key for model in models)

    def planned_arm(number: int, label: str) -> PlannedArm:
        models = [model_of(design, drawn, question, number, seed) for seed in seeds]
        places = [(Role.REAL, question.id, number, seed) for seed in seeds]
        real = measured(drawn[place].spec for place in places if place in drawn)
        own = measured(models)
        trained = strategy is Strategy.AVERAGE and isinstance(models[0], TrainSpec)
        return PlannedArm(label=label, measured=own, real=own if trained else real)

    arms = [planned_arm(number, arm.label) for number, arm in enumerate(question.arms)]
    shared = _SHARED.get(strategy, "nothing but the base run, which is the trunk")
    mixed = any(arm.recipe.mixture != design.study.recipe.mixture for arm in question.arms)
    order = "number of sequences (of other parts)" if mixed else "order of data"
    assumptions = (
        f"arms have the weights at the start, the {order} and the insertions of the base run "
        "of the same seed, and are compared with it seed by seed",
        f"shared: {shared}",
        *((average.ASSUMED,) if strategy is Strategy.AVERAGE else ()),
    )
    return _paired(design, drawn, question, arms, assumptions)


def _paired(
    design: Design,
    drawn: Mapping[Where, Line],
    question: RunQuestion,
    arms: Sequence[PlannedArm],
    assumptions: tuple[str, ...],
) -> PlannedQuestion:
    """A question whose arms are measured at every seed, and compared there with the base run."""
    pairs, outcome = len(design.study.recipe.seeds), question.outcome
    return PlannedQuestion(
        question=question,
        strategy=design.chosen[question.id],
        detectable_effect=detectable_difference(pairs, outcome.spread, len(design.study.questions)),
        units=pairs,
        assumptions=(
            *assumptions,
            "differences from the base run are normally distributed over seeds, with a standard "
            f"deviation of {outcome.spread:g} in {outcome.name} (assumed, for the detectable "
            "effect only)",
        ),
        arms=(_base(design, drawn, question), *arms),
    )


def _stopped(
    design: Design,
    drawn: Mapping[Where, Line],
    question: RunQuestion,
    early: Early,
    found: PlannedQuestion,
) -> PlannedQuestion:
    """``found``, whose losing arms are stopped."""
    return replace(
        found,
        assumptions=(*found.assumptions, early.stopping.says),
        stopping=early.stopping,
        rungs=planned_rungs(design, drawn, question, early),
    )


def _base(design: Design, drawn: Mapping[Where, Line], question: RunQuestion) -> PlannedArm:
    measured = _measured(design, drawn, question, Role.TRUNK, "", 0)
    return PlannedArm(label=question.base, measured=measured)


def _measured(
    design: Design,
    drawn: Mapping[Where, Line],
    question: RunQuestion,
    role: Role,
    name: str,
    number: int,
) -> tuple[str, ...]:
    """The jobs that measure a run for ``question``, a seed each."""
    found = (drawn[role, name, number, seed] for seed in design.study.recipe.seeds)
    return tuple(heldout_spec(line.spec, design.part(question)).key for line in found)


def _planned_emulated(
    design: Design, drawn: Mapping[Where, Line], question: RunQuestion
) -> PlannedQuestion:
    """The base run of each seed is measured as its small run's arm steers it."""
    seeds, name = design.study.recipe.seeds, question.id

    def steered(number: int, seed: int) -> str:
        tuned, untuned = drawn[Role.SMALL, name, number, seed], drawn[Role.SMALL, name, 0, seed]
        large = drawn[Role.TRUNK, "", 0, seed]
        return emulated_spec(large, tuned, untuned, design.part(question)).key

    arms = [
        PlannedArm(label=arm.label, measured=tuple(steered(number, seed) for seed in seeds))
        for number, arm in enumerate(question.arms, 1)
    ]
    assumptions = (
        "what the change does to the logits of the small model it does to those of the base run's: "
        "the arm's are the base run's at its end, moved by the small run's with the change less "
        "without it",
        "the interval is of the emulated effects over seeds; that they are the true ones is "
        "tested on the first seed, whose run is really changed",
    )
    found = _paired(design, drawn, question, arms, assumptions)
    real = drawn[Role.TUNING, name, len(question.arms) + 1, seeds[0]]
    return replace(found, tuning=heldout_spec(real.spec, design.part(question)).key)


def _planned_ladder(
    design: Design, drawn: Mapping[Where, Line], question: RunQuestion
) -> PlannedQuestion:
    """The arm is predicted by a law of the rungs."""
    recipe, numbers = design.study.recipe, design.ladders[question.id]
    (arm,), (own,) = question.arms, design.arms[question.id]
    points = [
        PlannedPoint(
            label=rung.label,
            parameters=size.parameters,
            tokens=rung.recipe.tokens,
            measured=_measured(design, drawn, question, Role.RUNG, question.id, number - 1)
            if number
            else _measured(design, drawn, question, Role.TRUNK, "", 0),
        )
        for number, (rung, size) in enumerate(zip(rungs(question, recipe), numbers, strict=True))
    ]
    ladder = PlannedLadder(
        parameters=own.parameters, tokens=arm.recipe.tokens, points=tuple(points)
    )
    largest = max(point.parameters for point in points)
    law = (
        "Chinchilla's law of size and tokens (arXiv 2203.15556), fitted to the ends of runs"
        if ladder.lengths
        else "a power law of size with a floor (arXiv 2001.08361), fitted to runs of one length"
    )
    return PlannedQuestion(
        question=question,
        strategy=Strategy.EXTRAPOLATE,
        detectable_effect=None,
        units=len(points) * len(recipe.seeds),
        assumptions=(
            f"{law}, goes on holding up to {own.parameters:,} parameters, "
            f"{own.parameters / largest:.1f} times the largest rung's, and {arm.recipe.tokens:,} "
            "tokens; the largest rung, left out of a fit, tests it",
            "rungs and arm have the base run's learning rate, which suits each of them as well as "
            "the others",
            "the interval is of a bootstrap over sizes: what the fit leaves open, and what one run "
            "differs by from the law. It does not hold what is wrong with the law beyond the "
            "ladder",
        ),
        arms=(_base(design, drawn, question), PlannedArm(label=arm.label, measured=())),
        ladder=ladder,
    )


_RUNS = {Strategy.EXTRAPOLATE: _planned_ladder, Strategy.EMULATE: _planned_emulated}


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
    run_share = sum(trunk.stream.changed_share for trunk in packed) / len(packed)
    most = "up to " if question.id in design.controlled else ""
    strategy = design.chosen.get(question.id, Strategy.MULTIPLEX)
    alone = strategy is not Strategy.MULTIPLEX
    during = question.steps(design.study.recipe)
    assumptions = [
        "doses are dealt to items at random, by seed, in equal numbers within each kind of item",
        (
            f"it changes {most}{share:.2%} of the tokens, "
            + ("in a run of its own" if alone else "and questions do not touch each other")
        )
        if share
        else "it changes nothing",
        f"items differ by a standard deviation of {question.outcome.spread:g} in "
        f"{question.outcome.name} (assumed, for the detectable effect only)",
    ]
    left = sum(trunk.stream.left_out.get(question.id, 0) for trunk in packed)
    if question.id in packed[0].stream.left_out:
        assumptions.append(
            "items are drawn at random from its file, anew at each seed"
            + (f"; {left} of {left + len(items)} did not fit and were left out" if left else "")
        )
    if during:
        after = ", ".join(map(str, during))
        assumptions.append(
            f"what is measured before the end, after step{'s' * (len(during) > 1)} {after}, "
            "decides nothing, and its intervals hold each by itself"
        )
    return PlannedQuestion(
        question=question,
        strategy=strategy,
        detectable_effect=detectable_effect(
            treated, control, question.outcome.spread, len(design.study.questions), strata
        ),
        units=len(items),
        assumptions=tuple(assumptions),
        sizes=Sizes(
            treated=treated,
            control=control,
            strata=strata,
            share=share,
            run_share=run_share,
            left_out=left,
        ),
        during=during,
    )
