"""Jobs: the nodes of a plan, what each is there for, and the order that they come in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.tasks.trial import TrialSpec


class Role(StrEnum):
    """What a job is there for."""

    TRUNK = "trunk"
    PLAIN = "plain"
    ARM = "arm"
    OWN = "own"
    EXPERT = "expert"
    AVERAGE = "average"
    REAL = "real"
    RUNG = "rung"
    SMALL = "small"
    TUNING = "tuning"
    STATE = "state"
    ANSWER = "answer"
    DURING = "during"
    CHECK = "check"
    HELDOUT = "heldout"
    LOOK = "look"
    DECISION = "decision"


class Reason(StrEnum):
    """Why a job is in the plan, for programs; the sentence beside it is for people."""

    NEW = "new"
    SHARED = "shared"
    FORK = "fork"
    STATE = "state"
    CHECK = "check"
    LADDER = "ladder"
    EMULATED = "emulated"
    STACKED = "stacked"
    AVERAGE = "average"
    REUSED = "reused"
    CONFLICT = "conflict"
    LOOK = "look"
    DECISION = "decision"


@dataclass(frozen=True)
class Gate:
    """Closed when a decision stopped an arm.

    Attributes:
        decision: key of the job that decides.
        arm: the arm's number among those that are decided on, from 0.
    """

    decision: str
    arm: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """One node of a plan.

    Attributes:
        spec: all that determines its result.
        role: what it is there for.
        strategy: how the questions that it serves share training.
        questions: ids of the questions that it serves.
        parents: keys of the jobs whose results it needs.
        run_equivalents: its cost.
        code: why it is run, in a word.
        reason: the same in a sentence.
        label: what its run differs in from the base run, for a run that does.
        gates: where there are any, it is left out when all of them are closed.
        may_diverge: whether it trains an arm, whose divergence is an outcome and no failure.
    """

    spec: Spec
    role: Role
    strategy: Strategy
    questions: tuple[str, ...]
    parents: tuple[str, ...]
    run_equivalents: float
    code: Reason = Reason.NEW
    reason: str
    label: str = ""
    gates: tuple[Gate, ...] = ()
    may_diverge: bool = False

    @cached_property
    def key(self) -> str:
        """The hash of all that determines its result."""
        return self.spec.key

    @property
    def kind(self) -> str:
        """``train``, ``state``, ``average``, ``measure``, ``decide`` or ``trial``."""
        return self.spec.kind

    @property
    def after(self) -> tuple[str, ...]:
        """Keys of the jobs that must be settled before it begins."""
        return (*self.parents, *(gate.decision for gate in self.gates))

    @property
    def seed(self) -> int:
        """The seed of the run that it is or measures."""
        return self.spec.seed if isinstance(self.spec, TrialSpec) else self.trained.seed

    @property
    def trained(self) -> TrainSpec:
        """The training run that it is or is about.

        Raises:
            TypeError: of a trial, which is about a task.
        """
        if isinstance(self.spec, TrialSpec):
            raise TypeError(f"job {self.key} tries a task: no training run stands behind it")
        return self.spec.trained

    @property
    def stack(self) -> str | None:
        """The stack that it is trained in, None for a job by itself."""
        return self.spec.stack if isinstance(self.spec, TrainSpec) else None

    @property
    def is_check(self) -> bool:
        """Whether it tests the sharing rather than answer a question."""
        return self.role in (Role.PLAIN, Role.CHECK, Role.REAL, Role.TUNING)


def reason_of(role: Role, questions: Sequence[str]) -> Reason:
    """Why a job is there, as its role and the questions that it serves tell."""
    if role in (Role.CHECK, Role.REAL, Role.TUNING):
        return Reason.CHECK
    if role is Role.LOOK:
        return Reason.LOOK
    return Reason.SHARED if len(set(questions) - {AA}) > 1 else Reason.NEW


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
        answers = job if first.role is Role.REAL else first  # a check of one answers another
        kept[job.key] = replace(
            answers,
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
