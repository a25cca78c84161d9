from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from trainonce.models.decoder import DecoderSettings
from trainonce.plan.compiled import compile_long
from trainonce.tasks.specs.runs import Fork, TrainSpec, stacked
from trainonce.train import calibrate, compiling
from trainonce.train.calibrate import Timing
from trainonce.train.compiling import Compiling
from trainonce.train.rehearsal import REFERENCES
from trainonce.train.settings import TrainSettings

CPU = torch.device("cpu")
SHORT = TrainSpec(
    corpus="c",
    sequence=8,
    model=DecoderSettings(width=8, layers=1, heads=2),
    train=TrainSettings(steps=10, batch=2),
    seed=1,
)
LONG = replace(SHORT, train=replace(SHORT.train, steps=10_000_000))


def measured(home: Path) -> Path:
    compiling.remember(home, CPU, Compiling(faster=1.25, first=10.0))
    work = REFERENCES["mlp"].shape.work
    timing = Timing(work=work, alone=0.01, side_by_side=0.01, workers=2, batched={})
    calibrate.remember(home, CPU, {"mlp": timing})
    return home


def test_long_runs_are_compiled_and_short_ones_not(tmp_path: Path) -> None:
    runs = [SHORT, LONG]
    assert compile_long(runs, 300, tmp_path, lambda _run: None) == runs
    found = compile_long(runs, 300, measured(tmp_path), lambda _run: None)
    assert found == [SHORT, replace(LONG, compiled=True)]
    assert found[1].key != LONG.key
    assert found[1].name == LONG.name


def test_what_was_trained_before_stays_as_it_was(tmp_path: Path) -> None:
    assert compile_long([LONG], 300, measured(tmp_path), lambda run: run) == [LONG]


def test_stacks_and_late_forks_stay_as_they_are(tmp_path: Path) -> None:
    pair = list(stacked([LONG, replace(LONG, seed=2)], 1))
    late = replace(LONG, fork=Fork(LONG, LONG.train.steps - 10))
    runs = [*pair, late]
    assert compile_long(runs, 300, measured(tmp_path), lambda _run: None) == runs
