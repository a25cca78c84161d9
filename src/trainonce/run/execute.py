"""One job, from its spec to its folder in the cache."""

from __future__ import annotations

import os
import platform
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import torch
from pydantic import TypeAdapter

from trainonce.run.cache import JobCache
from trainonce.stream.corpus import Corpus
from trainonce.tasks.language import (
    MeasureSpec,
    Spec,
    StateSpec,
    TrainSpec,
    run_measurement,
    run_stacked,
    run_training,
    shell,
)
from trainonce.train.checkpoints import CheckpointError, Checkpoints, State
from trainonce.train.clock import Progress
from trainonce.train.guard import DivergedError
from trainonce.train.loop import StoppedError, Trained
from trainonce.train.settings import CheckpointSettings
from trainonce.train.state import load_weights, weights

CHECKPOINT_SECONDS = "TRAINONCE_CHECKPOINT_SECONDS"


_POLL_SECONDS = 0.1


def execute(
    spec: Spec,
    home: Path,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    settings: CheckpointSettings | None = None,
) -> None:
    """Run a job unless it is finished; when another process is running it, wait for that one.

    Args:
        spec: the job.
        home: where corpora and jobs are kept.
        report: told how far a training run is.
        stop: asked again and again whether to save and stop.
        settings: when a run saves its state.

    Raises:
        StoppedError: when ``stop`` said so.
    """
    cache = JobCache(home)
    with _held(cache.lock(spec.key), stop):
        if cache.done(spec.key):
            return
        torch.set_num_threads(spec.trained.threads)
        start = time.monotonic()
        if isinstance(spec, MeasureSpec):
            _measure(spec, cache, stop, start)
            return
        checkpoints = _checkpoints(spec, cache, settings or CheckpointSettings())
        if isinstance(spec, StateSpec):
            _reach(spec, cache, checkpoints, report, stop, start)
        else:
            _train(spec, cache, checkpoints, report, stop, start)


def execute_stacked(
    specs: Sequence[TrainSpec],
    home: Path,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    settings: CheckpointSettings | None = None,
) -> None:
    """Train all runs of one stack unless they are finished, each under its own key.

    Raises:
        StoppedError: when ``stop`` said so.
        DivergedError: of the first run that diverged; the others are finished.
    """
    cache = JobCache(home)
    name = str(specs[0].stack)
    with _held(cache.lock(name), stop):
        if all(cache.done(spec.key) for spec in specs):
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
        facts = _facts(start)
        facts["seconds"] = round(facts["seconds"] / len(specs), 3)
        for spec, model, outcome in zip(specs, models, outcomes, strict=True):
            if isinstance(outcome, Trained):
                cache.finish_training(spec, weights(model), outcome.losses, facts)
                cache.note_stack(spec)
        shutil.rmtree(cache.work(name), ignore_errors=True)
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


def _reach(
    spec: StateSpec,
    cache: JobCache,
    checkpoints: Checkpoints,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    start: float,
) -> None:
    run = spec.trained
    before = _start(spec, cache)
    run_training(run, _corpus(run, cache), checkpoints, report, stop, start=before, until=spec.step)
    cache.finish_state(spec, checkpoints.folders()[-1], _facts(start))


def _train(
    spec: TrainSpec,
    cache: JobCache,
    checkpoints: Checkpoints,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    start: float,
) -> None:
    before = _start(spec, cache)
    model, trained = run_training(
        spec, _corpus(spec, cache), checkpoints, report, stop, start=before
    )
    left_out = [step + 1 for step in trained.left_out]
    facts = {**_facts(start), "left_out": left_out}
    cache.finish_training(spec, weights(model), trained.losses, facts)


def _measure(spec: MeasureSpec, cache: JobCache, stop: Callable[[], bool], start: float) -> None:
    corpus = _corpus(spec.trained, cache)
    model = shell(spec.trained, corpus)
    load_weights(model, cache.weights_of(spec.measured))
    rows = run_measurement(spec, model, corpus, stop)
    cache.finish_measuring(spec, rows, _facts(start))


def _corpus(spec: TrainSpec, cache: JobCache) -> Corpus:
    return Corpus(cache.home / "corpora" / spec.corpus)


def _facts(start: float) -> dict[str, Any]:
    return {
        "seconds": round(time.monotonic() - start, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
