"""What is in the job cache, who wants it, and what it cannot be read without."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import filelock
from pydantic import TypeAdapter
from sqlalchemy import select

from trainonce.run.cache import JobCache
from trainonce.run.ledger import Ledger, known_ledger, last_used, newest_plans
from trainonce.run.status import DEAD_SECONDS
from trainonce.run.tables import ExecutionRow, PlanJobRow, PlanRow, StudyRow
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.checkpoints import CheckpointError, Checkpoints, peek


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A finished job.

    Attributes:
        key: the job's.
        kind: ``train``, ``state``, ``average``, ``measure`` or ``decide``; ``damaged`` when its
            result cannot be read.
        size: bytes of its folder.
        finished: when, in seconds since 1970.
        used: when a plan last wanted it, or else when it was finished.
        seconds: that it took; None when nobody knows.
        studies: titles of those that are known to want it.
        questions: ids of those that it serves there.
        state: key of the job in whose folder tensors of it are; None when all are in its own.
        stack: the stack that it was trained in.
    """

    key: str
    kind: str
    size: int
    finished: float
    used: float
    seconds: float | None
    studies: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    state: str | None = None
    stack: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """The folder of a job, or of the jobs of a stack, that began and was not finished.

    Attributes:
        key: of the job or the stack.
        folder: where it is.
        size: its bytes.
        jobs: keys of the jobs that it is of; empty when it holds no checkpoint that says so.
        state: key of the state that it forked from.
        used: when it was last written to, in seconds since 1970.
    """

    key: str
    folder: Path
    size: int
    jobs: tuple[str, ...]
    state: str | None
    used: float


@dataclass(frozen=True)
class Uses:
    """What the ledger knows of the jobs in a home folder; nothing where there is no ledger.

    Attributes:
        known: whether there is a ledger.
        studies: titles by job, of all plans.
        questions: ids by job, of all plans.
        used: when a plan last wanted a job.
        wanted: jobs of the plan that each study was begun with last, or of one that is running.
        parents: what the jobs of those plans are made from, by job.
    """

    known: bool = False
    studies: Mapping[str, set[str]] = field(default_factory=dict)
    questions: Mapping[str, set[str]] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    parents: Mapping[str, set[str]] = field(default_factory=dict)


def known_uses(home: Path) -> Uses:
    """What the ledger of ``home`` knows of its jobs; nothing where there is none.

    Raises:
        LedgerError: when it cannot be read.
    """
    opened = known_ledger(home)
    try:
        return uses(opened, home)
    finally:
        if opened:
            opened.close()


def uses(ledger: Ledger | None, home: Path) -> Uses:
    """What ``ledger`` knows of the jobs in ``home``.

    Raises:
        LedgerError: when it cannot be read.
    """
    if ledger is None:
        return Uses()
    studies: dict[str, set[str]] = {}
    questions: dict[str, set[str]] = {}
    parents: dict[str, set[str]] = {}
    with ledger.reading() as session:
        running = select(ExecutionRow.plan).where(
            ExecutionRow.state == "running", ExecutionRow.heartbeat > time.time() - DEAD_SECONDS
        )
        current = {plan.id for plan, _ in newest_plans(session, home)}
        current |= set(session.scalars(running))
        rows = session.execute(
            select(PlanJobRow, StudyRow.title)
            .join(PlanRow, PlanRow.id == PlanJobRow.plan)
            .join(StudyRow, StudyRow.id == PlanRow.study)
            .where(PlanRow.home == str(home.resolve()))
        )
        for row, title in rows:
            studies.setdefault(row.job, set()).add(title)
            questions.setdefault(row.job, set()).update(row.questions)
            if row.plan in current:
                parents.setdefault(row.job, set()).update(row.parents)
        used = last_used(session, home)
    return Uses(True, studies, questions, used, frozenset(parents), parents)


def entries(cache: JobCache, known: Uses) -> list[Entry]:
    """The finished jobs, the one that was used last first."""
    found = [_entry(cache, key, known) for key in cache.finished()]
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def leftovers(cache: JobCache) -> list[Leftover]:
    """The folders of jobs that are not finished, or whose folder outlived them."""
    return [_leftover(folder) for folder in sorted((cache.home / "jobs").glob("*.work"))]


def running(cache: JobCache) -> frozenset[str]:
    """Keys of the jobs and stacks that a process holds now."""
    locks = sorted((cache.home / "jobs").glob("*.lock"))
    return frozenset(file.stem for file in locks if _held(file))


def _held(file: Path) -> bool:
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def _entry(cache: JobCache, key: str, known: Uses) -> Entry:
    folder = cache.folder(key)
    written = (folder / "result.json").stat().st_mtime
    about: dict[str, Any] = {"kind": "damaged", "seconds": None}
    try:
        result = cache.result(key)
        about = {
            "kind": result["spec"]["kind"],
            "seconds": result.get("seconds"),
            "state": result["unchanged"]["state"] if "unchanged" in result else None,
            "stack": result["spec"].get("stack"),
        }
    except (ValueError, KeyError, TypeError):  # `verify` says what is wrong with it
        pass
    return Entry(
        key=key,
        size=size_of(folder),
        finished=written,
        used=max(written, known.used.get(key, 0.0)),
        studies=tuple(sorted(known.studies.get(key, ()))),
        questions=tuple(sorted(known.questions.get(key, ()))),
        **about,
    )


def _leftover(folder: Path) -> Leftover:
    jobs: Iterable[str] = ()
    state = None
    for saved in Checkpoints(folder / "checkpoints").folders():
        try:
            facts = peek(saved)
            jobs = facts["stack"] if "stack" in facts else [facts["job"]]
            if "spec" in facts:
                spec = TypeAdapter(TrainSpec).validate_python(facts["spec"])
                state = spec.fork.state.key if spec.fork else None
        except (CheckpointError, KeyError, ValueError):  # too damaged to say what it is of
            continue
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    return Leftover(
        key=folder.name.removesuffix(".work"),
        folder=folder,
        size=sum(file.st_size for file in files),
        jobs=tuple(jobs),
        state=state,
        used=max([folder.stat().st_mtime, *(file.st_mtime for file in files)]),
    )


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
