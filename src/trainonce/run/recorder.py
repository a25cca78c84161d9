"""What an executor tells, written into the ledger while it runs."""

from __future__ import annotations

import math
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from trainonce.plan.jobs import Job
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache
from trainonce.run.ledger import Ledger, LedgerError, open_ledger, set_states, upsert
from trainonce.run.scheduler import Event, JobFailedError
from trainonce.run.tables import (
    DONE,
    AttemptRow,
    ExecutionRow,
    JobRow,
    PlanJobRow,
    PlanRow,
    StudyRow,
)

WRITE_SECONDS = 1.0
"""Between two writes, each of which is also a heartbeat."""

_ENDS = {"done": "finished", "failed": "failed", "crashed": "crashed", "diverged": "diverged"}
_LEFT_OUT = ("skipped", "diverged")
_STATES = {
    "done": "finished",
    "failed": "failed",
    "started": "running",
    "reused": "reused",
    **{kind: kind for kind in _LEFT_OUT},
}


class LedgerWarning(UserWarning):
    """The ledger could not be written while a study ran; the study goes on."""


@dataclass(frozen=True)
class Attempt:
    """One time that a job was started; the columns of a row, see `AttemptRow`."""

    job: str
    number: int
    state: str
    started: float
    heartbeat: float
    ended: float | None = None
    machine: str | None = None
    worker: str | None = None
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    seconds_left: float | None = None
    error: str | None = None


@contextmanager
def recording(plan: Plan, predicted: Mapping[str, float]) -> Iterator[Recorder]:
    """Write into the ledger what is told inside this.

    Args:
        plan: what is carried out.
        predicted: seconds that jobs should take here, by key, of those for which it is known.

    Raises:
        LedgerError: when the ledger cannot be used, before anything is run. Once it could, a
            failure of it is a warning.
    """
    ledger = open_ledger(plan.home)
    try:
        recorder = Recorder(ledger, plan, predicted)
        state, error = "stopped", None
        try:
            yield recorder
            state = "finished"
        except JobFailedError as failure:
            state, error = "failed", str(failure)
            raise
        finally:
            recorder.close(state, error)
    finally:
        ledger.close()


class Recorder:
    """One time that a plan is carried out.

    What is told is only remembered; a thread writes about once a second, so that a slow ledger
    never slows a study down.
    """

    def __init__(self, ledger: Ledger, plan: Plan, predicted: Mapping[str, float]) -> None:
        self._ledger = ledger
        self._cache = JobCache(plan.home)
        self._machine = platform.node()
        with ledger.writing() as session:
            self._plan = _begin(session, plan, predicted)
            execution = ExecutionRow(
                plan=self._plan,
                machine=self._machine,
                process=os.getpid(),
                state="running",
                started=time.time(),
                heartbeat=time.time(),
            )
            session.add(execution)
            session.flush()
            self._execution = execution.id
        self._lock = threading.Lock()
        self._attempts: dict[str, Attempt] = {}
        self._changed: dict[tuple[str, int], Attempt] = {}
        self._states: dict[str, str] = {}
        self._closing = threading.Event()
        self._warned = False
        self._thread = threading.Thread(target=self._write_now_and_then, daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Remember what is told."""
        with self._lock:
            self._note(event.kind, event.job.key, dict(event.facts))

    def close(self, state: str, error: str | None) -> None:
        """Write what is left, and how it ended."""
        with self._lock:
            for key, attempt in self._attempts.items():
                if attempt.state == "running":
                    self._set(key, replace(attempt, state="stopped", ended=time.time()))
                    self._states[key] = "waiting"
        self._closing.set()
        self._thread.join()
        self._write(state, error)

    def _note(self, kind: str, key: str, facts: dict[str, Any]) -> None:
        now = time.time()
        if kind == "crashed":  # which the executor may try again
            self._states[key] = "waiting" if "retry" in facts else "failed"
        elif kind in _STATES:
            self._states[key] = _STATES[kind]
        before = self._attempts.get(key)
        if kind in _LEFT_OUT:
            facts["error"] = facts["why"]
            if before is None:  # never begun by this executor; it is there to say why
                self._set(key, Attempt(key, 1, kind, now, now, ended=now, error=facts["why"]))
                return
        if kind == "started":
            if before and before.state == "running":  # a worker was lost, and another took it
                self._set(key, replace(before, state="lost", ended=now))
            number = before.number + 1 if before else 1
            self._set(key, Attempt(key, number, "running", now, now, machine=self._machine))
            before = self._attempts[key]
        if before is None:  # reused, or nothing that this executor began
            return
        known = {name: facts[name] for name in _FACTS if _is_said(facts.get(name))}
        if "worker" in known:
            known["worker"] = str(known["worker"])
        attempt = replace(before, heartbeat=now, **known)
        if kind in _ENDS:
            attempt = replace(attempt, state=_ENDS[kind], ended=now, seconds_left=None)
        self._set(key, attempt)

    def _set(self, key: str, attempt: Attempt) -> None:
        self._attempts[key] = attempt
        self._changed[key, attempt.number] = attempt

    def _write_now_and_then(self) -> None:
        while not self._closing.wait(WRITE_SECONDS):
            self._write("running", None)

    def _write(self, state: str, error: str | None) -> None:
        """Write what has changed; what cannot be written is kept for the next time."""
        with self._lock:
            changed, self._changed = self._changed, {}
            states, self._states = self._states, {}
        try:
            with self._ledger.writing() as session:
                self._write_rows(session, changed, states)
                now = time.time()
                ended = None if state == "running" else now
                session.execute(
                    update(ExecutionRow)
                    .where(ExecutionRow.id == self._execution)
                    .values(state=state, heartbeat=now, ended=ended, error=error)
                )
        except LedgerError as problem:
            with self._lock:
                self._changed = {**changed, **self._changed}
                self._states = {**states, **self._states}
            if not self._warned:
                warnings.warn(f"{problem}. The study goes on", LedgerWarning, stacklevel=2)
            self._warned = True

    def _write_rows(
        self, session: Session, changed: dict[tuple[str, int], Attempt], states: dict[str, str]
    ) -> None:
        rows = [{"execution": self._execution, **vars(attempt)} for attempt in changed.values()]
        unique = ("execution", "job", "number")
        upsert(session, AttemptRow, rows, unique=unique, change=_ATTEMPT_CHANGES)
        set_states(session, self._plan, states)
        facts = [self._facts(key) for key, state in states.items() if state in DONE]
        if facts:
            session.execute(update(JobRow), facts)

    def _facts(self, key: str) -> dict[str, Any]:
        """Seconds and machine of the process that finished a job, as its folder says."""
        try:
            result = self._cache.result(key)
        except (OSError, ValueError):  # dropped since; the ledger is not the place to complain
            result = {}
        return {"key": key, "seconds": result.get("seconds"), "machine": result.get("machine")}


_FACTS = ("machine", "worker", "step", "steps", "loss", "seconds_left", "error")
_ATTEMPT_CHANGES = ("state", "heartbeat", "ended", *_FACTS)


def _is_said(value: Any) -> bool:
    """Whether there is something to write; a loss that is no number any more is not."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _begin(session: Session, plan: Plan, predicted: Mapping[str, float]) -> int:
    """Write study, plan and jobs, all of them waiting; the plan's number."""
    study = {"title": plan.study, "file": str(plan.file.resolve())}
    upsert(session, StudyRow, [study], unique=study)
    known_study = session.scalars(select(StudyRow.id).filter_by(**study)).one()
    begun = {"study": known_study, "hash": plan.hash, "home": str(plan.home.resolve())}
    upsert(session, PlanRow, [begun], unique=begun)
    number = session.scalars(select(PlanRow.id).filter_by(**begun)).one()
    jobs = [{"key": job.key, "kind": job.kind, "seed": job.seed} for job in plan.jobs]
    # in one order, so that two plans that are begun at once never wait for each other
    upsert(session, JobRow, sorted(jobs, key=lambda job: str(job["key"])), unique=["key"])
    wanted = [
        {"plan": number, "position": position, **_wanted(job, predicted.get(job.key))}
        for position, job in enumerate(plan.jobs)
    ]
    changing = set(wanted[0]) - {"plan", "job"} if wanted else ()
    upsert(session, PlanJobRow, wanted, unique=["plan", "job"], change=changing)
    return number


def _wanted(job: Job, predicted: float | None) -> dict[str, Any]:
    return {
        "job": job.key,
        "role": job.role.value,
        "reason": job.reason,
        "questions": list(job.questions),
        "parents": list(job.parents),
        "run_equivalents": job.run_equivalents,
        "predicted_seconds": predicted,
        "state": "waiting",
    }
