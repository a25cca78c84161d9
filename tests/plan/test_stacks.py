from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainonce.models.decoder import DecoderSettings
from trainonce.plan.stacks import arrange
from trainonce.tasks.specs.runs import Fork, TrainSpec, Treated
from trainonce.train.calibrate import Timing, remember
from trainonce.train.schedules import Cosine
from trainonce.train.settings import AdamWSettings, OnNan, TrainSettings

RUN = TrainSpec(
    corpus="c",
    sequence=8,
    model=DecoderSettings(width=8, layers=1, heads=2),
    train=TrainSettings(steps=9, batch=2),
    seed=1,
)
TREATED = Treated(question="q", method="memorization", version=1, settings={})
ALIKE = [
    RUN,
    replace(RUN, seed=2),
    replace(RUN, treatments=(TREATED,)),
    replace(RUN, train=replace(RUN.train, optimizer=AdamWSettings(lr=1.0), schedule=Cosine())),
]
BATCHED = Timing(work=1e4, alone=1.0, side_by_side=1.0, workers=1, batched={2: 1.0, 8: 2.0})
APART = replace(BATCHED, batched={2: 9.0})


def calibrated(home: Path, timing: Timing) -> Path:
    remember(home, torch.device("cpu"), {"mlp": timing})
    return home


def test_runs_that_differ_in_seeds_numbers_and_treatments_are_stacked(tmp_path: Path) -> None:
    found = arrange(ALIKE, 300, calibrated(tmp_path, BATCHED), lambda _run: None)
    assert len({run.stack for run in found}) == 1
    assert found[0].stack is not None
    assert [replace(run, stack=None, threads=1) for run in found] == ALIKE


def test_where_it_does_not_pay_or_nobody_knows_they_stay_apart(tmp_path: Path) -> None:
    assert arrange(ALIKE, 300, tmp_path, lambda _run: None) == ALIKE
    assert arrange(ALIKE, 300, calibrated(tmp_path, APART), lambda _run: None) == ALIKE


@pytest.mark.parametrize(
    "change",
    [
        {"train": replace(RUN.train, batch=4)},
        {"train": replace(RUN.train, accumulate=2)},
        {"train": replace(RUN.train, on_nan=OnNan.SKIP)},
        {"model": DecoderSettings(width=16, layers=1, heads=2)},
        {"model": "some/model"},
        {"fork": Fork(RUN, 3)},
    ],
)
def test_what_cannot_be_stacked_stays_apart(change: dict[str, object], tmp_path: Path) -> None:
    odd = replace(RUN, **change)  # type: ignore[arg-type]
    twin = replace(odd, seed=7) if "fork" in change or change.get("model") == "some/model" else RUN
    found = arrange([twin, odd], 300, calibrated(tmp_path, BATCHED), lambda _run: None)
    assert found == [twin, odd]


def test_what_was_trained_before_is_taken_as_it_is(tmp_path: Path) -> None:
    home = calibrated(tmp_path, BATCHED)
    before = replace(RUN, stack="of another study", threads=2)
    found = arrange(ALIKE, 300, home, lambda run: before if run.name == RUN.name else None)
    assert found[0] == before
    assert len({run.stack for run in found[1:]}) == 1
    assert found[1].stack not in (None, before.stack)
