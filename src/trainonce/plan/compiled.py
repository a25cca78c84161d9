"""Which runs are compiled: those that are long enough, by what was measured on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from trainonce.models.build import shape
from trainonce.plan.cost import operations_a_second, step_operations
from trainonce.plan.stacks import Known
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train import calibrate, compiling
from trainonce.train.rehearsal import shape_of


def compile_long(
    runs: Sequence[TrainSpec], vocabulary: int, home: Path, known: Known
) -> list[TrainSpec]:
    """``runs`` as they are to be trained, in the same order: compiled where that pays.

    One that was trained before stays as it was, and so do stacks, runs of several processes and
    all runs on a machine that nobody has measured.
    """
    return [
        replace(run, compiled=True)
        if known(run) is None and _alone(run) and _pays(run, vocabulary, home)
        else run
        for run in runs
    ]


def _alone(run: TrainSpec) -> bool:
    return run.stack is None and run.processes is None


def _pays(run: TrainSpec, vocabulary: int, home: Path) -> bool:
    device = torch.device(run.device)
    gain, timings = compiling.remembered(home, device), calibrate.remembered(home, device)
    if gain is None or not timings:
        return False
    with torch.device("meta"):
        model = shape(run.model, vocabulary)
    rows = run.train.batch * run.sequence
    rate = operations_a_second(timings, shape_of(model, rows), beside=run.threads == 1)
    operations = step_operations(model, run.train.batch, run.sequence)
    return gain.pays(operations * (run.train.steps - run.begins) / rate)
