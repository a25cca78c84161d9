"""Questions whose unit is a run, from the study file to the answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainonce
from trainonce.analysis.answers import Answer
from trainonce.plan.jobs import Role
from trainonce.report.html import render
from trainonce.run.cache import JobCache
from trainonce.run.execute import CHECKPOINT_SECONDS
from trainonce.stream.home import VARIABLE
from trainonce.tasks.specs.runs import TrainSpec

STUDY = """\
study: Tiny runs
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 16, layers: 1, heads: 2}}
  optimizer: {{lr: 2e-3}}
  schedule: {{name: wsd, warmup: 10%, decay: 25%}}
  clip: 1e6
  batch: 4
  length: 80 steps
  seeds: [1, 2, 3]
  allow_changed: 30%
questions:
  - {{id: rate, treatment: {{change: {{optimizer.lr: [1e-3, 1e-5]}}}}}}
  - {{id: same, treatment: {{change: {{clip: 2e6}}}}}}
  - {{id: late, at: 50%, treatment: {{change: {{optimizer.lr: 1e-9}}}}}}
  - {{id: smooth, at: 50%, treatment: {{change: {{objective: label_smoothing}}}}}}
  - {{id: lengths, expect: increase, treatment: {{lengths: [40%, 80%]}}}}
  - {{id: memory, outcome: loss, window: [50%, 100%], how: fork, treatment:
      {{method: memorization, doses: [0, 24], passages: 2, canaries: 3, tokens: 16}}}}
checks: {{plain: false}}
"""


def write_study(folder: Path, corpus: Path) -> Path:
    file = folder / "study.yaml"
    file.write_text(STUDY.format(corpus=corpus))
    return file


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory, documents_file: Path) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), documents_file)


@pytest.fixture(scope="module")
def finished(
    study_file: Path, tmp_path_factory: pytest.TempPathFactory, here: None
) -> trainonce.Study:
    return trainonce.Study.load(study_file, home=tmp_path_factory.mktemp("whole")).run()


@pytest.fixture(scope="module")
def answers(finished: trainonce.Study) -> dict[str, Answer]:
    return {answer.question: answer for answer in finished.answers.answers}


def without_times(answers: dict[str, Any]) -> str:
    return json.dumps({k: v for k, v in answers.items() if k != "seconds"}, sort_keys=True)


def test_a_rate_that_hardly_learns_is_found(answers: dict[str, Answer]) -> None:
    rate = answers["rate"]
    assert rate.verdict == "yes"
    assert rate.decided.low > 0.1
    assert rate.p_adjusted < 0.05
    base, slower, slowest = rate.decided.doses
    assert base.mean < slower.mean < slowest.mean
    assert [dose.units for dose in rate.decided.doses] == [3, 3, 3]
    assert len(slowest.points) == 3
    assert rate.strategy == "replicate"


def test_a_change_that_changes_nothing_is_exactly_nothing(answers: dict[str, Answer]) -> None:
    same = answers["same"]
    assert (same.decided.estimate, same.decided.low, same.decided.high) == (0.0, 0.0, 0.0)
    assert same.decided.doses[1].points == (0.0, 0.0, 0.0)
    assert same.p_adjusted == 1.0
    assert same.verdict == "no"


def test_a_change_in_the_middle_leaves_the_first_half_as_it_was(
    finished: trainonce.Study, answers: dict[str, Answer]
) -> None:
    cache = JobCache(finished.home)
    jobs = {(job.role, job.label, job.seed): job.key for job in finished.plan().jobs}
    trunk = cache.losses(jobs[Role.TRUNK, "", 1])
    late = cache.losses(jobs[Role.ARM, "optimizer.lr 1e-9", 1])
    np.testing.assert_array_equal(late[:41], trunk[:41])
    assert (late[41:] != trunk[41:]).all()
    assert answers["late"].decided.estimate > 0  # half of the learning was left out
    assert answers["late"].strategy == "fork"


def test_the_loss_falls_with_length(answers: dict[str, Answer]) -> None:
    whole, long, short = answers["lengths"].decided.doses
    assert whole.mean < long.mean < short.mean
    assert answers["lengths"].verdict == "yes"


def test_a_length_by_fork_is_the_run_of_that_length_bit_by_bit(
    finished: trainonce.Study, study_file: Path, tmp_path: Path
) -> None:
    """A run of its own from step 0, against the one that left the trunk."""
    text = study_file.read_text()
    first, last = text.index("  - {id: rate"), text.index("checks")
    asked = "  - {id: lengths, how: replicate, treatment: {lengths: [40%]}}\n"
    own = tmp_path / "own.yaml"
    own.write_text(text[:first].replace("[1, 2, 3]", "[1]") + asked + text[last:])
    alone = trainonce.Study.load(own, home=tmp_path).run()
    found = []
    for study in (finished, alone):
        (job,) = (
            job
            for job in study.plan().jobs
            if (job.role, job.label, job.seed, job.kind)
            == (Role.ARM, "40% of the length", 1, "train")
        )
        assert isinstance(job.spec, TrainSpec)
        assert (job.spec.fork is None) == (study is alone)
        found.append(JobCache(study.home).weights(job.key))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[1])
    lengths = alone.answers.answers[0]
    assert lengths.verdict == "cannot tell"
    assert lengths.units_needed is not None
    assert lengths.units_needed > 1
    document = json.loads(json.dumps(lengths.to_json(), allow_nan=False))
    assert (document["low"], document["high"]) == (None, None)
    assert "One seed shows no spread" in render(alone.answers, alone.plan())


def test_items_in_a_late_window_are_learned_in_their_fork(answers: dict[str, Answer]) -> None:
    memory = answers["memory"]
    assert memory.strategy == "fork"
    assert memory.decided.estimate < 0
    assert memory.decided.p < 0.01


def test_costs_are_shared_out_whole(finished: trainonce.Study, answers: dict[str, Answer]) -> None:
    total = sum(answer.run_equivalents for answer in answers.values())
    assert total == pytest.approx(finished.plan().run_equivalents)
    assert answers["rate"].run_equivalents > 2
    assert answers["lengths"].run_equivalents < answers["same"].run_equivalents


def test_answers_are_rows_and_a_page(finished: trainonce.Study) -> None:
    frame = finished.answers.to_frame()
    assert frame["question"].to_list() == [
        "rate",
        "same",
        "late",
        "smooth",
        "lengths",
        "memory",
        "aa",
    ]
    assert frame["strategy"].to_list()[:5] == ["replicate", "replicate", "fork", "fork", "fork"]
    page = render(finished.answers, finished.plan())
    assert "paired over 3 seeds" in page
    assert json.dumps(finished.answers.to_json(), allow_nan=False)


@pytest.mark.slow  # three starts of the command; test_scheduler kills a smaller study
def test_killed_and_started_again_it_gives_the_same_answers(
    finished: trainonce.Study, study_file: Path, tmp_path: Path
) -> None:
    """Killed once while states, and once while forks are trained."""
    home = tmp_path / "home"
    environment = {**os.environ, VARIABLE: str(home), CHECKPOINT_SECONDS: "0"}
    command = [sys.executable, "-m", "trainonce", "run", str(study_file)]
    for wanted in ("*@24", "*/model.safetensors"):
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while not list((home / "jobs").glob(wanted)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    again = trainonce.Study.load(study_file, home=home)
    assert again.missing
    again.run()
    assert without_times(again.answers.to_json()) == without_times(finished.answers.to_json())
