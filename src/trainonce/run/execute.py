"""One job, from its spec to its folder in the cache."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainonce.run.cache import JobCache
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
from trainonce.train.loop import Progress, load_weights, weights

CHECKPOINT_SECONDS = "TRAINONCE_CHECKPOINT_SECONDS"


def execute(
    spec: Spec, home: Path, report: Callable[[Progress], None], stop: Callable[[], bool]
) -> None:
    """Run a job unless it is finished; when another process is running it, wait for that one."""
    cache = JobCache(home)
    with cache.lock(spec.key):
        if cache.done(spec.key):
            return
        torch.set_num_threads(_threads(spec))
        start = time.monotonic()
        if isinstance(spec, TrainSpec):
            _train(spec, cache, report, stop, start)
        else:
            _measure(spec, cache, start)


def _threads(spec: Spec) -> int:
    return spec.trained.threads if isinstance(spec, MeasureSpec) else spec.threads


def _train(
    spec: TrainSpec,
    cache: JobCache,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    start: float,
) -> None:
    seconds = float(os.environ.get(CHECKPOINT_SECONDS, Checkpoints.seconds))
    checkpoints = Checkpoints(cache.work(spec.key) / "checkpoints", seconds=seconds)
    model, trained = run_training(spec, _corpus(spec, cache), checkpoints, report, stop)
    cache.finish_training(spec, weights(model), trained.losses, _facts(start))


def _measure(spec: MeasureSpec, cache: JobCache, start: float) -> None:
    corpus = _corpus(spec.trained, cache)
    model = shell(spec.trained, corpus)
    load_weights(model, cache.weights(spec.trained.key))
    rows = run_measurement(spec, model, corpus)
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
