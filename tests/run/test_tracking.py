"""Trackers: TensorBoard for real, the others through fakes of their packages' few calls."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from trainonce.models.decoder import DecoderSettings
from trainonce.run.cache import JobCache
from trainonce.run.execute import execute
from trainonce.run.tracking import TrackerError, Tracking, refuse_missing, tracked
from trainonce.stream.corpus import Corpus
from trainonce.study.trackers import Tracker
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.clock import Progress
from trainonce.train.journal import StepFacts
from trainonce.train.loop import StoppedError
from trainonce.train.settings import CheckpointSettings, TrainSettings

STEPS = [
    StepFacts(step=step, loss=3.0 / step, learning_rate=0.1, gradient_norm=1.5, tokens_per_second=9)
    for step in (1, 2, 3)
]
LOGGED = [
    (step, {"loss": 3.0 / step, "learning_rate": 0.1, "gradient_norm": 1.5, "tokens_per_second": 9})
    for step in (1, 2, 3)
]


def tracking(folder: Path, *trackers: Tracker) -> Tracking:
    return Tracking.of("What is memorized?", trackers, folder)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user's who has set nothing; what a tracker sets goes with the test."""
    monkeypatch.setattr(os, "environ", {**os.environ})
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        os.environ.pop(name, None)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_shows_a_resumed_run_as_one(corpus: Corpus, tmp_path: Path) -> None:
    shutil.copytree(corpus.folder, tmp_path / "corpora" / corpus.fingerprint)
    spec = TrainSpec(
        corpus=corpus.fingerprint,
        sequence=64,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=30, batch=4),
        seed=3,
    )
    own = tracking(tmp_path, Tracker.TENSORBOARD)
    every = CheckpointSettings(steps=7)
    asked: list[int] = []

    def stop_once() -> bool:
        asked.append(1)
        return len(asked) == 12

    def silent(_progress: Progress) -> None:
        pass

    with pytest.raises(StoppedError):
        execute(spec, tmp_path, silent, stop_once, every, own)
    execute(spec, tmp_path, silent, lambda: False, every, own)
    found = scalars(tmp_path / "tracking" / "tensorboard" / "what-is-memorized" / spec.key)
    assert found.keys() == {"loss", "learning_rate", "gradient_norm", "tokens_per_second"}
    assert [step for step, _ in found["loss"]] == list(range(1, 31))
    losses = JobCache(tmp_path).losses(spec.key)
    assert [value for _, value in found["loss"]] == pytest.approx(losses, rel=1e-6)

    untracked = replace(spec, seed=4)
    execute(untracked, tmp_path, silent, lambda: False, every)
    assert [
        path.name for path in (tmp_path / "tracking").rglob("*") if untracked.key in str(path)
    ] == []


class Fake(ModuleType):
    """A package that notes how its run was begun, what was logged, and its end."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.ended = 0

    def init(self, **settings: Any) -> Fake:
        self.begun.append(settings)
        return self

    def log(self, values: dict[str, Any], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.ended += 1


class FakeMLflow(Fake):
    """MLflow's module-level calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.experiments: list[Any] = []
        self.runs: list[Any] = []

    def search_experiments(self, **_named: Any) -> list[Any]:
        return self.experiments

    def create_experiment(self, **_named: Any) -> str:
        return "7"

    def search_runs(self, **named: Any) -> list[Any]:
        self.asked = named
        return self.runs

    def start_run(self, **settings: Any) -> None:
        self.begun.append(settings)

    def log_metrics(self, values: dict[str, Any], step: int) -> None:
        self.logged.append((step, values))

    def end_run(self) -> None:
        self.ended += 1


def faked(monkeypatch: pytest.MonkeyPatch, name: str) -> Fake:
    fake = FakeMLflow(name) if name == "mlflow" else Fake(name)
    monkeypatch.setitem(sys.modules, name, fake)
    return fake


@pytest.mark.parametrize("tracker", [Tracker.WANDB, Tracker.MLFLOW, Tracker.TRACKIO])
def test_the_others_are_told_the_same_under_the_jobs_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: Tracker
) -> None:
    fake = faked(monkeypatch, tracker.value)
    with tracked(tracking(tmp_path, tracker, tracker), "abc") as track:
        track(STEPS[:2])
        track(STEPS[2:])
    assert fake.logged == LOGGED
    assert fake.ended == 1
    (begun,) = fake.begun
    assert begun.get("name", begun.get("run_name")) == "abc"


def test_all_are_offline_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wandb", "mlflow", "trackio"):
        faked(monkeypatch, name)
    all_of_them = tracking(tmp_path, Tracker.WANDB, Tracker.MLFLOW, Tracker.TRACKIO)
    with tracked(all_of_them, "abc") as track:
        track(STEPS)
    assert os.environ["WANDB_MODE"] == "offline"
    assert str(tmp_path) in os.environ["MLFLOW_TRACKING_URI"]
    assert str(tmp_path) in os.environ["TRACKIO_DIR"]
    os.environ["WANDB_MODE"] = "online"
    os.environ["MLFLOW_TRACKING_URI"] = "https://mlflow.example"
    with tracked(all_of_them, "abc") as track:
        track(STEPS)
    assert os.environ["WANDB_MODE"] == "online"
    assert os.environ["MLFLOW_TRACKING_URI"] == "https://mlflow.example"


def test_a_job_that_goes_on_goes_on_in_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb, mlflow = faked(monkeypatch, "wandb"), faked(monkeypatch, "mlflow")
    assert isinstance(mlflow, FakeMLflow)
    mlflow.experiments = [SimpleNamespace(experiment_id="7")]
    mlflow.runs = [SimpleNamespace(info=SimpleNamespace(run_id="run of abc"))]
    with tracked(tracking(tmp_path, Tracker.WANDB, Tracker.MLFLOW), "abc") as track:
        track(STEPS)
    assert (wandb.begun[0]["id"], wandb.begun[0]["resume"]) == ("abc", "allow")
    assert mlflow.asked["filter_string"] == "attributes.run_name = 'abc'"
    assert mlflow.begun[0]["run_id"] == "run of abc"


def test_a_tracker_that_fails_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb, trackio = faked(monkeypatch, "wandb"), faked(monkeypatch, "trackio")

    def refuse(_values: dict[str, Any], step: int) -> None:
        raise OSError("the server is gone")

    monkeypatch.setattr(wandb, "log", refuse)
    with tracked(tracking(tmp_path, Tracker.WANDB, Tracker.TRACKIO), "abc") as track:
        with pytest.warns(UserWarning, match="tracking with wandb ended: the server is gone"):
            track(STEPS[:1])
        track(STEPS[1:])
    assert trackio.logged == LOGGED


def test_a_run_that_tells_nothing_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = faked(monkeypatch, "wandb")
    with tracked(tracking(tmp_path, Tracker.WANDB), "abc"):
        pass
    assert not wandb.begun
    assert not wandb.ended


def test_what_is_missing_comes_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_missing([])
    there = {"accelerate", "mlflow"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in there or None)
    refuse_missing([Tracker.MLFLOW])
    message = r"tracking with mlflow, wandb needs: pip install wandb$"
    with pytest.raises(TrackerError, match=message):
        refuse_missing([Tracker.MLFLOW, Tracker.WANDB])
    there.clear()
    with pytest.raises(TrackerError, match=r"pip install accelerate wandb$"):
        refuse_missing([Tracker.WANDB])
