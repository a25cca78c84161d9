"""Specs: what is written down for a worker is the job that was planned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from tests.stream.documents import write_folders
from trainonce.models.decoder import DecoderSettings
from trainonce.stream.corpora import CorpusSource
from trainonce.stream.corpus import DataSettings, prepare
from trainonce.stream.mixture import Mixture
from trainonce.stream.parts import divide
from trainonce.tasks.keys import spec_hash
from trainonce.tasks.language import run_stacked, run_training
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec, PartOf, Steered
from trainonce.tasks.specs.runs import AverageSpec, Fork, StateSpec, TrainSpec, Treated, stacked
from trainonce.train.loop import Trained
from trainonce.train.precision import Precision
from trainonce.train.schedules import Cosine, WarmupStableDecay
from trainonce.train.settings import AdamWSettings, OnNan, TrainSettings

TREATED = Treated(question="q", method="memorization", version=1, settings={"doses": [0, 2]})
RUN = TrainSpec(corpus="c", sequence=8, model="nano", train=TrainSettings(steps=9, batch=2), seed=1)
RUNS = {
    "plain": RUN,
    "cosine": replace(RUN, train=replace(RUN.train, schedule=Cosine(warmup=0.1, floor=0.0))),
    "wsd": replace(RUN, train=replace(RUN.train, schedule=WarmupStableDecay(warmup=0, floor=0.1))),
    "numbers": replace(
        RUN,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=replace(
            RUN.train,
            precision=Precision.BFLOAT16,
            on_nan=OnNan.SKIP,
            optimizer=AdamWSettings(lr=1.0, betas=(0.0, 0.5)),
        ),
    ),
    "treated": replace(RUN, treatments=(TREATED, replace(TREATED, window=(0.25, 1)))),
    "fork": replace(RUN, fork=Fork(replace(RUN, fork=Fork(RUN, 3)), 5)),
    "compiled": replace(RUN, compiled=True),
    "mixed": replace(RUN, mixture=Mixture(parts="p", counts=(("code", 1), ("docs", 3)))),
    "other parts": replace(RUN, mixture=Mixture(parts="o", counts=(("code", 1), ("docs", 3)))),
    "stacked": stacked([RUN, replace(RUN, seed=2)], threads=2)[1],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_spec_read_back_is_the_same_job(name: str) -> None:
    run = RUNS[name]
    specs: list[Spec] = [
        run,
        StateSpec(trained=run, step=6),
        MeasureSpec(trained=run, probe="completion", version=1, treated=TREATED),
        MeasureSpec(trained=run, probe="heldout_loss", version=1, step=6),
        MeasureSpec(trained=run, probe="heldout_loss", version=1, part=PartOf(parts="p", name="a")),
        AverageSpec(models=(run, replace(run, threads=2)), weights=(1, 3), version=1),
        MeasureSpec(
            trained=run, probe="heldout_loss", version=1, steered=Steered(tuned=run, untuned=RUN)
        ),
    ]
    for spec in specs:
        text = json.dumps(TypeAdapter(type(spec)).dump_python(spec, mode="json"))
        again: Spec = TypeAdapter(Spec).validate_python(json.loads(text))
        assert again == spec
        assert again.key == spec.key


def test_keys_differ_where_jobs_do() -> None:
    keys = {run.key for run in RUNS.values()}
    assert len(keys) == len(RUNS)
    assert {RUNS["stacked"].name} == {replace(RUN, seed=2).name}


def test_what_came_later_left_the_keys_of_old_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden values, as these jobs were named before there were parts and mixtures."""
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    measured = MeasureSpec(trained=RUN, probe="heldout_loss", version=1)
    assert [RUN.key, RUNS["treated"].key, measured.key] == [
        "5b9646ed00b8ea5d4cc1",
        "0e4a2fd123ee31239527",
        "ec5696266380bf617f31",
    ]


def test_runs_of_other_mixtures_train_as_one_stack(tmp_path: Path) -> None:
    """Each with its own losses, as by itself: what one reads is not what the other does."""
    source = CorpusSource(name=str(write_folders(tmp_path / "text", files=30, others=0)))
    settings = DataSettings(corpus=source, tokenizer=300, sequence=16, heldout=0.3)
    corpus = prepare(settings, tmp_path / "home")
    parts = divide(settings, corpus, {"code": ("code/*",)})
    run = TrainSpec(
        corpus=corpus.fingerprint,
        sequence=16,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=6, batch=2),
        seed=1,
    )
    runs = [
        replace(run, mixture=Mixture(parts=parts.fingerprint, counts=((name, 1),)))
        for name in ("code", "rest")
    ]
    together = stacked(runs, threads=1)
    _, outcomes = run_stacked(together, [corpus, corpus], None, None)
    for own, outcome in zip(runs, outcomes, strict=True):
        assert isinstance(outcome, Trained)
        _, alone = run_training(own, corpus, None, None)
        np.testing.assert_allclose(outcome.losses, alone.losses, rtol=1e-4)
    assert abs(outcomes[0].losses[-1] - outcomes[1].losses[-1]) > 1e-3  # type: ignore[union-attr]


def test_a_measurement_of_a_model_as_it_is_keeps_its_key() -> None:
    """What steers came later: it is in no key that it is not a part of."""
    plain = MeasureSpec(trained=RUN, probe="heldout_loss", version=1)
    before = TypeAdapter(MeasureSpec).dump_python(plain, mode="json")
    assert before.pop("steered") is None
    assert plain.key == spec_hash(before)


def test_what_steers_is_in_the_key() -> None:
    plain = MeasureSpec(trained=RUN, probe="heldout_loss", version=1)
    tuned, other = RUNS["fork"], replace(RUN, seed=2)
    steered = [
        plain,
        replace(plain, steered=Steered(tuned=tuned, untuned=RUN)),
        replace(plain, steered=Steered(tuned=RUN, untuned=tuned)),
        replace(plain, steered=Steered(tuned=tuned, untuned=other)),
        replace(plain, steered=Steered(tuned=tuned, untuned=RUN, alpha=0.5)),
    ]
    assert len({spec.key for spec in steered}) == len(steered)
    assert steered[1].parents == (RUN, tuned, RUN)
    assert plain.parents == (RUN,)
