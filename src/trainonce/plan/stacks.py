"""Which runs train as one, as stacked parameters, where this machine's calibration says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from trainonce.models.build import shape
from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.tasks.specs.runs import TrainSpec, stacked
from trainonce.train.calibrate import Way, choose
from trainonce.train.rehearsal import shape_of
from trainonce.train.rehearsal_pool import cores
from trainonce.train.schedules import WarmupStableDecay
from trainonce.train.settings import AdamWSettings, OnNan

Known = Callable[[TrainSpec], TrainSpec | None]
"""How a run was trained before, by itself or stacked; None for one that was not."""


def arrange(
    runs: Sequence[TrainSpec], vocabulary: int, home: Path, known: Known
) -> list[TrainSpec]:
    """``runs`` as they are to be trained, in the same order.

    One that was trained before is taken as it is. The others that differ in seeds, treatments and
    numbers only are stacked where `trainonce.train.calibrate.choose` says so.
    """
    arranged = {run.name: found for run in runs if (found := known(run))}
    groups: dict[str, list[TrainSpec]] = {}
    for run in runs:
        if run.name not in arranged and _stackable(run):
            groups.setdefault(_alike(run).key, []).append(run)
    for group in groups.values():
        if len(group) > 1 and _pays(group, vocabulary, home):
            threads = cores() if group[0].device == "cpu" else group[0].threads
            arranged |= {run.name: run for run in stacked(group, threads)}
    return [arranged.get(run.name, run) for run in runs]


def _stackable(run: TrainSpec) -> bool:
    ours = isinstance(run.model, DecoderSettings) or run.model in SIZES
    plain = run.train.accumulate == 1 and run.train.on_nan is OnNan.STOP
    plain = plain and run.objective is None  # a stack's loss is cross-entropy
    return ours and plain and run.fork is None and run.processes is None and not run.recompute


def _alike(run: TrainSpec) -> TrainSpec:
    """What runs of one stack have in common."""
    numbers = replace(run.train, optimizer=AdamWSettings(), schedule=WarmupStableDecay(), clip=1.0)
    return replace(run, seed=0, treatments=(), mixture=None, train=numbers)


def _pays(group: Sequence[TrainSpec], vocabulary: int, home: Path) -> bool:
    first = group[0]
    with torch.device("meta"):
        model = shape(first.model, vocabulary)
    rows = first.train.batch * first.sequence
    way = choose(shape_of(model, rows), len(group), torch.device(first.device), home)
    return way is Way.BATCHED
