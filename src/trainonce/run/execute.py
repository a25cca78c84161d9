"""One job, from its spec to its folder in the cache."""

from __future__ import annotations

import os
import platform
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import torch
from pydantic import TypeAdapter
from torch import nn

from trainonce.run.cache import JobCache
from trainonce.run.decide import run_decision
from trainonce.run.launch import launch
from trainonce.run.store import fetched, pushed
from trainonce.run.tracking import Tracking, tracked
from trainonce.stream.corpus import Corpus
from trainonce.tasks.language import (
    run_averaging,
    run_measurement,
    run_stacked,
    run_training,
    shell,
)
from trainonce.tasks.specs.decisions import DecideSpec
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import AverageSpec, Model, StateSpec, TrainSpec
from trainonce.tasks.trial import TrialSpec, run_trial
from trainonce.train.checkpoints import CheckpointError, Checkpoints, State
from trainonce.train.clock import Progress
from trainonce.train.guard import DivergedError
from trainonce.train.loop import StoppedError, Trained
from trainonce.train.processes import ALONE, Processes
from trainonce.train.settings import CheckpointSettings
from trainonce.train.state import load_weights, weights

CHECKPOINT_SECONDS = "TRAINONCE_CHECKPOINT_SECONDS"

Noted = Mapping[str, Any]
"""What the result of a job names for the record: hash of the plan, and the promised seconds."""

_POLL_SECONDS = 0.1


def execute(
    spec: Spec,
    home: Path,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    settings: CheckpointSettings | None = None,
    tracking: Tracking | None = None,
    noted: Noted | None = None,
) -> None:
    """Run a job unless it is finished; when another process is running it, wait for that one.

    Args:
        spec: the job.
        home: where corpora and jobs are kept.
        report: told how far a training run is.
        stop: asked again and again whether to save and stop.
        settings: when a run saves its state.
        tracking: what a run is tracked with, if anything.
        noted: what its result is to name beside what becomes of it.

    Raises:
        StoppedError: when ``stop`` said so.
        DivergedError: of a run; the cache keeps that it diverged.
    """
    cache = JobCache(home)
    with _held(cache.lock(spec.key), stop):
        if cache.done(spec.key) or fetched(spec.key, cache):
            return
        settings = settings or CheckpointSettings()
        cache.forget_divergence(spec.key)
        if isinstance(spec, TrialSpec):
            _try(spec, cache, noted)
        elif isinstance(spec, MeasureSpec):
            _measure(spec, cache, stop, noted)
        elif isinstance(spec, AverageSpec):
            _average(spec, cache, noted)
        elif isinstance(spec, DecideSpec):
            _decide(spec, cache, noted)
        elif spec.trained.processes:
            launch(spec, cache, settings, report, stop, tracking, noted)
        else:
            train_job(spec, cache, settings, report, stop, tracking, noted=noted)
        pushed([spec.key], cache)


def execute_stacked(
    specs: Sequence[TrainSpec],
    home: Path,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    settings: CheckpointSettings | None = None,
    noted: Mapping[str, Noted] | None = None,
) -> None:
    """Train all runs of one stack unless they are finished, each under its own key.

    Raises:
        StoppedError: when ``stop`` said so.
        DivergedError: of the first run that diverged; the others are finished.
    """
    cache = JobCache(home)
    name = str(specs[0].stack)
    with _held(cache.lock(name), stop):
        if all(cache.done(spec.key) or fetched(spec.key, cache) for spec in specs):
            return
        torch.set_num_threads(specs[0].threads)
        start = time.monotonic()
        checkpoints = replace(
            _checkpoints(specs[0], cache, settings or CheckpointSettings()),
            folder=cache.work(name) / "checkpoints",
            facts={"stack": [spec.key for spec in specs]},
        )
        corpora = [_corpus(spec, cache) for spec in specs]
        models, outcomes = run_stacked(specs, corpora, checkpoints, report, stop)
        facts = _facts(start, None)
        facts["seconds"] = round(facts["seconds"] / len(specs), 3)
        for spec, model, outcome in zip(specs, models, outcomes, strict=True):
            if isinstance(outcome, Trained):
                own = {**(noted or {}).get(spec.key, {}), **facts}
                cache.finish_training(spec, weights(model), outcome, own)
            else:
                cache.keep_divergence(spec.key, outcome.step, str(outcome))
        shutil.rmtree(cache.work(name), ignore_errors=True)
        pushed([spec.key for spec in specs if cache.done(spec.key)], cache)
        diverged = [outcome for outcome in outcomes if isinstance(outcome, DivergedError)]
        if diverged:
            raise diverged[0]


@contextmanager
def _held(lock: filelock.BaseFileLock, stop: Callable[[], bool]) -> Iterator[None]:
    """Hold ``lock``, which may take as long as another process runs the job."""
    while True:
        if stop():
            raise StoppedError("stopped before the job began")
        with suppress(filelock.Timeout):
            lock.acquire(timeout=0)
            break
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _checkpoints(
    spec: TrainSpec | StateSpec, cache: JobCache, settings: CheckpointSettings
) -> Checkpoints:
    run = spec.trained
    described = TypeAdapter(TrainSpec).dump_python(run, mode="json")
    return Checkpoints(
        cache.work(spec.key) / "checkpoints",
        keep=settings.keep,
        seconds=float(os.environ.get(CHECKPOINT_SECONDS, settings.seconds)),
        steps=settings.steps,
        facts={"job": run.key, "spec": described},
    )


def _start(spec: TrainSpec | StateSpec, cache: JobCache) -> State | None:
    """The latest state kept of the run itself, else of the one that it forks from.

    A damaged state of its own is named in a warning and passed over.

    Raises:
        CheckpointError: when the other run's state is missing or damaged.
    """
    run = spec.trained
    last = spec.step if isinstance(spec, StateSpec) else run.train.steps
    for earlier in cache.states(run):
        if earlier.step <= last:
            try:
                return cache.state(earlier)
            except CheckpointError as error:
                warnings.warn(f"{error}; using what is before it", stacklevel=2)
    return cache.state(run.fork.state) if run.fork else None


def train_job(
    spec: TrainSpec | StateSpec,
    cache: JobCache,
    settings: CheckpointSettings,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    tracking: Tracking | None = None,
    processes: Processes = ALONE,
    noted: Noted | None = None,
) -> None:
    """Train the model of ``spec`` to its end, or to the state that it asks for, and keep that.

    Each of the ``processes`` calls this.

    Raises:
        StoppedError: when ``stop`` said so.
        DivergedError: as `trainonce.train.loop.train`.
        SaveError: when a checkpoint or the result cannot be written.
        CheckpointError: when the state that it forks from is missing or damaged.
    """
    start = time.monotonic()
    run = spec.trained
    torch.set_num_threads(run.threads)
    checkpoints = _checkpoints(spec, cache, settings)
    with tracked(tracking, spec.key) if tracking else nullcontext() as track:
        try:
            model, trained = run_training(
                run,
                _corpus(run, cache),
                checkpoints,
                report,
                stop,
                start=lambda: _start(spec, cache),
                until=spec.step if isinstance(spec, StateSpec) else None,
                processes=processes,
                track=track,
            )
        except DivergedError as error:
            cache.keep_divergence(spec.key, error.step, str(error))
            raise
    if isinstance(spec, StateSpec):
        reached, folders = spec, checkpoints.folders
        processes.once(lambda: cache.finish_state(reached, folders()[-1], _facts(start, noted)))
        return
    left_out = [step + 1 for step in trained.left_out]
    tensors = processes.weights(model)
    facts = {**_facts(start, noted), "left_out": left_out}
    processes.once(lambda: cache.finish_training(run, tensors, trained, facts))


def _measure(
    spec: MeasureSpec, cache: JobCache, stop: Callable[[], bool], noted: Noted | None
) -> None:
    start = time.monotonic()
    torch.set_num_threads(spec.trained.threads)
    corpus = _corpus(spec.trained, cache)
    model, *steering = (_loaded(parent, corpus, cache) for parent in spec.parents)
    decided = cache.decided(spec.measured)
    rows = run_measurement(spec, model, corpus, stop, steering, decided)
    cache.finish_measuring(spec, rows, _facts(start, noted))


def _try(spec: TrialSpec, cache: JobCache, noted: Noted | None) -> None:
    start, spent = time.monotonic(), time.process_time()
    torch.set_num_threads(spec.threads)
    rows = run_trial(spec)
    # what it takes however busy the machine is, which budgets of claims are held against
    processor = {"processor_seconds": round(time.process_time() - spent, 3)}
    cache.finish_trial(spec, rows, {**_facts(start, noted), **processor})


def _average(spec: AverageSpec, cache: JobCache, noted: Noted | None) -> None:
    start = time.monotonic()
    torch.set_num_threads(spec.trained.threads)
    model = run_averaging(spec, _corpus(spec.trained, cache), cache.weights_of)
    cache.finish_average(spec, weights(model), _facts(start, noted))


def _decide(spec: DecideSpec, cache: JobCache, noted: Noted | None) -> None:
    start = time.monotonic()
    cache.finish_deciding(spec, run_decision(spec, cache), _facts(start, noted))


def _loaded(spec: Model, corpus: Corpus, cache: JobCache) -> nn.Module:
    model = shell(spec.trained, corpus)
    load_weights(model, cache.weights_of(spec))
    return model


def _corpus(spec: TrainSpec, cache: JobCache) -> Corpus:
    return Corpus(cache.home / "corpora" / spec.corpus)


def _facts(start: float, noted: Noted | None) -> dict[str, Any]:
    return {
        **(noted or {}),
        "seconds": round(time.monotonic() - start, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
