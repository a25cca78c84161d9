"""A study that averages of experts answer: what is kept, checked and shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from scipy import stats

import trainonce
from tests.stream.documents import write_folders
from trainonce.analysis.answers import Answer
from trainonce.analysis.by_part import curves_by_part
from trainonce.plan.jobs import Job, Role
from trainonce.report.html import render
from trainonce.report.tables import tables
from trainonce.run.cache import JobCache
from trainonce.run.entries import Uses, entries, leftovers
from trainonce.run.execute import execute
from trainonce.run.export import ExportError, find
from trainonce.run.inspection import inspect
from trainonce.run.prune import Wish, prunable
from trainonce.run.verify import verify
from trainonce.stream.corpus import Corpus
from trainonce.stream.parts import Parts
from trainonce.tasks.language import shell
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import AverageSpec
from trainonce.train.state import load_weights

STUDY = """\
study: Tiny mixtures
recipe:
  data:
    corpus: {corpus}
    tokenizer: {{vocabulary: 300}}
    sequence: 64
    heldout: 30%
    parts: {{code: code/*, docs: deep/*}}
  model: {{width: 16, layers: 1, heads: 2}}
  optimizer: {{lr: 1e-2}}
  batch: 4
  length: 60 steps
  seeds: [1, 2]
  allow_changed: 30%
checks: {{plain: false}}
questions:
  - id: mix
    at: 50%
    how: average
    outcome: heldout_loss/code
    check: 2
    treatment:
      change:
        data.mixture:
          - {{code: 1}}
          - {{code: 75%, docs: 25%}}
          - {{code: 50%, docs: 50%}}
          - {{code: 10%, docs: 90%}}
          - {{docs: 1}}
  - id: memory
    treatment: {{method: memorization, doses: [0, 4], passages: 2, canaries: 3, tokens: 16}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, here: None) -> trainonce.Study:
    corpus = write_folders(tmp_path_factory.mktemp("text"))
    file = tmp_path_factory.mktemp("study") / "study.yaml"
    file.write_text(STUDY.format(corpus=corpus))
    return trainonce.Study.load(file, home=tmp_path_factory.mktemp("home")).run()


@pytest.fixture(scope="module")
def cache(finished: trainonce.Study) -> JobCache:
    return JobCache(finished.home)


@pytest.fixture(scope="module")
def answer(finished: trainonce.Study) -> Answer:
    return finished.answers.answers[0]


def of(study: trainonce.Study, role: Role, kind: str) -> list[Job]:
    return [job for job in study.plan().jobs if job.role is role and job.kind == kind]


def level(cache: JobCache, key: str) -> float:
    return float(cache.rows(key)["value"].to_numpy().mean())


def test_an_average_is_literally_that_of_the_parameters(
    finished: trainonce.Study, cache: JobCache
) -> None:
    averages = of(finished, Role.AVERAGE, "average")
    assert len(averages) == 6
    for job in averages:
        assert isinstance(job.spec, AverageSpec)
        shares = np.array(job.spec.weights) / sum(job.spec.weights)
        models = [cache.weights(run.key) for run in job.spec.models]
        found = cache.weights(job.key)
        assert found.keys() == models[0].keys()
        for name, tensor in found.items():
            wanted = sum(share * m[name].double() for share, m in zip(shares, models, strict=True))
            torch.testing.assert_close(tensor.double(), wanted, rtol=1e-6, atol=1e-7)
        assert any(not torch.equal(found[name], models[0][name]) for name in found)


def test_an_average_that_is_gone_is_made_again_bit_by_bit(
    finished: trainonce.Study, cache: JobCache, tmp_path: Path
) -> None:
    spec = of(finished, Role.AVERAGE, "average")[0].spec
    folder = cache.folder(spec.key)
    before = (folder / "model.safetensors").read_bytes()
    folder.rename(tmp_path / "away")
    execute(spec, finished.home, lambda _progress: None, lambda: False)
    assert (folder / "model.safetensors").read_bytes() == before


def test_averages_and_their_measurements_are_read_back_as_the_same_jobs(
    finished: trainonce.Study, cache: JobCache
) -> None:
    measured = [j for j in finished.plan().jobs if isinstance(j.spec, MeasureSpec)]
    averaged = [j for j in measured if j.spec.average]  # type: ignore[union-attr]
    assert averaged
    for job in (*of(finished, Role.AVERAGE, "average"), *averaged):
        again: Spec = TypeAdapter(Spec).validate_python(cache.result(job.key)["spec"])
        assert again == job.spec
        assert again.key == job.key
    spec = averaged[0].spec
    assert isinstance(spec, MeasureSpec)
    assert spec.average
    with pytest.raises(ValueError, match="measured with the first of its own runs"):
        replace(spec, trained=replace(spec.trained, seed=9))
    with pytest.raises(ValueError, match="one seed, one corpus and one model"):
        replace(spec.average, models=(spec.trained, replace(spec.trained, seed=9)))
    with pytest.raises(ValueError, match="2 weights for 1 runs"):
        replace(spec.average, models=(spec.trained,))


def test_the_loss_on_a_part_is_that_on_its_own_held_out_documents(
    finished: trainonce.Study, cache: JobCache
) -> None:
    spec = next(
        job.spec
        for job in finished.plan().jobs
        if isinstance(job.spec, MeasureSpec) and job.spec.average
    )
    assert spec.average
    assert spec.part
    corpus = Corpus(finished.home / "corpora" / spec.trained.corpus)
    starts = Parts(corpus, spec.part.parts).heldout_blocks("code", 64)
    tokens = corpus.split("heldout").tokens
    model = shell(spec.trained, corpus)
    load_weights(model, cache.weights(spec.average.key))
    rows = cache.rows(spec.key)
    assert len(rows) == len(starts)
    assert set(rows["kind"]) == {"code"}
    assert set(rows["outcome"]) == {"heldout_loss/code"}
    block = torch.from_numpy(tokens[starts[3] : starts[3] + 64].astype(np.int64))
    text = corpus.tokenizer.decode(block.tolist())
    assert "class" in text or "return" in text or "import" in text
    with torch.no_grad():
        loss = F.cross_entropy(model(block[None])[0, :-1], block[1:])
    assert rows["value"][3] == pytest.approx(float(loss), rel=1e-4)


def test_the_answer_is_of_averages_and_experts(
    finished: trainonce.Study, cache: JobCache, answer: Answer
) -> None:
    assert answer.strategy == "average"
    base, *arms = answer.decided.doses
    planned = finished.plan().questions[0]
    for dose, arm in zip(answer.decided.doses, planned.arms, strict=True):
        assert dose.mean == pytest.approx(np.mean([level(cache, key) for key in arm.measured]))
    assert arms[0].mean < base.mean < arms[-1].mean  # code helps on code, and docs do not
    assert [dose.units for dose in arms] == [2] * 5
    assert answer.decided.outcome == "heldout_loss/code"
    assert "parameter averages rank like joint training" in answer.assumptions
    memory = finished.answers.answers[1]
    assert memory.strategy == "multiplex"
    assert memory.plain is None


def test_its_checks_are_of_mixtures_that_were_trained(
    finished: trainonce.Study, cache: JobCache, answer: Answer
) -> None:
    """Both numbers, literally, from the measurements of the real runs."""
    arms = finished.plan().questions[0].arms
    real = [arm for arm in arms if arm.real]
    checked = [arm for arm in real if arm.real != arm.measured]
    assert (len(real), len(checked)) == (4, 2)
    runs = of(finished, Role.REAL, "train")
    assert len(runs) == 4
    for run in runs:
        assert len(cache.losses(run.key)) == 60
    levels = [[[level(cache, k) for k in keys] for keys in (a.measured, a.real)] for a in real]
    means = np.mean(levels, axis=2)
    ranks, error = answer.checks
    assert ranks.value == pytest.approx(stats.spearmanr(means[:, 0], means[:, 1]).statistic)
    assert ranks.held is None
    own = np.array(
        [[[level(cache, k) for k in keys] for keys in (a.measured, a.real)] for a in checked]
    )
    differences = own[:, 0] - own[:, 1]
    assert (differences != 0).all()
    assert error.value == pytest.approx(differences.mean())
    assert error.low is not None
    assert error.high is not None
    assert error.low < error.value < error.high


def test_a_check_costs_nothing_of_the_answer(finished: trainonce.Study, answer: Answer) -> None:
    plan = finished.plan()
    real = [job for job in plan.jobs if job.role is Role.REAL]
    assert plan.checks_run_equivalents == pytest.approx(sum(job.run_equivalents for job in real))
    assert answer.run_equivalents < plan.run_equivalents
    assert finished.answers.heldout_loss_plain is None


def test_the_report_tells_the_checks(finished: trainonce.Study) -> None:
    page = render(finished.answers, finished.plan())
    assert "averages rank like joint training" in page
    assert "averages are as good as joint training" in page
    assert json.dumps(finished.answers.to_json(), allow_nan=False)


def test_forks_find_experts_and_checks_done(
    finished: trainonce.Study, cache: JobCache, tmp_path: Path
) -> None:
    """What was trained for averages is what arms by fork are."""
    file = tmp_path / "study.yaml"
    assert finished.definition is not None
    text = finished.definition.document.file.read_text()
    file.write_text(text.replace("how: average", "how: fork").replace("    check: 2\n", ""))
    forked = trainonce.Study.load(file, home=finished.home).plan()
    arms = [job for job in forked.jobs if job.role is Role.ARM and job.kind == "train"]
    assert len(arms) == 10
    assert sum(cache.done(job.key) for job in arms) == 8  # all but the mixture not checked


def test_training_losses_are_told_by_part(finished: trainonce.Study, cache: JobCache) -> None:
    """Together they are the trunks' losses; each is that of the sequences of its part."""
    curves = finished.answers.by_part
    assert [(curve.name, curve.part) for curve in curves] == [
        ("trunk", name) for name in ("code", "docs", "rest")
    ]
    trunks = of(finished, Role.TRUNK, "train")
    counts = np.array([curve.sequences for curve in curves])
    assert counts.sum() == len(trunks) * 60 * 4
    means = np.array([np.mean(curve.losses) for curve in curves])  # of stretches as long each
    whole = np.mean([cache.losses(job.key).mean() for job in trunks])
    assert counts @ means / counts.sum() == pytest.approx(whole, rel=0.01)
    assert all(curve.losses[0] > curve.losses[-1] for curve in curves)
    assert all(curve.steps == tuple(sorted(curve.steps)) for curve in curves)
    page = render(finished.answers, finished.plan())
    assert 'id="parts"' in page
    told = {table.name: table.rows for table in tables(finished.answers, finished.plan())}
    assert len(told["parts"]) == sum(len(curve.steps) for curve in curves)


def test_a_run_of_an_earlier_version_has_no_losses_by_part(
    finished: trainonce.Study, cache: JobCache, tmp_path: Path
) -> None:
    file = cache.folder(of(finished, Role.TRUNK, "train")[0].key) / "by_sequence.npy"
    file.rename(tmp_path / file.name)
    assert curves_by_part(finished.plan(), cache) == ()
    (tmp_path / file.name).rename(file)
    assert curves_by_part(finished.plan(), cache) == finished.answers.by_part
    assert curves_by_part(replace(finished.plan(), parts=None), cache) == ()


def test_the_cache_knows_averages(finished: trainonce.Study, cache: JobCache) -> None:
    job = of(finished, Role.AVERAGE, "average")[0]
    assert isinstance(job.spec, AverageSpec)
    found: dict[str, Any] = {entry.key: entry for entry in entries(cache, Uses())}
    assert found[job.key].kind == "average"
    assert verify(cache, found) == {}
    parents = tuple(run.key for run in job.spec.models)
    seen = inspect(job.key, finished.home)
    assert (seen.kind, seen.parents, seen.step, seen.damage) == ("average", parents, 60, None)
    with pytest.raises(ExportError, match=f"averages the parameters of runs.*{parents[0]}"):
        find(cache, job.key)
    known = Uses(True, parents={"open": {job.key}})
    listed = list(found.values())
    pruning = prunable(listed, leftovers(cache), known, frozenset(), Wish(older=-1.0), 1e12)
    assert pruning.kept[job.key] == "open, which is not finished, is made from it"
    busy = frozenset({"other"})
    pruning = prunable(listed, [], Uses(), busy, Wish(older=-1.0), 1e12)
    assert "jobs are running here" in pruning.kept[job.key]
