"""Looks at a study: its plan, what the ledger says of it, its losses, and its answers so far."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session

from trainonce.analysis.answering import answers_so_far, serving
from trainonce.analysis.answers import Answer
from trainonce.plan.plan import Plan
from trainonce.report.live.curves import Losses, known_runs, runs_of
from trainonce.report.live.facts import (
    OPEN,
    Facts,
    Line,
    Seen,
    answer_facts,
    branch_facts,
    curve_facts,
    job_facts,
    study_facts,
    told,
)
from trainonce.run.cache import JobCache
from trainonce.run.fates import Kind, fates
from trainonce.run.ledger import Ledger, LedgerError, known_ledger
from trainonce.run.status import JobStatus, StudyStatus, study_statuses
from trainonce.study.problems import StudyError
from trainonce.study.schema import AA

LATEST = 20
LOG_BYTES = 32_768

_LOG = "the log: "
_LOOK_SECONDS = 0.9
_STATES = {
    Kind.OPEN: "waiting",
    Kind.DONE: "reused",
    Kind.SKIPPED: "skipped",
    Kind.DIVERGED: "diverged",
}


@dataclass
class Records:
    """The ledger of a home folder, opened once there is one."""

    home: Path
    _ledger: Ledger | None = None

    def studies(self, file: Path | None = None) -> list[StudyStatus]:
        """What it knows of a study file, or of the latest studies.

        Raises:
            LedgerError: when it cannot be read.
        """
        if self._ledger is None:
            self._ledger = known_ledger(self.home)
        if self._ledger is None:
            return []
        with self._ledger.reading() as session:
            return self._read(session, file)

    def _read(self, session: Session, file: Path | None) -> list[StudyStatus]:
        return study_statuses(session, file=file, latest=1 if file else LATEST)


class Glance:
    """Something that is looked at now and then, however many pages show it.

    Args:
        look: takes the look; says what went wrong by a `LedgerError` or a `StudyError`.
    """

    def __init__(self, look: Callable[[], Seen]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._last = Seen("", {})
        self._when = -_LOOK_SECONDS

    def __call__(self) -> Seen:
        """What is there now, or was a moment ago."""
        with self._lock:
            if time.monotonic() - self._when >= _LOOK_SECONDS:
                self._last = self._taken()
                self._when = time.monotonic()
            return self._last

    def forget(self) -> None:
        """Take the next look at once."""
        with self._lock:
            self._when = -_LOOK_SECONDS

    def _taken(self) -> Seen:
        try:
            seen = self._look()
        except (LedgerError, StudyError) as error:
            facts: Facts = {**self._last.facts, "problem": str(error), "problem.hidden": False}
            return Seen(self._last.structure, facts)
        return Seen(seen.structure, {"problem": "", "problem.hidden": True, **seen.facts})


@dataclass
class LedgerStudy:
    """A study of which only the ledger is known: no plan, so no picture and no answers."""

    records: Records
    hash: str
    status: StudyStatus | None = None
    losses: Losses | None = None
    lines: tuple[Line, ...] = ()

    def look(self) -> Seen:
        """Its jobs and losses as they are now.

        Raises:
            LedgerError: when the ledger cannot be read.
        """
        known = self.records.studies()
        self.status = next((study for study in known if study.plan_hash == self.hash), None)
        jobs = self.status.jobs if self.status else ()
        if self.losses is None and self.status:
            self.losses = Losses(JobCache(Path(self.status.home)), known_runs(jobs))
            self.lines = tuple(_line(job) for job in jobs)
        facts = study_facts(self.status, jobs) | job_facts(jobs) | failure(self.status)
        facts["study.told"] = told(self.status, jobs, 0, 0)
        if self.losses:
            by_key = {job.key: job for job in jobs}
            facts |= curve_facts(self.losses.runs, self.losses.drawn(by_key))
        return Seen(self.hash, facts)


@dataclass
class ServedStudy:
    """The study that the page is for.

    Attributes:
        records: the ledger.
        plan_again: plans its file as it is now.
        plan: as planned last.
        status: what the ledger said last, None when it was never begun.
        jobs: of the plan, by key, at the last look.
    """

    records: Records
    plan_again: Callable[[], Plan]
    plan: Plan
    status: StudyStatus | None = None
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    losses: Losses = field(init=False)
    lines: tuple[Line, ...] = field(init=False)
    _answers: dict[str, Answer] = field(init=False)
    _problem: str = field(init=False)
    _tried: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    _planned_for: str | None = None

    def __post_init__(self) -> None:
        """Set up what is kept between looks."""
        self._take(self.plan)

    def look(self) -> Seen:
        """Everything as it is now.

        Raises:
            LedgerError: when the ledger cannot be read.
            StudyError: when the file was changed and is wrong now.
        """
        self.status = next(iter(self.records.studies(self.plan.file)), None)
        begun = self.status.plan_hash if self.status else None
        if begun not in (None, self.plan.hash, self._planned_for):
            self._planned_for = begun  # once for each: the file may have changed again since
            self._take(self.plan_again())
        jobs = self.jobs = self._jobs()
        self._answer(jobs)
        settled = {key for key, job in jobs.items() if job.state not in OPEN}
        needed = {p.question.id: serving(self.plan, p) - settled for p in self.plan.questions}
        asked = [p.question.id for p in self.plan.questions if p.question.id != AA]
        answered = sum(name in self._answers for name in asked)
        ordered = list(jobs.values())
        left = {name: len(keys) for name, keys in needed.items()}
        facts = {
            **study_facts(self.status, ordered),
            **job_facts(ordered),
            **branch_facts(self.plan, jobs),
            **answer_facts(self.plan, self._answers, left, self._problem),
            **curve_facts(self.losses.runs, self.losses.drawn(jobs)),
            **failure(self.status),
            "study.told": told(self.status, ordered, answered, len(asked)),
        }
        return Seen(self.plan.hash, facts)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to be done, as of the last look."""
        return bool(self.jobs) and all(job.state not in OPEN for job in self.jobs.values())

    def _take(self, plan: Plan) -> None:
        self.plan = plan
        self.losses = Losses(JobCache(plan.home), runs_of(plan))
        self.lines = tuple(
            Line(key=job.key, kind=job.kind, reason=job.reason, run_equivalents=job.run_equivalents)
            for job in plan.jobs
        )
        self._answers, self._problem, self._tried = {}, "", (frozenset(), frozenset())

    def _jobs(self) -> dict[str, JobStatus]:
        """Each job of the plan: as the ledger knows it, or else as the cache does."""
        fate = fates(self.plan, JobCache(self.plan.home))
        known = {job.key: job for job in self.status.jobs} if self.status else {}
        found = {}
        for job in self.plan.jobs:
            found[job.key] = known.get(job.key) or JobStatus(
                key=job.key,
                kind=job.kind,
                reason=job.reason,
                state=_STATES[fate[job.key].kind],
                run_equivalents=job.run_equivalents,
                seconds=None,
                predicted_seconds=None,
            )
        return found

    def _answer(self, jobs: dict[str, JobStatus]) -> None:
        """Answer the questions whose jobs are done, again when that becomes possible for more."""
        settled = {key for key, job in jobs.items() if job.state not in OPEN}
        ready = [p for p in self.plan.questions if serving(self.plan, p) <= settled]
        names = frozenset(planned.question.id for planned in ready)
        if names == self._tried[0] and (not self._problem or settled == self._tried[1]):
            return
        self._tried = names, frozenset(settled)
        try:
            found = answers_so_far(self.plan, ready)
        except (OSError, ValueError, LookupError) as error:  # for one, jobs dropped from the cache
            self._problem = f"could not be computed: {type(error).__name__}: {error}"
            return
        self._answers, self._problem = {answer.question: answer for answer in found}, ""


def studies_seen(studies: Iterable[StudyStatus]) -> Seen:
    """The list of studies."""
    facts: Facts = {}
    names = []
    for number, study in enumerate(studies):
        names.append(f"{study.plan_hash} {study.home}")
        whole = study_facts(study, study.jobs)
        for name in ("state", "word", "when", "done", "jobs", "cost"):
            facts[f"studies.{number}.{name}"] = whole[f"study.{name}"]
    return Seen(hashlib.sha256("\n".join(names).encode()).hexdigest(), facts)


def failure(study: StudyStatus | None) -> Facts:
    """What went wrong in a study that failed, with the end of the log of the job that did."""
    if study is None or study.state != "failed" or not study.error:
        return {"failure.hidden": True, "failure.error": "", "failure.log": ""}
    error, _, named = study.error.rpartition(f"\n{_LOG}")
    text = end_of_log(Path(named), Path(study.home)) if error else ""
    return {
        "failure.hidden": False,
        "failure.error": error or named,
        "failure.log": text or "The log is not there any more.",
    }


def end_of_log(log: Path, home: Path) -> str:
    """The end of a log of ``home``; of no other file, whatever a ledger says. Empty for none."""
    try:
        log = log.resolve(strict=True)
        if not log.is_relative_to((home / "logs").resolve()):
            return ""
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _line(job: JobStatus) -> Line:
    return Line(key=job.key, kind=job.kind, reason=job.reason, run_equivalents=job.run_equivalents)
