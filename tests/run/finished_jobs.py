"""Jobs in a cache that nothing had to be trained for."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from trainonce.models.decoder import DecoderSettings
from trainonce.run.cache import JobCache
from trainonce.sites import Measurement
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import Fork, StateSpec, TrainSpec
from trainonce.train.checkpoints import Checkpoints, State
from trainonce.train.loop import Trained
from trainonce.train.settings import TrainSettings

TRUNK = TrainSpec(
    corpus="c",
    sequence=8,
    model=DecoderSettings(width=8, layers=1, heads=2),
    train=TrainSettings(steps=10, batch=1),
    seed=1,
)
STATE = StateSpec(trained=TRUNK, step=5)
FORK = replace(TRUNK, fork=Fork(TRUNK, 5), seed=2)
MEASURE = MeasureSpec(trained=TRUNK, probe="heldout_loss", version=1)

_TRAINED = Trained(np.zeros(10), np.zeros((10, 1), dtype=np.float32))
_WEIGHTS = {"a": torch.arange(4.0), "b": torch.ones(64)}


def finish(home: Path, *specs: TrainSpec | StateSpec | MeasureSpec) -> JobCache:
    """A cache in which ``specs`` are finished, with made-up results."""
    cache = JobCache(home)
    facts = {"seconds": 2.0, "machine": "here"}
    for spec in specs:
        if isinstance(spec, StateSpec):
            saved = checkpoint(cache, spec)
            cache.finish_state(spec, saved, facts)
        elif isinstance(spec, TrainSpec):
            weights = {**_WEIGHTS, "a": torch.zeros(4)} if spec.fork else _WEIGHTS
            cache.finish_training(spec, weights, _TRAINED, facts)
        else:
            row = Measurement(unit="d0", kind="document", dose=0, outcome="loss", value=1.0)
            cache.finish_measuring(spec, [row], facts)
    return cache


def checkpoint(cache: JobCache, spec: TrainSpec | StateSpec) -> Path:
    """A checkpoint of a job that is not finished."""
    folder = cache.work(spec.key) / "checkpoints"
    described = TypeAdapter(TrainSpec).dump_python(spec.trained, mode="json")
    facts = {"job": spec.trained.key, "spec": described, "step": 5, "left_out": []}
    tensors = {f"model.{name}": tensor for name, tensor in _WEIGHTS.items()}
    Checkpoints(folder).save(5, State(tensors, facts))
    return folder / "step-000000005"


def age(cache: JobCache, key: str, days: float) -> None:
    """Make a finished job look ``days`` old."""
    then = time.time() - days * 86400
    os.utime(cache.folder(key) / "result.json", (then, then))
