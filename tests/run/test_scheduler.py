"""A whole tiny study, run by real processes, and killed at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

import trainonce
from tests.here import jobs_here
from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.run.cache import COLUMNS, JobCache
from trainonce.run.execute import CHECKPOINT_SECONDS
from trainonce.run.scheduler import Event, JobFailedError, carry_out
from trainonce.stream.home import VARIABLE
from trainonce.train.calibrate import Timing, remember

STUDY = """\
study: Tiny
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 16, layers: 1, heads: 2}}
  batch: 4
  length: {steps} steps
  optimizer: {{lr: 1e-2}}
  seeds: [1, 2]
  allow_changed: 20%
questions:
  - {{id: memory, outcome: loss, treatment: {{method: memorization, doses: [0, 8, 24], passages: 2,
      canaries: 2, tokens: 16}}}}
"""


def write_study(folder: Path, corpus: Path, steps: int = 160) -> Path:
    file = folder / "study.yaml"
    file.write_text(STUDY.format(corpus=corpus, steps=steps))
    return file


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory, documents_file: Path) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), documents_file)


@pytest.fixture(scope="module")
def finished(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> trainonce.Study:
    """The study, run to its end without a stop."""
    return trainonce.Study.load(study_file, home=tmp_path_factory.mktemp("whole")).run()


def without_times(answers: dict[str, Any]) -> str:
    return json.dumps(
        {k: v for k, v in answers.items() if k not in ("seconds", "times")}, sort_keys=True
    )


def test_a_run_ends_with_answers_and_nothing_else(finished: trainonce.Study) -> None:
    answers = finished.answers
    memory, aa = answers.answers
    assert memory.decided.estimate < -0.5  # the loss of what was inserted falls
    assert memory.p_adjusted < 0.01
    assert memory.verdict == "yes"
    assert aa.decided.p > 0.01
    assert memory.plain is not None
    assert abs(memory.plain.estimate) < abs(memory.decided.estimate)
    assert answers.heldout_loss_plain is not None
    assert answers.seconds > 0
    work = list((finished.home / "jobs").glob("*.work"))
    assert not work
    assert answers.to_frame()["question"].to_list() == ["memory", "aa"]


def test_measurements_are_rows(finished: trainonce.Study) -> None:
    cache = JobCache(finished.home)
    job = next(job for job in finished.plan().jobs if job.role is Role.ANSWER)
    rows = cache.rows(job.key)
    assert dict(rows.schema) == COLUMNS
    assert rows["job"].unique().to_list() == [job.key]
    assert set(rows["outcome"]) == {"extraction", "exact", "loss"}
    assert rows.filter(pl.col("value").is_null() | pl.col("value").is_nan()).is_empty()


def test_a_finished_job_is_never_run_again(finished: trainonce.Study) -> None:
    events: list[Event] = []
    start = time.monotonic()
    finished.run(report=events.append)
    assert time.monotonic() - start < 2
    assert {event.kind for event in events} == {"reused"}
    assert len(events) == len(finished.plan().jobs)


def test_the_same_study_elsewhere_is_the_same_to_the_last_bit(
    finished: trainonce.Study, study_file: Path, tmp_path: Path
) -> None:
    """One process in place of three, another folder."""
    with jobs_here():
        again = trainonce.Study.load(study_file, home=tmp_path).run()
    assert without_times(again.answers.to_json()) == without_times(finished.answers.to_json())


def test_runs_that_are_stacked_give_the_same_answers(
    finished: trainonce.Study, study_file: Path, tmp_path: Path
) -> None:
    """To float tolerance; and a later plan takes the runs as they were trained."""
    stacked = Timing(work=1e6, alone=1.0, side_by_side=1.1, workers=2, batched={4: 0.5})
    remember(tmp_path, torch.device("cpu"), {"decoder-64": stacked})
    again = trainonce.Study.load(study_file, home=tmp_path)
    runs = [job for job in again.plan().jobs if job.kind == "train"]
    assert len({job.stack for job in runs}) == 1
    assert runs[0].reason.endswith("stacked with 3 more, which pays here")
    told: list[Event] = []
    with jobs_here():
        again.run(report=told.append)
    answers = again.answers
    assert answers.promised_seconds is not None
    assert answers.promised_seconds > 0
    assert [time.job for time in answers.times] == [job.key for job in again.plan().jobs]
    trained = {
        event.job.key for event in told if event.job.kind == "train" and event.kind == "done"
    }
    assert trained == {job.key for job in runs}
    for one, other in zip(again.answers.answers, finished.answers.answers, strict=True):
        assert one.verdict == other.verdict
        assert one.decided.estimate == pytest.approx(other.decided.estimate, abs=0.02)

    alone = replace(stacked, batched={4: 50.0})
    remember(tmp_path, torch.device("cpu"), {"decoder-64": alone})
    later = trainonce.Study.load(study_file, home=tmp_path)
    assert later.plan().hash == again.plan().hash
    assert not later.missing


def command(file: Path, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, VARIABLE: str(home), CHECKPOINT_SECONDS: "0.2"}
    return subprocess.Popen(
        [sys.executable, "-m", "trainonce", "run", str(file), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_until_it_trains(home: Path, process: subprocess.Popen[str]) -> None:
    """Until it has workers, and there is something to go on from."""
    while process.poll() is None and not (
        _workers(home) and any(home.glob("jobs/*.work/checkpoints/step-*"))
    ):
        time.sleep(0.02)


@pytest.fixture(scope="module")
def long_study(
    tmp_path_factory: pytest.TempPathFactory, documents_file: Path
) -> tuple[Path, dict[str, Any]]:
    """A study of some seconds, and its answers when nothing stops it."""
    folder = tmp_path_factory.mktemp("long")
    file = write_study(folder, documents_file, steps=1500)
    with jobs_here():
        return file, trainonce.Study.load(file, home=folder / "home").run().answers.to_json()


@pytest.mark.parametrize(
    ("how", "times"),
    [
        (signal.SIGKILL, 1),
        (signal.SIGTERM, 1),
        pytest.param(signal.SIGKILL, 4, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
    ],
)
def test_stopped_at_random_moments_the_answers_are_the_same_to_the_last_bit(
    long_study: tuple[Path, dict[str, Any]], tmp_path: Path, how: signal.Signals, times: int
) -> None:
    """It takes its seconds: every start is a real one."""
    file, whole = long_study
    home, draw, stopped = tmp_path / "killed", random.Random(how), 0
    for _ in range(times):
        process = command(file, home)
        wait_until_it_trains(home, process)
        time.sleep(draw.uniform(0.0, 1.0))
        if process.poll() is None:
            process.send_signal(how)
            stopped += 1
        output, errors = process.communicate(timeout=60)
        if how is not signal.SIGKILL and process.returncode:
            assert process.returncode == 1
            assert "run again to go on" in errors
            assert not output
    assert stopped > 0
    process = command(file, home)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert without_times(json.loads(output)) == without_times(whole)


def test_no_worker_outlives_a_killed_command(documents_file: Path, tmp_path: Path) -> None:
    file = write_study(tmp_path, documents_file, steps=100_000)
    process = command(file, tmp_path / "home")
    wait_until_it_trains(tmp_path / "home", process)
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while _workers(tmp_path / "home") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _workers(tmp_path / "home")


def _workers(home: Path) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "trainonce.run.worker" in line and str(home) in line:
            found.append(folder.name)
    return found


def test_a_job_that_fails_says_why_and_keeps_what_is_done(
    finished: trainonce.Study, tmp_path: Path, study_file: Path
) -> None:
    study = trainonce.Study.load(study_file, home=tmp_path)
    found = study.plan()
    (train_tokens,) = tmp_path.glob("corpora/*/train.tokens")
    train_tokens.unlink()
    with pytest.raises(
        JobFailedError,
        match=r"(?s)seed \d.*train.tokens has gone.*run the study again, which prepares",
    ):
        carry_out(found)
    with pytest.raises(RuntimeError, match="not finished: run it first"):
        _ = study.answers


def test_a_worker_that_dies_says_so(
    tmp_path: Path, study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Plan = trainonce.Study.load(study_file, home=tmp_path).plan()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    told: list[Event] = []
    with pytest.raises(JobFailedError, match=r"its process ended with status 1"):
        carry_out(found, report=told.append)
    assert told[-1].kind == "failed"
    assert "its process ended with status 1" in told[-1].facts["error"]
