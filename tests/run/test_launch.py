"""A job of two processes, started as the executor starts it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import threading
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from trainonce.models.decoder import DecoderSettings
from trainonce.run import rank
from trainonce.run.cache import JobCache
from trainonce.run.execute import execute
from trainonce.run.launch import ProcessesError
from trainonce.stream.corpus import Corpus
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.checkpoints import Checkpoints, SaveError
from trainonce.train.clock import Progress
from trainonce.train.guard import DivergedError
from trainonce.train.loop import StoppedError
from trainonce.train.settings import (
    AdamWSettings,
    CheckpointSettings,
    Parallel,
    ProcessSettings,
    TrainSettings,
)

EVERY = CheckpointSettings(steps=20)


@pytest.fixture
def job(corpus: Corpus, tmp_path: Path) -> TrainSpec:
    shutil.copytree(corpus.folder, tmp_path / "corpora" / corpus.fingerprint)
    return TrainSpec(
        corpus=corpus.fingerprint,
        sequence=64,
        model=DecoderSettings(width=16, layers=2, heads=2),
        train=TrainSettings(steps=200, batch=4, optimizer=AdamWSettings(lr=1e-3)),
        seed=3,
        processes=ProcessSettings(count=2, parallel=Parallel.FSDP),
    )


def ranks(home: Path) -> list[int]:
    """Process ids of the ranks that run jobs of ``home`` now."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(home).encode() not in b" ".join(words):
            continue
        if b"trainonce.run.rank" in words and b"torch.distributed.run" not in words:
            found.append(int(folder.name))
    return found


def never() -> bool:
    return False


def held_to_one_process(job: TrainSpec, cache: JobCache) -> None:
    """The result is that of one process but for rounding."""
    alone = replace(job, processes=None)
    execute(alone, cache.home, lambda _progress: None, never, EVERY)
    np.testing.assert_allclose(cache.losses(job.key), cache.losses(alone.key), rtol=1e-3)
    together, single = map(cache.losses_by_sequence, (job.key, alone.key))
    np.testing.assert_allclose(together, single, rtol=1e-2)
    expected = cache.weights(alone.key)
    assert cache.weights(job.key).keys() == expected.keys()
    for name, tensor in cache.weights(job.key).items():
        assert tensor.shape == expected[name].shape


def test_two_processes_train_a_job_as_one(job: TrainSpec, tmp_path: Path) -> None:
    short = replace(job, train=replace(job.train, steps=20))
    told: list[Progress] = []
    execute(short, tmp_path, told.append, never, EVERY)
    assert told[-1].step == 20
    assert not ranks(tmp_path)
    held_to_one_process(short, JobCache(tmp_path))


@pytest.mark.slow  # five starts of a process that imports torch
def test_a_rank_is_killed_the_rest_stopped_and_all_resumed(job: TrainSpec, tmp_path: Path) -> None:
    """Killed, the processes start again by themselves; stopped, they go on when asked to.

    The result is measured as any other.
    """
    before: list[int] = []
    after: list[int] = []
    stopping = threading.Event()

    def report(progress: Progress) -> None:
        if progress.step > 30 and not before:
            before.extend(ranks(tmp_path))
            os.kill(before[-1], signal.SIGKILL)
        elif progress.step > 60:
            after.extend(ranks(tmp_path))
            stopping.set()

    cache = JobCache(tmp_path)
    with pytest.raises(StoppedError):
        execute(job, tmp_path, report, stopping.is_set, EVERY)
    assert len(before) == 2
    assert len(set(after) - set(before)) == 2
    stopped_at = Checkpoints(cache.work(job.key) / "checkpoints").folders()[-1].name
    assert "step-000000060" < stopped_at < "step-000000200"
    assert not ranks(tmp_path)
    resumed: list[Progress] = []
    execute(job, tmp_path, resumed.append, never, EVERY)
    assert resumed[-1].step == 200
    assert not cache.work(job.key).exists()

    held_to_one_process(job, cache)
    measured = MeasureSpec(trained=job, probe="heldout_loss", version=1)
    execute(measured, tmp_path, lambda _progress: None, never)
    assert cache.rows(measured.key)["value"].is_finite().all()


def test_what_is_missing_is_said_before_anything_starts(
    job: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ProcessesError, match=r"recipe\.processes\.count is 2 and this machine has 0"
    ):
        execute(replace(job, device="cuda"), tmp_path, lambda _progress: None, never)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ProcessesError, match=r"needs: pip install 'trainonce\[distributed\]'"):
        execute(job, tmp_path, lambda _progress: None, never)


FAILS = """\
#!{python} -IS
import json, pathlib, sys
with open(pathlib.Path(__file__).with_name("starts"), "a") as file:
    file.write("started\\n")
print(json.dumps({{"event": "progress", **dict.fromkeys({names}, 1)}}))
print(json.dumps({{"event": "failed", "error": "DivergedError: the loss is nan"}}))
"""


def test_what_the_first_rank_says_is_passed_on(
    job: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that it tells is not met by a restart."""
    file = tmp_path / "torchrun"
    names = [field.name for field in fields(Progress)]
    file.write_text(FAILS.format(python=sys.executable, names=names))
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))
    told: list[Progress] = []
    with pytest.raises(ProcessesError, match=r"^DivergedError: the loss is nan$"):
        execute(job, tmp_path, told.append, never, EVERY)
    assert [progress.step for progress in told] == [1]
    assert (tmp_path / "starts").read_text() == "started\n"


DIVERGES = """\
#!{python} -IS
import json, pathlib
folder = pathlib.Path({folder!r})
folder.mkdir(parents=True, exist_ok=True)
(folder / "diverged.json").write_text(json.dumps({{"step": 7, "error": "the loss is nan"}}))
print(json.dumps({{"event": "failed", "error": "DivergedError: the loss is nan"}}))
"""


def test_a_run_that_diverges_says_at_which_step(
    job: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its processes have kept it; another try begins anew."""
    folder = JobCache(tmp_path).folder(job.key)
    file = tmp_path / "torchrun"
    file.write_text(DIVERGES.format(python=sys.executable, folder=str(folder)))
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))
    for _ in range(2):
        with pytest.raises(DivergedError, match=r"^the loss is nan$") as error:
            execute(job, tmp_path, lambda _progress: None, never, EVERY)
        assert error.value.step == 7
    file.write_text(file.read_text().replace(str(folder), str(tmp_path)))
    with pytest.raises(ProcessesError, match="DivergedError"):
        execute(job, tmp_path, lambda _progress: None, never, EVERY)
    assert JobCache(tmp_path).diverged(job.key) is None


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (DivergedError("the loss is nan"), "failed"),
        (SaveError("cannot write"), "failed"),
        (StoppedError("stopped after step 3"), "stopped"),
    ],
)
def test_an_error_that_would_come_again_is_told(error: Exception, event: str) -> None:
    told: list[str] = []

    def train() -> None:
        raise error

    assert not rank._ended(train, lambda kind, **_facts: told.append(kind))
    assert told == [event]


def test_an_error_that_a_restart_may_mend_is_torchruns() -> None:
    def train() -> None:
        raise RuntimeError("Connection closed by peer")

    with pytest.raises(RuntimeError, match="closed by peer"):
        rank._ended(train, lambda *_: None)
