"""Runs that train as one stack: each under its own key, as its own run would have been."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainonce.models.decoder import DecoderSettings
from trainonce.plan.jobs import Job, Role
from trainonce.run.cache import JobCache
from trainonce.run.execute import execute, execute_stacked
from trainonce.run.executor import Work
from trainonce.run.inspection import TargetError, inspect
from trainonce.run.perform import perform
from trainonce.run.tracking import Tracking
from trainonce.stream.corpus import Corpus, DataSettings, prepare
from trainonce.study.schema import Strategy
from trainonce.study.trackers import Tracker
from trainonce.tasks.specs.runs import TrainSpec, Treated, stacked
from trainonce.train.guard import DivergedError
from trainonce.train.loop import StoppedError
from trainonce.train.settings import AdamWSettings, CheckpointSettings, TrainSettings

MEMORY = Treated(
    question="memory",
    method="memorization",
    version=1,
    settings={"doses": [0, 4], "passages": 0, "canaries": 2, "tokens": 16},
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, settings: DataSettings) -> Corpus:
    return prepare(settings, tmp_path_factory.mktemp("stacks"))


@pytest.fixture
def home(corpus: Corpus, tmp_path: Path) -> Path:
    shutil.copytree(corpus.folder.parent, tmp_path / "home" / "corpora")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def runs(corpus: Corpus) -> list[TrainSpec]:
    base = TrainSpec(
        corpus=corpus.fingerprint,
        sequence=64,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=20, batch=4),
        seed=3,
    )
    fast = replace(base, train=replace(base.train, optimizer=AdamWSettings(lr=1e-2)))
    return [base, fast, replace(base, seed=4), replace(base, treatments=(MEMORY,))]


def carry_out(home: Path, specs: tuple[TrainSpec, ...]) -> JobCache:
    execute_stacked(specs, home, lambda _progress: None, lambda: False)
    return JobCache(home)


def test_each_is_as_its_own_run_to_float_tolerance(runs: list[TrainSpec], home: Path) -> None:
    together = stacked(runs, threads=1)
    cache = carry_out(home, together)
    for alone, spec in zip(runs, together, strict=True):
        assert spec.key != alone.key
        execute(alone, home, lambda _progress: None, lambda: False)
        one, other = cache.weights(spec.key), cache.weights(alone.key)
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-5)
    assert not list((home / "jobs").glob("*.work"))


def test_a_stack_is_named_by_its_members_alone(runs: list[TrainSpec]) -> None:
    names = {spec.stack for spec in (*stacked(runs, 1), *stacked(runs[::-1], 1))}
    assert len(names) == 1
    assert {spec.stack for spec in stacked(runs[1:], 1)} != names
    assert {spec.stack for spec in stacked(stacked(runs, 1), 1)} == names


def test_plans_find_a_run_that_was_stacked(runs: list[TrainSpec], home: Path) -> None:
    cache = JobCache(home)
    assert cache.variant(runs[0]) is None
    together = stacked(runs, threads=2)
    carry_out(home, together)
    assert cache.variant(runs[0]) == together[0]
    execute(runs[0], home, lambda _progress: None, lambda: False)
    assert cache.variant(runs[0]) == runs[0]


def test_stopped_and_started_again_it_keeps_its_bits(runs: list[TrainSpec], home: Path) -> None:
    together = stacked(runs, threads=1)
    shutil.copytree(home, home.parent / "whole")
    whole = carry_out(home.parent / "whole", together)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 9

    with pytest.raises(StoppedError, match="stopped after step"):
        execute_stacked(together, home, lambda _p: None, stop, CheckpointSettings(steps=4))
    (state,) = home.glob("jobs/*.work/checkpoints/*8")
    with pytest.raises(TargetError, match="is of runs that train as one"):
        inspect(str(state), home)
    cache = carry_out(home, together)
    for spec in together:
        one, other = cache.weights(spec.key), whole.weights(spec.key)
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_one_that_diverges_is_named_and_leaves_the_others(
    runs: list[TrainSpec], home: Path
) -> None:
    wild = replace(runs[0], train=replace(runs[0].train, optimizer=AdamWSettings(lr=1e30)))
    together = stacked([runs[0], wild], threads=1)
    with pytest.raises(DivergedError, match="the loss is nan at step"):
        carry_out(home, together)
    cache = JobCache(home)
    assert cache.done(together[0].key)
    assert not cache.done(together[1].key)
    assert cache.diverged(together[0].key) is None
    facts = cache.diverged(together[1].key)
    assert facts is not None
    assert f"at step {facts['step']}; " in facts["error"]


def test_a_stack_says_that_it_is_not_tracked(runs: list[TrainSpec], home: Path) -> None:
    together = stacked(runs[:2], threads=1)
    jobs = tuple(
        Job(
            spec=spec,
            role=Role.TRUNK,
            strategy=Strategy.REPLICATE,
            questions=(),
            parents=(),
            run_equivalents=0.5,
            reason="a test",
        )
        for spec in together
    )
    tracking = Tracking.of("A study", [Tracker.TENSORBOARD], home)
    told: list[dict[str, object]] = []
    message = Work(str(together[0].stack), jobs).message(CheckpointSettings(), tracking)
    assert perform(message, home, told.append, lambda: False)["event"] == "done"
    warnings = [event["warning"] for event in told if event["event"] == "warned"]
    assert warnings == ["runs that train as one stack are not tracked"]
