"""Spreads of what was measured, from jobs that a test writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.plan.studies import HEAD, MEMORY
from trainonce.analysis.pilots import item_spread, observed_spreads
from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.run.cache import COLUMNS, JobCache
from trainonce.sites import Measurement
from trainonce.study.load import load
from trainonce.tasks.specs.measurements import MeasureSpec

RATE = "  - {id: rate, treatment: {change: {optimizer.lr: [1e-3]}}}\n"


@pytest.fixture
def cache(tmp_path: Path) -> JobCache:
    return JobCache(tmp_path / "jobs_home")


def planned(folder: Path, home: Path, corpus: Path, *questions: str) -> Plan:
    folder.mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(HEAD.format(corpus=corpus) + "".join(questions))
    return plan(load(folder / "study.yaml"), home)


def measure(cache: JobCache, spec: MeasureSpec, values: dict[int, list[float]]) -> None:
    rows = [
        Measurement(f"{dose}-{index}", "k", dose, outcome, value * scale)
        for dose, found in values.items()
        for index, value in enumerate(found)
        for outcome, scale in (("extraction", 1), ("heldout_loss", 1), ("loss", 7))
    ]
    cache.finish_measuring(spec, rows, {})


def items_of(found: Plan, name: str) -> list[MeasureSpec]:
    return [
        job.spec
        for job in found.jobs
        if isinstance(job.spec, MeasureSpec)
        and job.role is Role.ANSWER
        and job.questions == (name,)
    ]


def test_the_spread_is_that_within_doses_and_seeds() -> None:
    rows = [
        *((seed, dose, seed + dose + x) for seed in (1, 2) for dose in (0, 6) for x in (0.0, 2.0)),
        *((1, 2, x) for x in (-90.0, 90.0)),  # a dose between, which is not compared
    ]
    frame = pl.DataFrame(
        [
            {**dict.fromkeys(COLUMNS), "seed": s, "kind": "k", "dose": d, "value": v}
            for s, d, v in rows
        ],
        schema=COLUMNS,
    )
    assert item_spread(frame) == pytest.approx(np.sqrt(2))
    assert item_spread(frame.with_columns(value=pl.lit(1.0))) is None
    assert item_spread(frame.clear()) is None


def test_own_measurements_come_first_then_the_same_settings_of_others(
    tmp_path: Path, home: Path, documents_file: Path, cache: JobCache
) -> None:
    here = planned(tmp_path / "a", home, documents_file, MEMORY)
    assert observed_spreads(here, cache) == {}
    other = planned(tmp_path / "b", home, documents_file, MEMORY.replace("memory", "recall"))
    for spec in items_of(other, "recall"):
        measure(cache, spec, {0: [0.0, 0.2], 6: [0.0, 0.2]})
    found = observed_spreads(here, cache)["memory"]
    assert found.value == pytest.approx(0.2 / np.sqrt(2))
    assert found.source == "question 'recall' of another study, with the same settings, 8 items"
    measure(cache, items_of(here, "memory")[0], {0: [0.0, 0.4], 6: [0.0, 0.4]})
    found = observed_spreads(here, cache)["memory"]
    assert found.value == pytest.approx(0.4 / np.sqrt(2))
    assert found.source == "this study's finished measurements, 4 items"
    assert not found.assumed


def test_other_settings_are_a_last_resort_and_named(
    tmp_path: Path, home: Path, documents_file: Path, cache: JobCache
) -> None:
    here = planned(tmp_path / "a", home, documents_file, MEMORY)
    other = planned(tmp_path / "b", home, documents_file, MEMORY.replace("tokens: 16", "tokens: 8"))
    measure(cache, items_of(other, "memory")[0], {0: [0.0, 0.2], 6: [0.0, 0.2]})
    assert "with other settings" in observed_spreads(here, cache)["memory"].source


def test_runs_are_compared_at_seeds_of_any_study(
    tmp_path: Path, home: Path, documents_file: Path, cache: JobCache
) -> None:
    here = planned(tmp_path / "a", home, documents_file, RATE)
    (question,) = (one for one in here.questions if one.arms)
    specs = {job.key: job.spec for job in here.jobs}
    base, arm = (specs[one.measured[0]] for one in (question.arms[0], question.arms[-1]))
    for seed, effect in ((7, 0.1), (8, 0.3)):  # which this plan does not have
        for spec, value in ((base, 3.0), (arm, 3.0 + effect)):
            assert isinstance(spec, MeasureSpec)
            trained = replace(spec.trained, seed=seed)
            measure(cache, replace(spec, trained=trained), {0: [value, value]})
            if seed == 7:
                assert "rate" not in observed_spreads(here, cache)
    found = observed_spreads(here, cache)["rate"]
    assert found.value == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert found.source == "finished runs at seeds 7, 8"
