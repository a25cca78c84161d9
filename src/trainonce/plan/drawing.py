"""From a design to its training runs, before anybody asks how they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trainonce.plan import average, extrapolate, fork
from trainonce.plan.design import ArmNumbers, Design
from trainonce.plan.jobs import Role
from trainonce.plan.lines import Averaged, Line, Where
from trainonce.study.questions import ItemQuestion, RunQuestion
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec


def draw(design: Design) -> dict[Where, Line]:
    """All training runs; one that another leaves comes before it."""
    found: dict[Where, Line] = {}
    for seed in design.study.recipe.seeds:
        trunk = _trunk(design, seed)
        found[Role.TRUNK, "", 0, seed] = trunk
        leaving = [name for name, how in design.chosen.items() if how is Strategy.FORK]
        leaving = [name for name in leaving if (name, seed) in design.own]
        if trunk.spec.treatments and (design.study.plain or leaving):
            found[Role.PLAIN, "", 0, seed] = _plain(design, seed)
        for question in design.study.questions:
            if isinstance(question, RunQuestion):
                found |= _runs(design, question, trunk.spec)
            elif (question.id, seed) in design.own:
                found[Role.OWN, question.id, 0, seed] = _own(design, question, seed)
    return found


def averages(design: Design, found: Mapping[Where, Line]) -> dict[Where, Averaged]:
    """The averages that stand for arms, by the arm's place."""
    merged: dict[Where, Averaged] = {}
    for question in design.study.questions:
        if design.chosen.get(question.id) is not Strategy.AVERAGE:
            continue
        if isinstance(question, RunQuestion):
            for number, arm in enumerate(question.arms):
                for seed in design.study.recipe.seeds:
                    model = model_of(design, found, question, number, seed)
                    if isinstance(model, AverageSpec):
                        merged[Role.AVERAGE, question.id, number, seed] = Averaged(
                            spec=model,
                            questions=(question.id,),
                            name=f"average for {arm.label}, seed {seed}",
                            label=f"average for {arm.label}",
                            weight=design.arms[question.id][number].weight,
                        )
    return merged


def model_of(
    design: Design, found: Mapping[Where, Line], question: RunQuestion, number: int, seed: int
) -> TrainSpec | AverageSpec:
    """What is measured for an arm: its own run, or the average of experts that stands for it."""
    if design.chosen[question.id] is not Strategy.AVERAGE:
        return found[Role.ARM, question.id, number, seed].spec
    experts = {
        part: found[Role.EXPERT, question.id, place, seed].spec
        for place, part in enumerate(average.parts_read(question))
    }
    mixture = design.arms[question.id][number].mixture
    return average.stands_for(mixture.counts if mixture else (), experts)


def _trunk(design: Design, seed: int) -> Line:
    trunk = design.trunks[seed]
    inserting = [design.treated[name] for name, share in trunk.changed.items() if share]
    ordered = tuple(sorted(inserting, key=lambda treated: treated.question))
    return Line(
        spec=replace(design.plain[seed], treatments=ordered),
        role=Role.TRUNK,
        strategy=Strategy.MULTIPLEX,
        questions=design.on_trunk,
        name=f"trunk of seed {seed}",
        about=f": questions that insert: {len(ordered)}; "
        f"tokens changed: {sum(trunk.changed.values()):.1%}",
    )


def _plain(design: Design, seed: int) -> Line:
    items = [q.id for q in design.study.questions if isinstance(q, ItemQuestion)]
    about = ": nothing inserted, to test that sharing did no harm"
    return Line(
        spec=design.plain[seed],
        role=Role.PLAIN,
        strategy=Strategy.REPLICATE,
        questions=(*items, AA),
        name=f"plain run of seed {seed}",
        about=about if design.study.plain else "",
        ends=design.study.plain,
    )


def _own(design: Design, question: ItemQuestion, seed: int) -> Line:
    plain, treated = design.plain[seed], design.treated[question.id]
    strategy = design.chosen[question.id]
    if strategy is Strategy.MULTIPLEX:
        return _further_trunk(design, question, seed)
    if strategy is Strategy.FORK:
        spec = fork.own(question, plain, treated, design.study.recipe)
        about = f": leaves the plain run after step {spec.begins}"
    else:
        spec, about = replace(plain, treatments=(treated,)), ": its items alone, from step 0"
    other = design.apart.get(question.id)
    if other is not None:
        about += f"; not in the trunk, where {other!r} deals doses to the same items"
    return Line(
        spec=spec,
        role=Role.OWN,
        strategy=strategy,
        questions=(question.id,),
        name=f"own run of {question.id!r}, seed {seed}",
        about=about,
        label=f"own run of {question.id}",
        apart=other is not None,
    )


def _further_trunk(design: Design, question: ItemQuestion, seed: int) -> Line:
    """The trunk of questions for which the first one has no room left."""
    packed = design.own[question.id, seed]
    names = tuple(packed.changed)
    treatments = sorted((design.treated[name] for name in names), key=lambda one: one.question)
    return Line(
        spec=replace(design.plain[seed], treatments=tuple(treatments)),
        role=Role.OWN,
        strategy=Strategy.MULTIPLEX,
        questions=names,
        name=f"further trunk ({', '.join(names)}), seed {seed}",
        about=f": tokens changed: {packed.stream.changed_share:.1%}; the first trunk has no room "
        "for these questions within `allow_changed`",
        label=f"further trunk ({', '.join(names)})",
    )


def _runs(design: Design, question: RunQuestion, trunk: TrainSpec) -> dict[Where, Line]:
    """The runs that answer a question beside the trunk of one seed."""
    strategy = design.chosen[question.id]
    if strategy is Strategy.AVERAGE:
        return _experts(design, question, trunk)
    if strategy is Strategy.EXTRAPOLATE:
        drawn = _ladder(design, question, trunk)
    elif strategy is Strategy.EMULATE:
        drawn = _emulated(design, question, trunk)
    else:
        drawn = _arms(design, question, trunk, strategy)
    return {(line.role, question.id, n, trunk.seed): line for n, line in enumerate(drawn)}


def _experts(design: Design, question: RunQuestion, trunk: TrainSpec) -> dict[Where, Line]:
    """An expert for each part, and the mixtures that are trained for real."""
    since, seed = question.arms[0].since, trunk.seed
    arms = tuple(_run(trunk, own) for own in design.arms[question.id])
    weight = design.arms[question.id][0].weight
    found: dict[Where, Line] = {}
    for number, part in enumerate(average.parts_read(question)):
        found[Role.EXPERT, question.id, number, seed] = Line(
            spec=average.expert(arms[0], trunk, part, since),
            role=Role.EXPERT,
            strategy=Strategy.AVERAGE,
            questions=(question.id,),
            name=f"expert on {part!r}, seed {seed}",
            about=f": leaves the trunk after step {since}, and reads that part alone",
            label=f"expert on {part}",
            weight=weight,
        )
    real = fork.arms(question, trunk, arms)
    for number in average.checked(question, design.study.recipe.seeds[0]):
        label = question.arms[number].label
        found[Role.REAL, question.id, number, seed] = Line(
            spec=real[number],
            role=Role.REAL,
            strategy=Strategy.AVERAGE,
            questions=(question.id,),
            name=f"real run of {label}, seed {seed}",
            about=f": leaves the trunk after step {since}, to test the average that stands for it",
            label=f"real run of {label}",
            weight=weight,
        )
    return found


def _ladder(design: Design, question: RunQuestion, trunk: TrainSpec) -> list[Line]:
    """The rungs of a ladder, the trunk, which is its first one, left out."""
    numbers = design.ladders[question.id]
    found = extrapolate.rungs(question, design.study.recipe)
    specs = extrapolate.runs(found, tuple(_run(trunk, own) for own in numbers))
    return [
        Line(
            spec=spec,
            role=Role.RUNG,
            strategy=Strategy.EXTRAPOLATE,
            questions=(question.id,),
            name=f"{_rung(rung)}, seed {spec.seed}",
            about=f": leaves {'its rung' if rung.size else 'the trunk'} after step {spec.begins}"
            if spec.fork
            else f": {own.parameters:,} parameters, from step 0",
            label=_rung(rung),
            weight=own.weight,
        )
        for rung, spec, own in list(zip(found, specs, numbers, strict=True))[1:]
    ]


def _rung(rung: extrapolate.Rung) -> str:
    return f"rung {rung.label}" if rung.size else rung.label


def _emulated(design: Design, question: RunQuestion, trunk: TrainSpec) -> list[Line]:
    """The small run, its arms, and for the first seed the last arm as it really is."""
    small, seed = design.smalls[question.id], trunk.seed
    untuned = _run(design.plain[seed], small)
    arms = tuple(
        _run(untuned, replace(own, model=small.model, model_files=small.model_files))
        for own in design.arms[question.id]
    )
    tuned = fork.arms(question, untuned, arms)
    label = question.small.label if question.small else ""
    found = [
        Line(
            spec=spec,
            role=Role.SMALL,
            strategy=Strategy.EMULATE,
            questions=(question.id,),
            name=f"small run ({label}){what and f', {what}'}, seed {seed}",
            about=f": leaves the small run after step {spec.begins}"
            if spec.fork
            else ": nothing inserted, from step 0",
            label=f"small run{what and f', {what}'}",
            weight=small.weight,
        )
        for what, spec in zip(
            ("", *(arm.label for arm in question.arms)), (untuned, *tuned), strict=True
        )
    ]
    if seed != design.study.recipe.seeds[0]:
        return found
    real = _arms(design, question, trunk, Strategy.FORK)[-1]
    about = f"{real.about}, to test what is emulated"
    return [*found, replace(real, role=Role.TUNING, about=about)]


def _arms(
    design: Design, question: RunQuestion, trunk: TrainSpec, strategy: Strategy
) -> list[Line]:
    numbers = design.arms[question.id]
    runs = tuple(_run(trunk, own) for own in numbers)
    if strategy is Strategy.FORK:
        runs = fork.arms(question, trunk, runs)
    return [
        Line(
            spec=run,
            role=Role.ARM,
            strategy=strategy,
            questions=(question.id,),
            name=f"{arm.label}, seed {run.seed}",
            about=f": leaves the trunk after step {run.begins}" if run.fork else ": from step 0",
            label=arm.label,
            weight=own.weight,
        )
        for arm, run, own in zip(question.arms, runs, numbers, strict=True)
    ]


def _run(base: TrainSpec, own: ArmNumbers) -> TrainSpec:
    """``base`` with what an arm has of its own."""
    return replace(
        base,
        train=own.train,
        model=own.model,
        model_files=own.model_files,
        objective=own.objective,
        mixture=own.mixture,
    )
