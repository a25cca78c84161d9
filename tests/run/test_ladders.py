"""A ladder and a small run in place of large ones, from the study file to the answers."""

from __future__ import annotations

import json
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

import trainonce
from trainonce.analysis.answers import Answer, Answers
from trainonce.methods.study.scaling import law as fitted
from trainonce.methods.study.scaling.bootstrap import draws
from trainonce.plan.jobs import Role
from trainonce.report.html import render
from trainonce.report.terminal import answers_view
from trainonce.run.cache import JobCache
from trainonce.run.inspection import inspect
from trainonce.run.verify import verify
from trainonce.stream.corpus import Corpus
from trainonce.tasks.language import shell
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import StateSpec, TrainSpec
from trainonce.train.state import load_weights

STUDY = """\
study: Tiny ladder
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 32, heldout: 30%}}
  model: {{width: 16, layers: 1, heads: 2}}
  schedule: {{name: wsd, warmup: 10%, decay: 25%}}
  batch: 4
  length: 40 steps
  seeds: [1, 2]
  allow_changed: 30%
questions:
  - {{id: long, treatment: {{change: {{model.width: 32, length: 160 steps}}}},
     ladder: [25%, 38%, 75%]}}
  - {{id: rate, at: 50%, treatment: {{change: {{optimizer.lr: 1e-4}}}}, how: emulate,
     small: {{width: 8, layers: 1, heads: 2}}}}
checks: {{plain: false}}
"""


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, documents_file: Path, here: None
) -> trainonce.Study:
    file = tmp_path_factory.mktemp("study") / "study.yaml"
    file.write_text(STUDY.format(corpus=documents_file))
    return trainonce.Study.load(file, home=tmp_path_factory.mktemp("home")).run()


@pytest.fixture(scope="module")
def found(finished: trainonce.Study) -> Answers:
    """With few draws of the bootstrap: how wide an interval is matters elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitted, "draws", partial(draws, count=10))
        return finished.answers


@pytest.fixture(scope="module")
def answers(found: Answers) -> dict[str, Answer]:
    return {answer.question: answer for answer in found.answers}


def logits(spec: TrainSpec | StateSpec, tokens_BT: Tensor, home: Path) -> Tensor:
    model = shell(spec.trained, Corpus(home / "corpora" / spec.trained.corpus))
    load_weights(model, JobCache(home).weights_of(spec))
    with torch.no_grad():
        found: Tensor = model.eval()(tokens_BT)
    return found


def test_a_larger_and_longer_run_is_predicted(answers: dict[str, Answer]) -> None:
    long = answers["long"]
    assert long.strategy == "extrapolate"
    assert long.units == 2 * 4 * 4
    base, arm = long.decided.doses
    assert long.decided.estimate == pytest.approx(arm.mean - base.mean)
    assert long.decided.low < long.decided.estimate < long.decided.high
    (check,) = long.checks
    assert check.name == "the largest rung, left out of the fit"
    assert "width 24" in check.says


def test_the_emulated_loss_is_that_of_the_moved_logits(finished: trainonce.Study) -> None:
    """Literally: the large model's logits, and what the change made of the small one's."""
    (job,) = (
        job
        for job in finished.plan().jobs
        if isinstance(job.spec, MeasureSpec) and job.spec.steered and job.seed == 1
    )
    assert isinstance(job.spec, MeasureSpec)
    corpus = Corpus(finished.home / "corpora" / job.spec.trained.corpus)
    rows = JobCache(finished.home).rows(job.key)
    start = int(corpus.blocks("heldout", 32)[0])  # of the first block that is measured
    block_T = corpus.split("heldout").tokens[start : start + 32].astype(np.int64)
    tokens_BT = torch.from_numpy(block_T)[None]
    trained = [one for one in job.spec.parents if isinstance(one, TrainSpec)]
    large, tuned, untuned = (logits(one, tokens_BT, finished.home) for one in trained)
    moved_BTV = large + tuned - untuned
    loss = F.cross_entropy(moved_BTV[0, :-1], tokens_BT[0, 1:])
    assert rows["value"][0] == pytest.approx(float(loss), rel=1e-5)
    plain = F.cross_entropy(large[0, :-1], tokens_BT[0, 1:])
    assert abs(float(plain - loss)) > 1e-3


def test_the_true_tuning_is_beside_the_emulated_effect(
    finished: trainonce.Study, answers: dict[str, Answer]
) -> None:
    rate = answers["rate"]
    assert rate.strategy == "emulate"
    assert len(rate.decided.doses[-1].points) == 2
    cache = JobCache(finished.home)
    jobs = {job.role: job.key for job in finished.plan().jobs if job.seed == 1}
    assert jobs[Role.TUNING] != jobs[Role.HELDOUT]
    real, base = (
        float(cache.rows(jobs[role])["value"].to_numpy().mean())
        for role in (Role.TUNING, Role.HELDOUT)
    )
    (check,) = rate.checks
    assert check.value == pytest.approx(real - base)
    assert check.name == "one true tuning"


def test_costs_are_shared_out_whole(found: Answers, answers: dict[str, Answer]) -> None:
    total = sum(answer.run_equivalents for answer in answers.values())
    assert total == pytest.approx(found.run_equivalents)
    assert found.checks_run_equivalents > 0.25


def test_reports_say_what_nobody_trained(finished: trainonce.Study, found: Answers) -> None:
    out = StringIO()
    Console(file=out, width=400).print(answers_view(found))
    page = render(found, finished.plan())
    for text in (out.getvalue(), page):
        assert "the heldout_loss would be " in text
        assert "predicted from 32 runs of a ladder" in text
        assert "the largest rung, left out of the fit" in text
        assert "one true tuning" in text
    assert "32 runs of a ladder</li>" in page
    assert "emulated from small run, optimizer.lr 1e-4" in page
    assert json.dumps(found.to_json(), allow_nan=False)


def test_steered_measurements_are_jobs_like_others(finished: trainonce.Study) -> None:
    plan, cache = finished.plan(), JobCache(finished.home)
    assert verify(cache, [job.key for job in plan.jobs]) == {}
    job = next(j for j in plan.jobs if isinstance(j.spec, MeasureSpec) and j.spec.steered)
    assert inspect(job.key, finished.home).parents == job.parents
    assert len(job.parents) == 3
