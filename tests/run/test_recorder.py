"""The ledger says what an executor told, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, delete, select, text, update

from tests.run import databases
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.run import ledger as ledger_module
from trainonce.run import recorder as recorder_module
from trainonce.run.entries import Uses, uses
from trainonce.run.ledger import VARIABLE, LedgerError, known_ledger, open_ledger
from trainonce.run.recorder import LedgerWarning, Recorder, recording
from trainonce.run.scheduler import Event, JobFailedError
from trainonce.run.status import StudyStatus, study_statuses
from trainonce.run.tables import VERSION, AttemptRow, ExecutionRow, LedgerVersion
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.measurements import HELDOUT_PROBE, MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.settings import TrainSettings

RUN = TrainSpec(
    corpus="c",
    sequence=8,
    model=DecoderSettings(width=8, layers=1, heads=2),
    train=TrainSettings(steps=10, batch=1),
    seed=1,
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with databases.postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def home(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A home whose ledger is empty, in a database of each kind."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if request.param == "sqlite":
        yield tmp_path
        return
    url = request.getfixturevalue("server")
    monkeypatch.setenv(VARIABLE, url)
    yield tmp_path
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    engine.dispose()


def plan_of(home: Path, *, study: str = "Tiny", seeds: tuple[int, ...] = (1, 2)) -> Plan:
    """A trunk and its measurement, at each seed."""
    jobs: list[Job] = []
    for seed in seeds:
        trunk = replace(RUN, seed=seed)
        about: dict[str, Any] = {"strategy": Strategy.MULTIPLEX, "questions": ("memory",)}
        jobs.append(
            Job(spec=trunk, role=Role.TRUNK, parents=(), run_equivalents=0.5, reason="t", **about)
        )
        probe = MeasureSpec(trained=trunk, probe=HELDOUT_PROBE, version=1)
        about |= {"role": Role.HELDOUT, "run_equivalents": 0.1, "reason": "m"}
        jobs.append(Job(spec=probe, parents=(trunk.key,), **about))
    return Plan(
        study=study,
        file=home / f"{study}.yaml",
        home=home,
        jobs=tuple(jobs),
        questions=(),
        seeds=seeds,
        tokens=80,
        changed_share=0.0,
        allow_changed=0.02,
        one_run_a_question=1.0,
    )


def known(home: Path, file: Path | None = None) -> list[StudyStatus]:
    ledger = open_ledger(home)
    with ledger.reading() as session:
        found = study_statuses(session, file=file)
    ledger.close()
    return found


def change(home: Path, statement: Any) -> None:
    ledger = open_ledger(home)
    with ledger.writing() as session:
        session.execute(statement)
    ledger.close()


def progress(step: int) -> dict[str, Any]:
    return {"step": step, "steps": 10, "loss": 2.5, "seconds_left": 3, "worker": 42}


def test_it_says_what_is_done_and_what_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "WRITE_SECONDS", 0.01)
    plan = plan_of(home)
    first, reused, second, last = plan.jobs
    with recording(plan, {first.key: 7.0}) as record:
        record(Event("reused", reused, {}))
        record(Event("started", first, {}))
        record(Event("progress", first, progress(4)))
        record(Event("progress", first, {"loss": float("nan")}))  # which JSON cannot say
        record(Event("started", second, {}))
        record(Event("done", second, {"worker": 43}))
        deadline = time.monotonic() + 5
        while known(home)[0].counts["finished"] == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        (study,) = known(home, plan.file)
        assert study.study == "Tiny"
        assert (study.state, study.plan_hash) == ("running", plan.hash)
        assert study.counts == {
            **{"finished": 1, "reused": 1, "running": 1},
            **{"dead": 0, "failed": 0, "waiting": 1, "skipped": 0, "diverged": 0},
        }
        assert [job.key for job in study.jobs] == [job.key for job in plan.jobs]
        running = study.jobs[0]
        assert (running.step, running.steps, running.loss) == (4, 10, 2.5)
        assert (running.seconds_left, running.worker) == (3, "42")
        assert running.predicted_seconds == 7.0
        assert study.run_equivalents == pytest.approx(1.2)
        assert study.run_equivalents_done == pytest.approx(0.6)
        for job in (first, last):
            record(Event("done", job, {}))
    (study,) = known(home)
    assert study.state == "finished"
    assert study.counts["finished"] == 3
    assert study.jobs[0].step == 4  # as far as it told


def test_what_is_stopped_waits_and_what_fails_says_why(home: Path) -> None:
    plan = plan_of(home)
    first, _, second, _ = plan.jobs

    def stop() -> None:
        with recording(plan, {}) as record:
            record(Event("started", first, {}))
            raise KeyboardInterrupt

    def fail() -> None:
        with recording(plan, {}) as record:
            record(Event("started", first, {}))
            record(Event("started", second, {}))
            record(Event("failed", first, {"error": "it diverged"}))
            raise JobFailedError("t: it diverged")

    with pytest.raises(KeyboardInterrupt):
        stop()
    (study,) = known(home)
    assert (study.state, study.counts["waiting"]) == ("stopped", 4)

    with pytest.raises(JobFailedError):
        fail()
    (study,) = known(home)
    assert (study.state, study.error) == ("failed", "t: it diverged")
    assert (study.jobs[0].state, study.jobs[0].error) == ("failed", "it diverged")
    assert study.counts["waiting"] == 3


def test_what_is_not_heard_of_is_dead(home: Path) -> None:
    plan = plan_of(home)
    with recording(plan, {}) as record:
        record(Event("started", plan.jobs[0], {}))
    change(home, update(AttemptRow).values(state="running"))
    change(home, text("UPDATE plan_jobs SET state = 'running' WHERE position = 0"))
    change(home, update(ExecutionRow).values(state="running", heartbeat=time.time() - 31))
    (study,) = known(home)
    assert study.state == "dead"
    assert study.silent == pytest.approx(31, abs=1)
    assert [job.state for job in study.jobs] == ["dead", "waiting", "waiting", "waiting"]

    with recording(plan, {}) as record:  # it was started again
        record(Event("started", plan.jobs[0], {}))
    assert known(home)[0].state == "finished"


def test_a_job_that_is_started_again_was_lost(home: Path) -> None:
    plan = plan_of(home)
    with recording(plan, {}) as record:
        record(Event("started", plan.jobs[0], {}))
        record(Event("progress", plan.jobs[0], progress(4)))
        record(Event("started", plan.jobs[0], {}))
        record(Event("crashed", plan.jobs[0], {"error": "killed", "retry": 1}))
        record(Event("started", plan.jobs[0], {}))
        record(Event("done", plan.jobs[0], {}))
        record(Event("started", plan.jobs[2], {}))
        record(Event("crashed", plan.jobs[2], {"error": "killed for good"}))
    ledger = open_ledger(home)
    with ledger.reading() as session:
        one_job = AttemptRow.job == plan.jobs[0].key
        rows = session.scalars(select(AttemptRow).where(one_job).order_by(AttemptRow.number)).all()
    ledger.close()
    assert [(row.number, row.state, row.step, row.error) for row in rows] == [
        (1, "lost", 4, None),
        (2, "crashed", None, "killed"),
        (3, "finished", None, None),
    ]
    assert [job.state for job in known(home)[0].jobs] == [
        *("finished", "waiting", "failed", "waiting")
    ]


def test_two_studies_that_share_jobs_are_two(home: Path) -> None:
    one, other = plan_of(home), plan_of(home, study="Other")
    with recording(one, {}) as record:
        for job in one.jobs:
            record(Event("done", job, {}))
    with recording(other, {}) as record:
        for job in other.jobs:
            record(Event("reused", job, {}))
    newest, before = known(home)
    assert (newest.study, newest.counts["reused"]) == ("Other", 4)
    assert (before.study, before.counts["reused"]) == ("Tiny", 0)


def test_it_knows_which_jobs_studies_still_want(home: Path) -> None:
    """A study wants what its last plan wants, unless an earlier one is running."""
    before, last = plan_of(home, seeds=(1, 2)), plan_of(home, seeds=(2, 3))
    elsewhere = replace(plan_of(home, seeds=(4,)), home=home / "elsewhere")

    def found() -> Uses:
        ledger = open_ledger(home)
        known = uses(ledger, home)
        ledger.close()
        return known

    with recording(before, {}):
        pass
    with recording(last, {}):
        pass
    with recording(elsewhere, {}) if VARIABLE in os.environ else nullcontext():
        pass
    known = found()
    assert known.wanted == {job.key for job in last.jobs}
    gone, stays = before.jobs[0].key, before.jobs[2].key
    assert known.parents == {job.key: set(job.parents) for job in last.jobs}
    assert known.studies[gone] == {"Tiny"}
    assert known.questions[gone] == {"memory"}
    assert known.used.keys() == {job.key for job in (*before.jobs, *last.jobs)}
    assert known.used[gone] < known.used[stays]

    with recording(before, {}), recording(last, {}):
        assert found().wanted == {job.key for job in (*before.jobs, *last.jobs)}
    change(home, update(ExecutionRow).values(state="running", heartbeat=time.time() - 31))
    assert found().wanted == {job.key for job in last.jobs}  # what died wants nothing


def test_one_that_stops_does_not_undo_what_another_finished(home: Path) -> None:
    plan = plan_of(home)
    job = plan.jobs[0]
    with recording(plan, {}) as one:
        one(Event("started", job, {}))
        with recording(plan, {}) as other:
            other(Event("started", job, {}))
            other(Event("done", job, {}))
    assert known(home)[0].jobs[0].state == "finished"


def test_two_that_open_a_new_ledger_at_once_both_can(home: Path) -> None:
    problems: list[Exception] = []
    gate = threading.Barrier(4)

    def begin(number: int) -> None:
        gate.wait()
        try:
            with recording(plan_of(home, study=f"study {number % 2}"), {}):
                pass
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert {study.study for study in known(home)} == {"study 0", "study 1"}


def test_a_ledger_of_another_version_is_refused(home: Path) -> None:
    open_ledger(home).close()
    change(home, update(LedgerVersion).values(version=VERSION + 1))
    for opened in (open_ledger, known_ledger):
        with pytest.raises(LedgerError, match=f"another version of trainonce .{VERSION + 1}, not"):
            opened(home)


def test_a_ledger_that_is_being_made_is_none_yet(home: Path) -> None:
    """Its tables are there before its version is: a study that begins is not of another version."""
    open_ledger(home).close()
    change(home, delete(LedgerVersion))
    assert known_ledger(home) is None
    open_ledger(home).close()
    made = known_ledger(home)
    assert made is not None
    made.close()


def test_nothing_is_made_where_nothing_was_recorded(home: Path) -> None:
    assert known_ledger(home) is None
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "no database URL"),
        ("mysql://me:secret@host/base", "kind 'mysql', which is not known"),
        ("sqlite://", "names no file"),
        ("postgresql://me:secret@127.0.0.1:1/base", "check that it can be reached"),
        ("sqlite:////proc/nowhere/ledger.sqlite", "check that it can be reached"),
    ],
)
def test_a_wrong_url_says_what_would_be_right(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "postgresql" in url:
        pytest.importorskip("psycopg")
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(LedgerError, match=said) as caught, recording(plan_of(tmp_path), {}):
        pass
    assert "secret" not in str(caught.value)
    assert "sqlite:////folder/ledger.sqlite" in str(caught.value)


def test_what_is_no_database_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("dear diary, " * 100)
    monkeypatch.setenv(VARIABLE, f"sqlite:///{file}")
    with pytest.raises(LedgerError, match="not a database"):
        open_ledger(tmp_path)
    assert file.read_text().startswith("dear diary")


def test_a_locked_ledger_stops_a_start_and_no_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a study it is an error; while one runs a warning, and the next write has it all."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(ledger_module, "_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(recorder_module, "WRITE_SECONDS", 60.0)
    plan = plan_of(tmp_path)
    with recording(plan, {}) as record:
        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked; another program holds it"):
            Recorder(open_ledger(tmp_path), plan, {})
        record(Event("done", plan.jobs[0], {}))
        with pytest.warns(LedgerWarning, match=r"locked.*The study goes on"):
            record._write("running", None)
        record._write("running", None)  # said once is enough
        other.execute("ROLLBACK")
        other.close()
        assert known(tmp_path)[0].counts["finished"] == 0
    assert known(tmp_path)[0].counts["finished"] == 1


def test_sqlite_lets_readers_read_while_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    ledger = open_ledger(tmp_path)
    with ledger.reading() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    ledger.close()
