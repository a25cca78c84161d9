"""Jobs of a plan: training runs, cut where others leave them, and what is measured on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trainonce.methods.registry import methods, probe_of
from trainonce.plan.plan import Gate, Job, Reason, Role
from trainonce.plan.stacks import Known
from trainonce.sites import Choice, Completion, Item
from trainonce.stream.corpus import Corpus
from trainonce.study.questions import ItemQuestion
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs import (
    HELDOUT_PROBE,
    DecideSpec,
    MeasureSpec,
    StateSpec,
    TrainSpec,
    Treated,
)

_FORWARD_SHARE = 1 / 3  # of a training step's operations: 2 of the 6 a parameter and token


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A step at which a run is cut, so that it can end there or be compared there.

    Attributes:
        step: the step.
        questions: for which it is.
        gate: closed when the run ends there; None for the base run, which never does.
    """

    step: int
    questions: tuple[str, ...]
    gate: Gate | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A training run of a plan.

    Attributes:
        spec: the run.
        role: what it is there for.
        strategy: how the questions that it serves share training.
        questions: their ids.
        name: what people call it, with its seed.
        about: what more there is to say of it.
        label: what it differs in from the base run, for a run that does.
        weight: operations of one of its steps, in those of a step of the base run.
        ends: whether anybody needs its end, rather than states of it alone.
        rungs: ascending.
    """

    spec: TrainSpec
    role: Role
    strategy: Strategy
    questions: tuple[str, ...]
    name: str
    about: str = ""
    label: str = ""
    weight: float = 1.0
    ends: bool = True
    rungs: tuple[Rung, ...] = ()

    def gates(self, step: int) -> tuple[Gate, ...]:
        """What has decided before ``step`` whether the run goes on to it."""
        before = [rung.gate for rung in self.rungs if rung.step < step and rung.gate]
        return tuple(before[-1:])


@dataclass(frozen=True)
class Prices:
    """What things cost, in run-equivalents: the base run of ``steps`` and ``tokens``, ``seeds``."""

    steps: int
    tokens: int
    seeds: int

    def training(self, steps: int, weight: float = 1.0) -> float:
        """Steps of training."""
        return steps * weight / self.steps / self.seeds

    def reading(self, tokens: int, weight: float = 1.0) -> float:
        """Tokens that a measurement reads."""
        return tokens * weight * _FORWARD_SHARE / self.tokens / self.seeds


def training(
    line: Line,
    cuts: Mapping[int, tuple[str, ...]],
    prices: Prices,
    known: Known,
    stacked_with: int = 0,
) -> list[Job]:
    """The run of ``line``, and before it the states in which other runs leave it.

    Each state goes on from the one before and the run from the last one, so that all together they
    cost what the run alone would.

    Args:
        line: the run.
        cuts: the questions whose runs leave it, by step.
        prices: what steps cost.
        known: how a run was trained before, if it was.
        stacked_with: how many runs train as one with it.
    """
    spec, jobs = line.spec, list[Job]()
    done, parents = spec.begins, (spec.fork.state.key,) if spec.fork else ()
    for step in sorted(cuts):
        state = StateSpec(trained=spec, step=step)
        job = Job(
            spec=state,
            role=Role.STATE,
            strategy=Strategy.FORK,
            questions=line.questions if line.ends and line.role is Role.TRUNK else cuts[step],
            parents=parents,
            run_equivalents=prices.training(step - done, line.weight),
            code=Reason.STATE,
            reason=f"state of the {line.name} after step {step} of {spec.train.steps}: "
            f"{_cut(line, step, cuts[step])}",
            label=line.label,
            gates=line.gates(step),
            may_diverge=line.role is Role.ARM,
        )
        jobs.append(job)
        done, parents = step, (state.key,)
    if line.ends:
        before = f"; goes on from step {done}" if cuts else ""
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


def _cut(line: Line, step: int, questions: Sequence[str]) -> str:
    """Why a run is cut."""
    if all(rung.step != step for rung in line.rungs):
        return f"{', '.join(questions)} begin{'s' * (len(questions) == 1)} there"
    ends = "it may be stopped there" if line.role is Role.ARM else "arms may be stopped there"
    return f"{', '.join(questions)}: {ends}"


def heldout(
    line: Line,
    corpus: Corpus,
    role: Role,
    questions: tuple[str, ...],
    prices: Prices,
    step: int | None = None,
) -> Job:
    """The held-out loss of a run after ``step``, or at its end."""
    probe = methods()[HELDOUT_PROBE]
    blocks = min(probe.cls().blocks, len(corpus.blocks("heldout", line.spec.sequence)))
    spec = heldout_spec(line.spec, step)
    return Job(
        spec=spec,
        role=role,
        strategy=line.strategy,
        questions=questions,
        parents=(spec.measured.key,),
        run_equivalents=prices.reading(blocks * line.spec.sequence, line.weight),
        code=_measured(role, questions),
        reason=f"held-out loss, {line.name}" + (f", after step {step}" if step else ""),
    )


def heldout_spec(run: TrainSpec, step: int | None = None) -> MeasureSpec:
    """What measures the held-out loss of a run after ``step``, or at its end."""
    version = methods()[HELDOUT_PROBE].version
    return MeasureSpec(trained=run, probe=HELDOUT_PROBE, version=version, step=step)


def decision(spec: DecideSpec, question: str, labels: Sequence[str], says: str) -> Job:
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


def items(
    line: Line,
    question: ItemQuestion,
    treated: Treated,
    found: Sequence[Item],
    role: Role,
    prices: Prices,
) -> Job:
    """What a run made of the items of a question."""
    probe = probe_of(question.method)
    return Job(
        spec=MeasureSpec(
            trained=line.spec, probe=probe.name, version=probe.version, treated=treated
        ),
        role=role,
        strategy=line.strategy,
        questions=(question.id,),
        parents=(line.spec.key,),
        run_equivalents=prices.reading(sum(map(_test_tokens, found))),
        code=_measured(role, (question.id,)),
        reason=f"{probe.name} of {len(found)} items of {question.id!r}, {line.name}",
    )


def once(jobs: Iterable[Job], order: Sequence[str]) -> tuple[Job, ...]:
    """Each job once, for all the questions that it serves, in the ``order`` of these."""
    kept: dict[str, Job] = {}
    for job in jobs:
        first = kept.get(job.key)
        if first is None:
            kept[job.key] = job
            continue
        serves = {*first.questions, *job.questions}
        code = Reason.SHARED if first.code is Reason.NEW else first.code
        ordered = tuple(name for name in order if name in serves)
        gates = (*first.gates, *job.gates) if first.gates and job.gates else ()
        kept[job.key] = replace(
            first,
            questions=ordered,
            code=code,
            gates=tuple(dict.fromkeys(gates)),
            may_diverge=first.may_diverge and job.may_diverge,
        )
    return tuple(kept.values())


def in_order(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """``jobs`` as they stand, but that each comes after those that it waits for."""
    known = {job.key: job for job in jobs}
    found: dict[str, Job] = {}

    def add(job: Job) -> None:
        if job.key not in found:
            for key in job.after:
                add(known[key])
            found[job.key] = job

    for job in jobs:
        add(job)
    return tuple(found.values())


def _reason(line: Line, known: Known) -> Reason:
    before = known(line.spec)
    if before is not None and before.key == line.spec.key:
        return Reason.REUSED
    if line.role is Role.PLAIN:
        return Reason.CHECK
    if line.spec.fork:
        return Reason.FORK
    if line.spec.stack:
        return Reason.STACKED
    return _measured(line.role, line.questions)


def _measured(role: Role, questions: Sequence[str]) -> Reason:
    if role is Role.CHECK:
        return Reason.CHECK
    if role is Role.RUNG:
        return Reason.RUNG
    return Reason.SHARED if len(set(questions) - {AA}) > 1 else Reason.NEW


def _test_tokens(item: Item) -> int:
    """Tokens that a probe of ``item`` reads."""
    test = item.test
    if isinstance(test, Completion):
        return len(test.prompt) + len(test.target)
    if isinstance(test, Choice):
        return sum(len(test.prompt) + len(option) for option in test.options)
    return sum(len(c.prompt) + len(c.target) for c in (*test.treated, *test.plain))
