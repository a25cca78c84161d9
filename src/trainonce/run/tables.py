"""The ledger's tables."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

VERSION = 1
"""Raised when tables change."""

DONE = ("finished", "reused")
"""States of a job that is done."""

SETTLED = (*DONE, "skipped", "diverged")
"""States of a job that nothing more is done for."""


class Base(DeclarativeBase):
    """The tables. Times are seconds since 1970, UTC."""


class LedgerVersion(Base):
    """Which tables there are; one row."""

    __tablename__ = "ledger"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class StudyRow(Base):
    """A study file that was run."""

    __tablename__ = "studies"
    __table_args__ = (UniqueConstraint("title", "file"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    file: Mapped[str]


class PlanRow(Base):
    """A plan that was begun in a home folder."""

    __tablename__ = "plans"
    __table_args__ = (UniqueConstraint("study", "hash", "home"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    hash: Mapped[str]
    home: Mapped[str] = mapped_column(index=True)


class JobRow(Base):
    """A job; ``seconds`` and ``machine`` are of the process that finished it."""

    __tablename__ = "jobs"

    key: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float | None] = mapped_column(Double)
    machine: Mapped[str | None]


class PlanJobRow(Base):
    """A job that a plan wants.

    ``state`` is ``waiting``, ``running``, ``finished``, ``failed``, ``reused``, ``skipped`` or
    ``diverged``; a job that was finished before the plan was begun is ``reused``, and one that is
    left out because an arm was stopped or diverged is ``skipped``.
    """

    __tablename__ = "plan_jobs"

    plan: Mapped[int] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.key"), primary_key=True, index=True)
    position: Mapped[int]
    role: Mapped[str]
    reason: Mapped[str]
    questions: Mapped[list[str]] = mapped_column(JSON)
    parents: Mapped[list[str]] = mapped_column(JSON)
    run_equivalents: Mapped[float] = mapped_column(Double)
    predicted_seconds: Mapped[float | None] = mapped_column(Double)
    state: Mapped[str]


class ExecutionRow(Base):
    """One time that a plan was carried out, by one process.

    ``state`` is ``running``, ``finished``, ``failed`` or ``stopped``; one that says that it runs
    and has not been heard of for a while is dead.
    """

    __tablename__ = "executions"

    id: Mapped[int] = mapped_column(primary_key=True)
    plan: Mapped[int] = mapped_column(ForeignKey("plans.id"), index=True)
    machine: Mapped[str]
    process: Mapped[int]
    state: Mapped[str]
    started: Mapped[float] = mapped_column(Double)
    heartbeat: Mapped[float] = mapped_column(Double)
    ended: Mapped[float | None] = mapped_column(Double)
    error: Mapped[str | None]


class AttemptRow(Base):
    """One time that a job was started, and how far it was when it was last heard of.

    ``state`` is ``running``, ``finished``, ``failed``, ``stopped``, ``crashed`` when its process
    died, ``lost`` when it was started again without having ended, ``diverged``, or ``skipped`` for
    a job that was never started; ``error`` says why then.
    """

    __tablename__ = "attempts"

    execution: Mapped[int] = mapped_column(ForeignKey("executions.id"), primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.key"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    started: Mapped[float] = mapped_column(Double)
    heartbeat: Mapped[float] = mapped_column(Double)
    ended: Mapped[float | None] = mapped_column(Double)
    machine: Mapped[str | None]
    worker: Mapped[str | None]
    step: Mapped[int | None]
    steps: Mapped[int | None]
    loss: Mapped[float | None] = mapped_column(Double)
    seconds_left: Mapped[float | None] = mapped_column(Double)
    error: Mapped[str | None]
