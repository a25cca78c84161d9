"""A question whose insertions a controller decides, from the study file to the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trainonce
from trainonce.analysis.answers import Answer
from trainonce.plan.jobs import Role
from trainonce.plan.planner import plan
from trainonce.report.figures import dose_response
from trainonce.run.cache import JobCache
from trainonce.run.inspection import inspect
from trainonce.stream.corpus import Corpus
from trainonce.study.load import load
from trainonce.tasks.specs.runs import TrainSpec

STUDY = """\
study: Tiny pace
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 16, layers: 1, heads: 2}}
  optimizer: {{lr: 1e-2}}
  batch: 4
  length: 60 steps
  seeds: [1, 2]
  allow_changed: 90%
questions:
  - id: pace
    measure_at: 50%
    treatment: {{method: acquisition, doses: [0, 80], people: 3, copies: 16, every: 6}}
"""


def write_study(folder: Path, corpus: Path, old: str = "", new: str = "") -> Path:
    file = folder / "study.yaml"
    file.write_text(
        STUDY.format(corpus=corpus).replace(old, new) if old else STUDY.format(corpus=corpus)
    )
    return file


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, documents_file: Path, here: None
) -> trainonce.Study:
    folder = tmp_path_factory.mktemp("controlled")
    file = write_study(folder, documents_file)
    return trainonce.Study.load(file, home=folder / "home").run()


@pytest.fixture(scope="module")
def pace(finished: trainonce.Study) -> Answer:
    return finished.answers.answers[0]


def trunks(study: trainonce.Study) -> list[TrainSpec]:
    found = [job.spec for job in study.plan().jobs if job.role is Role.TRUNK]
    return [spec for spec in found if isinstance(spec, TrainSpec)]


def test_facts_with_a_target_are_stated_and_the_others_are_not(
    finished: trainonce.Study, pace: Answer
) -> None:
    (rate,) = [outcome for outcome in pace.others if outcome.outcome == "rate"]
    assert rate.doses[0].mean == 0
    assert rate.doses[1].mean > 0
    assert [found.step for found in rate.over_steps] == [30, 60]
    assert rate.over_steps[-1].doses == rate.doses
    for spec in trunks(finished):
        decided = JobCache(finished.home).decided(spec)["pace"]
        assert decided.shape == (10, 12, 2)
        assert ((decided[..., 0] > 0) & (decided[..., 0] < 1)).all()


def test_the_plain_run_has_no_controller(finished: trainonce.Study, pace: Answer) -> None:
    assert pace.plain is not None
    plain = [job.spec for job in finished.plan().jobs if job.role is Role.PLAIN]
    assert all(JobCache(finished.home).decided(spec) == {} for spec in plain)  # type: ignore[arg-type]


def test_what_was_decided_is_seen_at_the_step_that_is_measured(
    finished: trainonce.Study,
) -> None:
    cache = JobCache(finished.home)
    (spec, _) = trunks(finished)
    (state,) = cache.states(spec)
    assert state.step == 30
    np.testing.assert_array_equal(cache.decided(state)["pace"], cache.decided(spec)["pace"][:5])


def test_the_ledger_counts_what_was_decided(finished: trainonce.Study) -> None:
    cache = JobCache(finished.home)
    (spec, _) = trunks(finished)
    corpus = Corpus(finished.home / "corpora" / spec.corpus)
    (treated,) = spec.treatments
    stream = treated.apply(spec.stream(corpus)).decided(cache.decided(spec), 4)
    ledger = inspect(spec.key, finished.home).ledger
    assert ledger is not None
    none, some = ledger[0].doses
    assert (none.copies, none.seen) == (0, 0)
    assert some.copies == some.seen == len(stream.overlay) > 0


def test_its_run_is_trained_by_itself_and_the_plan_says_at_most(
    finished: trainonce.Study,
) -> None:
    assert all(spec.stack is None and not spec.compiled for spec in trunks(finished))
    (planned, _) = finished.plan().questions
    assert any("it changes up to " in said for said in planned.assumptions)


def test_a_dose_is_called_what_it_is(pace: Answer) -> None:
    assert pace.to_json()["dose"] == "target of the probed probability, in %"
    title = dose_response(pace).layout.xaxis.title.text
    assert title == "dose: target of the probed probability, in %"
    hostile = dose_response(replace(pace, dose="<b>")).layout.xaxis.title.text
    assert hostile == "dose: &lt;b&gt;"


def test_a_run_of_several_processes_has_its_controller(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    file = write_study(tmp_path, documents_file, "  batch: 4\n", "  batch: 4\n  processes: 2\n")
    specs = [job.spec for job in plan(load(file), home).jobs if job.role is Role.TRUNK]
    for spec in specs:
        assert isinstance(spec, TrainSpec)
        assert spec.processes is not None
        assert [treated.method for treated in spec.treatments if treated.question == "pace"] == [
            "acquisition"
        ]


@pytest.mark.parametrize("length", ["50%", "30%"])  # to the end, and to a state on the way
def test_a_dependence_test_counts_what_was_decided(
    tmp_path: Path, documents_file: Path, here: None, length: str
) -> None:
    passages = """\
  - id: passages
    lane: 1
    treatment: {method: passages, doses: [0, 4], items: 4, tokens: 12}
"""
    file = write_study(tmp_path, documents_file)
    text = file.read_text().replace("seeds: [1, 2]", "seeds: [1]")
    file.write_text(text + passages)
    found = trainonce.Study.load(file, home=tmp_path / "home").check("50%", length=length)
    pace, _ = found.experiments
    assert pace.id == "pace"
    assert 0 < pace.inside < pace.copies
    assert found.cell("pace", "passages").decision is not None
