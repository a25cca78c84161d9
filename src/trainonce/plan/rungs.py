"""Where a plan's arms may be stopped: runs are cut at rungs, and what goes on is decided there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trainonce.plan.design import Design
from trainonce.plan.early.settle import History, Stopping, settle
from trainonce.plan.jobs import Gate, Job, Reason, Role
from trainonce.plan.lines import Line, Rung, Where
from trainonce.plan.measuring import heldout, heldout_spec
from trainonce.plan.planned import PlannedRung
from trainonce.plan.prices import Prices
from trainonce.plan.stacks import Known
from trainonce.stream.corpus import Corpus
from trainonce.study.questions import RunQuestion
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.decisions import DecideSpec
from trainonce.tasks.specs.runs import TrainSpec


@dataclass(frozen=True, kw_only=True)
class Early:
    """How the arms of a question are stopped.

    Attributes:
        stopping: what was settled.
        decisions: one a rung, ascending; none where nothing is stopped.
    """

    stopping: Stopping
    decisions: tuple[DecideSpec, ...] = ()


def early(
    design: Design, drawn: Mapping[Where, Line], history: History, known: Known
) -> dict[str, Early]:
    """How losing arms are stopped, for each question that asks for it.

    Args:
        design: what is asked.
        drawn: the training runs.
        history: what the home holds from before.
        known: how a run was trained before, if it was.
    """
    found = {}
    for question in design.study.questions:
        if isinstance(question, RunQuestion) and question.stop is not None:
            runs = _runs(design, drawn, question)
            trained = all(known(run) for arm in runs for run in arm)
            stopping = settle(question.stop, runs, history, trained=trained)
            rule = stopping.rule
            decisions = (
                tuple(DecideSpec(runs=runs, rule=rule, rung=rung) for rung in rule.rungs)
                if rule
                else ()
            )
            found[question.id] = Early(stopping=stopping, decisions=decisions)
    return found


def with_rungs(drawn: Mapping[Where, Line], found: Mapping[str, Early]) -> dict[Where, Line]:
    """The training runs, arms and the base runs that these are compared with cut at rungs."""
    based: dict[int, tuple[str, ...]] = {}
    for name, one in found.items():
        for spec in one.decisions:
            based[spec.step] = (*based.get(spec.step, ()), name)
    trunk = tuple(Rung(step=step, questions=based[step]) for step in sorted(based))
    cut = dict(drawn)
    for (role, name, number, seed), line in drawn.items():
        if role is Role.TRUNK:
            cut[role, name, number, seed] = replace(line, rungs=trunk)
        elif role is Role.ARM and name in found:
            own = tuple(
                Rung(step=spec.step, questions=(name,), gate=Gate(spec.key, number))
                for spec in found[name].decisions
            )
            cut[role, name, number, seed] = replace(line, rungs=own)
    return cut


def measured(line: Line, corpus: Corpus, prices: Prices) -> Iterator[Job]:
    """The held-out loss of a run at its rungs."""
    for rung in line.rungs:
        yield heldout(line, corpus, Role.LOOK, rung.questions, prices, step=rung.step)


def decided(design: Design, found: Mapping[str, Early]) -> Iterator[Job]:
    """The jobs that decide."""
    for question in design.study.questions:
        if isinstance(question, RunQuestion) and question.id in found:
            labels = [arm.label for arm in question.arms]
            for spec in found[question.id].decisions:
                yield _decision(spec, question.id, labels, found[question.id].stopping.says)


def _decision(spec: DecideSpec, question: str, labels: Sequence[str], says: str) -> Job:
    """Which of the arms of a question go on after a rung."""
    return Job(
        spec=spec,
        role=Role.DECISION,
        strategy=Strategy.REPLICATE,
        questions=(question,),
        parents=spec.parents,
        run_equivalents=0.0,
        code=Reason.DECISION,
        reason=f"which arms of {question!r} ({'; '.join(labels)}) go on after step {spec.step} of "
        f"{spec.trained.train.steps}: {says}",
        label=f"decision after step {spec.step}",
    )


def planned_rungs(
    design: Design, drawn: Mapping[Where, Line], question: RunQuestion, found: Early
) -> tuple[PlannedRung, ...]:
    """The jobs that answer a question whose arms are stopped."""
    base = [drawn[Role.TRUNK, "", 0, seed].spec for seed in design.study.recipe.seeds]
    runs = (tuple(base), *_runs(design, drawn, question))
    return tuple(
        PlannedRung(
            step=spec.step,
            decision=spec.key,
            measured=tuple(
                tuple(heldout_spec(run, step=spec.step).key for run in arm) for arm in runs
            ),
        )
        for spec in found.decisions
    )


def _runs(
    design: Design, drawn: Mapping[Where, Line], question: RunQuestion
) -> tuple[tuple[TrainSpec, ...], ...]:
    """The runs of each arm, a seed each."""
    return tuple(
        tuple(drawn[Role.ARM, question.id, arm, seed].spec for seed in design.study.recipe.seeds)
        for arm in range(len(question.arms))
    )
