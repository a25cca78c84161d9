"""The training runs of a plan, before anybody asks how they are trained or what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trainonce.models.decoder import DecoderSettings
from trainonce.plan import fork
from trainonce.plan.jobs import Line
from trainonce.plan.multiplex import Trunk
from trainonce.plan.plan import Role
from trainonce.study.load import StudyDefinition
from trainonce.study.questions import ItemQuestion, RunQuestion
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs import Placed, TrainSpec, Treated
from trainonce.train.settings import TrainSettings

Where = tuple[Role, str, int, int]
"""Which run of a plan: its role, question (or nothing), arm (from 0) and seed."""


@dataclass(frozen=True)
class ArmNumbers:
    """What an arm's run has of its own.

    Attributes:
        train: its numbers.
        model: its model.
        model_files: content hash of the model's files, when it is read from a folder.
        objective: what it minimizes; cross-entropy when None.
        weight: operations of one of its steps, in those of a step of the base run.
    """

    train: TrainSettings
    model: str | DecoderSettings
    model_files: str | None
    objective: Placed | None
    weight: float


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is known of a plan before its runs are drawn.

    Attributes:
        study: what is asked.
        chosen: the strategy of each question.
        treated: the treatment of each question that inserts items, the A/A question's among them.
        plain: the base run without insertions, by seed.
        trunks: what is read by the trunk, by seed.
        own: what is read by a question's own run, by question and seed.
        arms: the arms of each question about runs.
    """

    study: StudyDefinition
    chosen: Mapping[str, Strategy]
    treated: Mapping[str, Treated]
    plain: Mapping[int, TrainSpec]
    trunks: Mapping[int, Trunk]
    own: Mapping[tuple[str, int], Trunk]
    arms: Mapping[str, tuple[ArmNumbers, ...]]

    @property
    def on_trunk(self) -> tuple[str, ...]:
        """The questions that the trunk serves, in the order of the study, the A/A last."""
        own = {question for question, _ in self.own}
        return (*(q.id for q in self.study.questions if q.id not in own), AA)

    def packed(self, question: str, seed: int) -> Trunk:
        """What the run with the items of ``question`` reads."""
        return self.own.get((question, seed)) or self.trunks[seed]


def lines(design: Design) -> dict[Where, Line]:
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
                for number, line in enumerate(_arms(design, question, trunk.spec)):
                    found[Role.ARM, question.id, number, seed] = line
            elif (question.id, seed) in design.own:
                found[Role.OWN, question.id, 0, seed] = _own(design, question, seed)
    return found


def cuts(found: Mapping[Where, Line]) -> dict[str, dict[int, tuple[str, ...]]]:
    """Where runs are cut: by the key of the run and the step, the questions for which they are.

    Their runs leave there, or may be stopped.
    """
    left: dict[str, dict[int, tuple[str, ...]]] = {}
    for line in found.values():
        for rung in line.rungs:
            at = left.setdefault(line.spec.key, {})
            at[rung.step] = tuple(dict.fromkeys([*at.get(rung.step, ()), *rung.questions]))
        if line.spec.fork:
            at = left.setdefault(line.spec.fork.parent.key, {})
            before = at.get(line.spec.fork.step, ())
            at[line.spec.fork.step] = tuple(dict.fromkeys([*before, *line.questions]))
    return left


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
    if strategy is Strategy.FORK:
        spec = fork.own(question, plain, treated, design.study.recipe)
        about = f": leaves the plain run after step {spec.begins}"
    else:
        spec, about = replace(plain, treatments=(treated,)), ": its items alone, from step 0"
    return Line(
        spec=spec,
        role=Role.OWN,
        strategy=strategy,
        questions=(question.id,),
        name=f"own run of {question.id!r}, seed {seed}",
        about=about,
        label=f"own run of {question.id}",
    )


def _arms(design: Design, question: RunQuestion, trunk: TrainSpec) -> list[Line]:
    strategy, numbers = design.chosen[question.id], design.arms[question.id]
    runs = tuple(
        replace(
            trunk,
            train=own.train,
            model=own.model,
            model_files=own.model_files,
            objective=own.objective,
        )
        for own in numbers
    )
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
