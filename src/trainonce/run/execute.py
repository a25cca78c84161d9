"""One job, from its spec to its folder in the cache."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import filelock
import torch
from pydantic import TypeAdapter

from trainonce.run.cache import JobCache
from trainonce.run.launch import launch
from trainonce.run.tracking import Tracking, tracked
from trainonce.stream.corpus import Corpus
from trainonce.tasks.language import (
    MeasureSpec,
    Spec,
    TrainSpec,
    run_measurement,
    run_training,
    shell,
)
from trainonce.train.checkpoints import Checkpoints
from trainonce.train.clock import Progress
from trainonce.train.loop import StoppedError
from trainonce.train.processes import ALONE, Processes
from trainonce.train.settings import CheckpointSettings
from trainonce.train.state import load_weights

CHECKPOINT_SECONDS = "TRAINONCE_CHECKPOINT_SECONDS"


_POLL_SECONDS = 0.1


def execute(
    spec: Spec,
    home: Path,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    settings: CheckpointSettings | None = None,
    tracking: Tracking | None = None,
) -> None:
    """Run a job unless it is finished; when another process is running it, wait for that one.

    Args:
        spec: the job.
        home: where corpora and jobs are kept.
        report: told how far a training run is.
        stop: asked again and again whether to save and stop.
        settings: when a run saves its state.
        tracking: what a run is tracked with, if anything.

    Raises:
        StoppedError: when ``stop`` said so.
    """
    cache = JobCache(home)
    with _held(cache.lock(spec.key), stop):
        if cache.done(spec.key):
            return
        settings = settings or CheckpointSettings()
        if isinstance(spec, MeasureSpec):
            _measure(spec, cache, stop)
        elif spec.processes:
            launch(spec, cache, settings, report, stop, tracking)
        else:
            train_job(spec, cache, settings, report, stop, tracking)


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


def _checkpoints(spec: TrainSpec, cache: JobCache, settings: CheckpointSettings) -> Checkpoints:
    described = TypeAdapter(TrainSpec).dump_python(spec, mode="json")
    return Checkpoints(
        cache.work(spec.key) / "checkpoints",
        keep=settings.keep,
        seconds=float(os.environ.get(CHECKPOINT_SECONDS, settings.seconds)),
        steps=settings.steps,
        facts={"job": spec.key, "spec": described},
    )


def train_job(
    spec: TrainSpec,
    cache: JobCache,
    settings: CheckpointSettings,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    tracking: Tracking | None = None,
    processes: Processes = ALONE,
) -> None:
    """Train the model of ``spec`` and keep it; each of the ``processes`` calls this.

    Raises:
        StoppedError: when ``stop`` said so.
        DivergedError: as `trainonce.train.loop.train`.
        SaveError: when a checkpoint or the result cannot be written.
    """
    start = time.monotonic()
    torch.set_num_threads(spec.threads)
    checkpoints = _checkpoints(spec, cache, settings)
    corpus = _corpus(spec, cache)
    with tracked(tracking, spec.key) if tracking else nullcontext() as track:
        model, trained = run_training(spec, corpus, checkpoints, report, stop, processes, track)
    left_out = [step + 1 for step in trained.left_out]
    weights = processes.weights(model)
    facts = {**_facts(start), "left_out": left_out}
    processes.once(lambda: cache.finish_training(spec, weights, trained.losses, facts))


def _measure(spec: MeasureSpec, cache: JobCache, stop: Callable[[], bool]) -> None:
    start = time.monotonic()
    torch.set_num_threads(spec.trained.threads)
    corpus = _corpus(spec.trained, cache)
    model = shell(spec.trained, corpus)
    load_weights(model, cache.weights(spec.trained.key))
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
