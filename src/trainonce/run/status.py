"""What the ledger knows of a study: which jobs are done, which run and how far, what they cost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from trainonce.run.ledger import newest_plans
from trainonce.run.tables import (
    DONE,
    SETTLED,
    AttemptRow,
    ExecutionRow,
    JobRow,
    PlanJobRow,
    PlanRow,
    StudyRow,
)

DEAD_SECONDS = 30.0
"""Without a heartbeat, of which there is one a second, after which a process is called dead."""

STATES = (*SETTLED, "running", "dead", "failed", "waiting")


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A job that a plan wants.

    Attributes:
        key: the job's.
        kind: ``train``, ``state``, ``average``, ``measure`` or ``decide``.
        reason: why it is run.
        state: one of `STATES`; ``dead`` when the process that ran it is.
        run_equivalents: its cost.
        seconds: that it took; None when it is not finished.
        predicted_seconds: what the plan said that it would take.
        step: how far it is, of ``steps``; None when it has not told.
        steps: of the whole run.
        loss: at ``step``.
        seconds_left: as the job itself sees it.
        silent: seconds since it was last heard of; None when it does not run.
        machine: where it runs or was started last.
        worker: the process there.
        error: of a failed job; why a job was skipped or diverged.
    """

    key: str
    kind: str
    reason: str
    state: str
    run_equivalents: float
    seconds: float | None
    predicted_seconds: float | None
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    seconds_left: float | None = None
    silent: float | None = None
    machine: str | None = None
    worker: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """A study as it was begun last.

    Attributes:
        study: its title.
        file: the study file.
        plan_hash: the plan's.
        home: where its jobs are kept.
        state: ``running``, ``finished``, ``failed``, ``stopped`` or ``dead``.
        machine: where it was started last.
        process: the process there.
        started: when, in seconds since 1970.
        elapsed: seconds from then to its end, or to when it was last heard of.
        silent: seconds since it was last heard of, None when it has ended.
        error: why it failed.
        jobs: in the plan's order.
    """

    study: str
    file: str
    plan_hash: str
    home: str
    state: str
    machine: str
    process: int
    started: float
    elapsed: float
    silent: float | None
    error: str | None
    jobs: tuple[JobStatus, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        counted = Counter(job.state for job in self.jobs)
        return {state: counted[state] for state in STATES}

    @property
    def seconds(self) -> float:
        """What the jobs that this study ran itself took, side by side or not."""
        return sum(job.seconds or 0.0 for job in self.jobs if job.state == "finished")

    @property
    def saved_seconds(self) -> float:
        """What the jobs took that were there before."""
        return sum(job.seconds or 0.0 for job in self.jobs if job.state == "reused")

    @property
    def run_equivalents(self) -> float:
        """What all jobs cost together, checks too."""
        return sum(job.run_equivalents for job in self.jobs)

    @property
    def run_equivalents_done(self) -> float:
        """The part of it that is finished or was reused."""
        return sum(job.run_equivalents for job in self.jobs if job.state in DONE)

    @property
    def settled(self) -> int:
        """How many jobs nothing more is done for."""
        return sum(job.state in SETTLED for job in self.jobs)

    @property
    def run_equivalents_saved(self) -> float:
        """The part of it that is not trained, since arms were stopped or diverged."""
        return sum(job.run_equivalents for job in self.jobs if job.state == "skipped")

    def to_json(self) -> dict[str, Any]:
        """The status as one JSON document."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "jobs"},
            "counts": self.counts,
            "seconds": round(self.seconds, 3),
            "saved_seconds": round(self.saved_seconds, 3),
            "run_equivalents": round(self.run_equivalents, 4),
            "run_equivalents_done": round(self.run_equivalents_done, 4),
            "run_equivalents_saved": round(self.run_equivalents_saved, 4),
            "jobs": [asdict(job) for job in self.jobs],
        }


def study_statuses(
    session: Session, *, file: Path | None = None, latest: int | None = None
) -> list[StudyStatus]:
    """What the ledger knows of the studies that were begun, the newest first.

    Args:
        session: one that reads.
        file: of this study file alone.
        latest: at most so many.
    """
    found = [
        (plan, study)
        for plan, study in newest_plans(session)
        if file is None or study.file == str(file.resolve())
    ]
    now = time.time()
    return [_status(session, plan, study, now) for plan, study in found[:latest]]


def _status(session: Session, plan: PlanRow, study: StudyRow, now: float) -> StudyStatus:
    executions = session.scalars(
        select(ExecutionRow).where(ExecutionRow.plan == plan.id).order_by(ExecutionRow.id)
    ).all()
    live = {one.id for one in executions if one.state == "running" and _alive(one, now)}
    shown = next((one for one in reversed(executions) if one.id in live), executions[-1])
    dead = shown.state == "running" and shown.id not in live
    attempts: dict[str, AttemptRow] = {}
    for attempt in session.scalars(
        select(AttemptRow)
        .where(AttemptRow.execution.in_([one.id for one in executions]))
        .order_by(AttemptRow.execution, AttemptRow.number)
    ):
        at_it = attempts.get(attempt.job)
        if at_it is None or not _runs(at_it, live) or _runs(attempt, live):
            attempts[attempt.job] = attempt
    jobs = session.execute(
        select(PlanJobRow, JobRow)
        .join(JobRow, JobRow.key == PlanJobRow.job)
        .where(PlanJobRow.plan == plan.id)
        .order_by(PlanJobRow.position)
    )
    return StudyStatus(
        study=study.title,
        file=study.file,
        plan_hash=plan.hash,
        home=plan.home,
        state="dead" if dead else shown.state,
        machine=shown.machine,
        process=shown.process,
        started=shown.started,
        elapsed=(shown.ended or shown.heartbeat) - shown.started,
        silent=max(0.0, now - shown.heartbeat) if shown.state == "running" else None,
        error=shown.error,
        jobs=tuple(_job(wanted, job, attempts, live, now) for wanted, job in jobs),
    )


def _alive(execution: ExecutionRow, now: float) -> bool:
    return now - execution.heartbeat < DEAD_SECONDS


def _runs(attempt: AttemptRow, live: set[int]) -> bool:
    return attempt.state == "running" and attempt.execution in live


def _job(
    wanted: PlanJobRow,
    job: JobRow,
    attempts: Mapping[str, AttemptRow],
    live: set[int],
    now: float,
) -> JobStatus:
    attempt = attempts.get(wanted.job)
    runs = attempt is not None and _runs(attempt, live)
    state = wanted.state
    if state not in SETTLED:
        state = "running" if runs else "dead" if state == "running" else state
    about: dict[str, Any] = {}
    if attempt and state != "reused":
        names = ("step", "steps", "loss", "machine", "worker", "error")
        about = {name: getattr(attempt, name) for name in names}
    if attempt and state in ("running", "dead"):
        about |= {"seconds_left": attempt.seconds_left, "silent": max(0.0, now - attempt.heartbeat)}
    return JobStatus(
        key=wanted.job,
        kind=job.kind,
        reason=wanted.reason,
        state=state,
        run_equivalents=wanted.run_equivalents,
        seconds=job.seconds,
        predicted_seconds=wanted.predicted_seconds,
        **about,
    )
