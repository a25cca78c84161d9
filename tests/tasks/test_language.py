"""Specs: what is written down for a worker is the job that was planned."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from trainonce.models.decoder import DecoderSettings
from trainonce.tasks.specs import (
    Fork,
    MeasureSpec,
    Spec,
    StateSpec,
    Steered,
    TrainSpec,
    Treated,
    spec_hash,
    stacked,
)
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
