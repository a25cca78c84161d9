"""A plan: the graph of jobs that answers a study, with its cost and its assumptions."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from trainonce.plan import shown
from trainonce.plan.early.settle import Stopping
from trainonce.sites import Site
from trainonce.stream.home import home as default_home
from trainonce.study.questions import Question
from trainonce.study.schema import AA, Strategy
from trainonce.study.trackers import Tracker
from trainonce.tasks.specs import Spec, TrainSpec
from trainonce.tasks.trial import TrialSpec
from trainonce.train.settings import CheckpointSettings


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


@dataclass(frozen=True, kw_only=True)
class PlannedArm:
    """The runs of one arm of a question about runs.

    Attributes:
        label: what differs from the base run.
        measured: the job that measures its run, or what stands for it, a seed each, in the order of
            the plan's seeds.
        real: where averages of parameters answer, the jobs that measure the same mixture after it
            was trained for real: an expert's own ones; empty for an average that is not checked.
    """

    label: str
    measured: tuple[str, ...]
    real: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannedPoint:
    """A rung that a scaling law is fitted to.

    Attributes:
        label: its size, and its length where it is shorter.
        parameters: of its model.
        tokens: that it reads.
        measured: the job that measures its run, a seed each.
    """

    label: str
    parameters: int
    tokens: int
    measured: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedLadder:
    """What an arm is predicted from.

    Attributes:
        parameters: of the arm's model.
        tokens: that the arm would read.
        points: the ladder, the base run first.
    """

    parameters: int
    tokens: int
    points: tuple[PlannedPoint, ...]

    @property
    def lengths(self) -> bool:
        """Whether rungs have several lengths, so that the law has tokens too."""
        return len({point.tokens for point in self.points}) > 1


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many items of a question are compared, and how much of its run they change.

    Attributes:
        treated: items at the highest dose, over all seeds.
        control: items at dose 0.
        strata: seeds and kinds of items within which doses were dealt.
        share: of the tokens of its run that the question changes.
        run_share: of them that all questions in that run change.
        left_out: items of its file that were drawn and left out, as they do not fit.
    """

    treated: int
    control: int
    strata: int
    share: float
    run_share: float
    left_out: int = 0

    def times(self, by: Fraction) -> Sizes:
        """``by`` times as many items in each stratum."""
        treated, control = int(self.treated * by), int(self.control * by)
        return replace(self, treated=treated, control=control)

    def seeds(self, before: int, after: int) -> Sizes:
        """The same items a seed, at another number of seeds."""
        more = self.times(Fraction(after, before))
        return replace(more, strata=self.strata * after // before)


@dataclass(frozen=True, kw_only=True)
class PlannedRung:
    """A step after which arms may be stopped.

    Attributes:
        step: the step.
        decision: the job that decides.
        measured: the jobs that measure the base run and then each arm there, a seed each.
    """

    step: int
    decision: str
    measured: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PlannedQuestion:
    """What the design can tell about a question before anything is trained.

    Attributes:
        question: as loaded.
        strategy: how it shares training.
        detectable_effect: smallest true effect (of the highest dose against dose 0, or of the last
            arm against the base run) that is found with 80 % power at the corrected level; None
            where there is no such effect, since a single pair of runs has no spread.
        units: items, over all seeds; or runs an arm.
        assumptions: what the answer rests on.
        arms: for a question about runs, the base run and the arms; the last one decides. An arm
            that is predicted is not measured.
        ladder: what the arm is predicted from, where it is.
        tuning: the job that measures the last arm made for real, for the first seed, where the
            arms are emulated.
        sizes: for a question about items, what its precision is computed from.
        during: steps after which its items are measured, before the end of the run.
        stopping: how losing arms are stopped, None where the study does not ask for it.
        rungs: where arms may be stopped, ascending; none where nothing is.
    """

    question: Question
    strategy: Strategy
    detectable_effect: float | None
    units: int
    assumptions: tuple[str, ...]
    arms: tuple[PlannedArm, ...] = ()
    sizes: Sizes | None = None
    during: tuple[int, ...] = ()
    ladder: PlannedLadder | None = None
    tuning: str | None = None
    stopping: Stopping | None = None
    rungs: tuple[PlannedRung, ...] = ()

    @property
    def rests_on(self) -> list[Any]:
        """What decides it beside its arms' measurements, as plain data; empty for most."""
        ladder = [asdict(self.ladder)] if self.ladder else []
        return [*ladder, *([self.tuning] if self.tuning else [])]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where its treatment acts, and the method by which its strategy answers."""
        by = {Strategy.AVERAGE: (Site.WEIGHTS,), Strategy.EMULATE: (Site.INFERENCE,)}
        return (*self.question.sites, *by.get(self.strategy, ()))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The jobs that answer a study; planning and running share this one object.

    Attributes:
        study: the study's title.
        file: the study file.
        home: where corpora and jobs are kept.
        jobs: each after its parents.
        questions: the A/A question last.
        seeds: seeds of the base run.
        tokens: tokens that one training run reads.
        changed_share: share of them that insertions replace, over the seeds' mean.
        allow_changed: the largest share that the study allows.
        one_run_a_question: what the same questions cost when each trains its own run.
        checkpoints: when runs save their state; no result depends on it.
        tracking: what runs are tracked with; no result depends on it.
        text: the study file's text; no result depends on it.
        parts: fingerprint of the parts of the corpus that the recipe names; None where it names
            none. No result depends on it.
    """

    study: str
    file: Path
    home: Path
    jobs: tuple[Job, ...]
    questions: tuple[PlannedQuestion, ...]
    seeds: tuple[int, ...]
    tokens: int
    changed_share: float
    allow_changed: float
    one_run_a_question: float
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    tracking: tuple[Tracker, ...] = ()
    text: str = ""
    parts: str | None = None

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        return shown.html(self)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write it to a file, to be carried out later or elsewhere; see `trainonce.plan.saved`."""
        from trainonce.plan.saved import save  # which is made of plans

        save(self, Path(file))

    @classmethod
    def read(cls, file: str | os.PathLike[str], home: str | os.PathLike[str] | None = None) -> Plan:
        """A plan that `save` wrote.

        Args:
            file: what was written.
            home: where corpora and jobs are kept; as for `trainonce.lab.Study.load`.

        Raises:
            PlanFileError: when it was changed since, or cannot be carried out here.
        """
        from trainonce.plan.saved import read

        return read(Path(file), Path(home) if home else default_home())

    @property
    def run_equivalents(self) -> float:
        """The cost of the answers. One run-equivalent is the recipe, once at each of its seeds."""
        return sum(job.run_equivalents for job in self.jobs if not job.is_check)

    @property
    def checks_run_equivalents(self) -> float:
        """The cost, on top, of testing that sharing did no harm."""
        return sum(job.run_equivalents for job in self.jobs if job.is_check)

    @cached_property
    def hash(self) -> str:
        """The hash of the jobs and of how their measurements become answers."""
        asked = [
            (
                *(q.question.id, q.question.outcome.name, q.question.direction),
                *(q.question.smallest, *([arm.label, *arm.measured, *arm.real] for arm in q.arms)),
                *q.rests_on,
            )
            for q in self.questions
        ]
        return _hash([self.jobs_hash, sorted(asked)])

    @cached_property
    def jobs_hash(self) -> str:
        """The hash of the jobs alone."""
        return _hash(sorted(job.key for job in self.jobs))

    @property
    def over_task(self) -> bool:
        """Whether it tries a task, rather than train runs that read a corpus."""
        return all(job.kind == "trial" for job in self.jobs)

    def job(self, key: str) -> Job:
        """The job of a key."""
        return self._by_key[key]

    @cached_property
    def _by_key(self) -> dict[str, Job]:
        return {job.key: job for job in self.jobs}

    def shares_with(self, question: str) -> tuple[str, ...]:
        """The other questions that a training run of ``question`` serves too, but for the A/A."""
        return tuple(
            name for name in self._together.get(question, ()) if name not in (question, AA)
        )

    @cached_property
    def _together(self) -> dict[str, dict[str, None]]:
        """By question, the questions that its training runs serve."""
        groups = {job.questions for job in self.jobs if job.kind != "measure" and not job.is_check}
        found: dict[str, dict[str, None]] = {}
        for group in sorted(groups):
            for name in group:
                found.setdefault(name, {}).update(dict.fromkeys(group))
        return found

    def to_json(self) -> dict[str, Any]:
        """The plan as one JSON document."""
        return {
            "study": self.study,
            "hash": self.hash,
            "run_equivalents": round(self.run_equivalents, 4),
            "checks_run_equivalents": round(self.checks_run_equivalents, 4),
            "one_run_a_question": round(self.one_run_a_question, 4),
            "seeds": list(self.seeds),
            "tokens_a_run": self.tokens,
            "changed_share": self.changed_share,
            "allow_changed": self.allow_changed,
            "jobs": [
                {
                    "key": job.key,
                    "kind": job.kind,
                    "role": job.role.value,
                    "strategy": job.strategy.value,
                    "seed": job.seed,
                    "stack": job.stack,
                    "questions": list(job.questions),
                    "parents": list(job.parents),
                    "gates": [asdict(gate) for gate in job.gates],
                    "run_equivalents": round(job.run_equivalents, 6),
                    "code": job.code.value,
                    "reason": job.reason,
                }
                for job in self.jobs
            ],
            "questions": [
                {
                    "id": planned.question.id,
                    "ask": planned.question.ask,
                    "method": planned.question.treated_by,
                    "unit": planned.question.unit.value,
                    "sites": [site.value for site in planned.sites],
                    "arms": [arm.label for arm in planned.arms],
                    "outcome": planned.question.outcome.name,
                    "strategy": planned.strategy.value,
                    "shares_with": list(self.shares_with(planned.question.id)),
                    "units": planned.units,
                    "measured_after": list(planned.during),
                    "detectable_effect": planned.detectable_effect,
                    "smallest_effect": planned.question.smallest,
                    "assumptions": list(planned.assumptions),
                    "ladder": asdict(planned.ladder) if planned.ladder else None,
                }
                for planned in self.questions
            ],
        }


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]
