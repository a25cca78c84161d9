"""The jobs of a training run: its states, where it is cut, and its end; averages of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainonce.plan.jobs import Job, Reason, Role, reason_of
from trainonce.plan.lines import Averaged, Line
from trainonce.plan.prices import Prices
from trainonce.plan.stacks import Known
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import StateSpec


def training(
    line: Line,
    cuts: Mapping[int, tuple[str, ...]],
    watched: Mapping[int, tuple[str, ...]],
    prices: Prices,
    known: Known,
    stacked_with: int = 0,
) -> list[Job]:
    """The run of ``line``, and before it the states that others leave it in or that are measured.

    Each state goes on from the one before and the run from the last one, so that all together they
    cost what the run alone would.

    Args:
        line: the run.
        cuts: the questions whose runs leave it, by step.
        watched: the questions that measure it, by step.
        prices: what steps cost.
        known: how a run was trained before, if it was.
        stacked_with: how many runs train as one with it.
    """
    spec, jobs = line.spec, list[Job]()
    done, parents = spec.begins, (spec.fork.state.key,) if spec.fork else ()
    for step in sorted({*cuts, *watched}):
        leaving, measuring = cuts.get(step, ()), watched.get(step, ())
        state = StateSpec(trained=spec, step=step)
        job = Job(
            spec=state,
            role=Role.STATE,
            strategy=Strategy.FORK if leaving else line.strategy,
            questions=line.questions
            if line.ends and line.role is Role.TRUNK
            else tuple(dict.fromkeys((*leaving, *measuring))),
            parents=parents,
            run_equivalents=prices.training(step - done, line.weight),
            code=Reason.STATE,
            reason=f"state of the {line.name} after step {step} of {spec.train.steps}: "
            f"{_used(line, step, leaving, measuring)}",
            label=line.label,
            gates=line.gates(step),
            may_diverge=line.role is Role.ARM,
        )
        jobs.append(job)
        done, parents = step, (state.key,)
    if line.ends:
        before = f"; goes on from step {done}" if jobs else ""
        together = f"; stacked with {stacked_with} more, which pays here" if stacked_with else ""
        if spec.compiled:
            together = "; compiled, which pays for a run as long"
        code = _reason(line, known)
        jobs.append(
            Job(
                spec=spec,
                role=line.role,
                strategy=line.strategy,
                questions=line.questions,
                parents=parents,
                run_equivalents=prices.training(spec.train.steps - done, line.weight),
                code=code,
                reason=f"{line.name}{line.about}{before}{together}",
                label=line.label,
                gates=line.gates(spec.train.steps),
                may_diverge=line.role is Role.ARM,
            )
        )
    return jobs


def averaging(averaged: Averaged, prices: Prices) -> Job:
    """The average of parameters: as many operations as a token a run that is read."""
    spec = averaged.spec
    return Job(
        spec=spec,
        role=Role.AVERAGE,
        strategy=averaged.strategy,
        questions=averaged.questions,
        parents=tuple(run.key for run in spec.models),
        run_equivalents=prices.reading(len(spec.models), averaged.weight),
        code=Reason.AVERAGE,
        reason=f"{averaged.name}: of the parameters of {len(spec.models)} experts",
        label=averaged.label,
    )


def _used(line: Line, step: int, cut: Sequence[str], measuring: Sequence[str]) -> str:
    """What a state is there for."""
    looking = [name for rung in line.rungs if rung.step == step for name in rung.questions]
    leaving = [name for name in cut if name not in looking]
    said = [
        f"{', '.join(names)} {verb}{'s' * (len(names) == 1)} there"
        for names, verb in ((leaving, "begin"), (measuring, "measure"))
        if names
    ]
    if looking:
        ends = "it may be stopped there" if line.role is Role.ARM else "arms may be stopped there"
        said.append(f"{', '.join(looking)}: {ends}")
    return "; ".join(said)


def _reason(line: Line, known: Known) -> Reason:
    before = known(line.spec)
    if before is not None and before.key == line.spec.key:
        return Reason.REUSED
    if line.role in (Role.PLAIN, Role.REAL, Role.TUNING):
        return Reason.CHECK
    if line.apart:
        return Reason.CONFLICT
    if line.strategy is Strategy.EXTRAPOLATE:
        return Reason.LADDER
    if line.strategy is Strategy.EMULATE:
        return Reason.EMULATED
    if line.spec.fork:
        return Reason.FORK
    if line.spec.stack:
        return Reason.STACKED
    return reason_of(line.role, line.questions)
