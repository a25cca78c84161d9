"""Updates that were left out are said wherever the run is spoken of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from torch import Tensor

from trainonce.analysis.seen import seen_by_trunks
from trainonce.lab import Study
from trainonce.plan.jobs import Role
from trainonce.report.html import render
from trainonce.report.sentences import left_out_sentence
from trainonce.report.terminal import answers_view
from trainonce.run.cache import JobCache
from trainonce.run.execute import execute
from trainonce.run.inspection import inspect
from trainonce.stream.corpus import Corpus
from trainonce.tasks import language
from trainonce.tasks.ledger import token_ledger
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.losses import token_losses

STUDY = """\
study: Tiny
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 8, layers: 1, heads: 2}}
  length: 30 steps
  batch: 4
  on_nan: skip
  allow_changed: 30%
questions:
  - {{id: memory, treatment: {{method: memorization, doses: [0, 4], passages: 2, canaries: 2,
      tokens: 16}}}}
checks: {{plain: false}}
"""


def test_steps_without_an_update_are_reported(
    tmp_path: Path, documents_file: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(corpus=documents_file))
    study = Study.load(file, home=home)
    calls = 0

    def poisoned(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        losses = token_losses(logits_BTV, targets_BT)
        return losses * float("nan") if calls in (5, 6, 30) else losses

    monkeypatch.setattr(language, "token_losses", poisoned)
    for job in study.plan().jobs:
        execute(job.spec, home, lambda _progress: None, lambda: False)
    trunk = next(job for job in study.plan().jobs if job.role is Role.TRUNK)
    assert JobCache(home).result(trunk.key)["left_out"] == [5, 6, 30]
    document = study.answers.to_json()
    text = json.dumps(document, allow_nan=False)  # the curve as well has no gaps
    assert json.loads(text)["left_out"] == [{"job": trunk.key, "seed": 1, "steps": [5, 6, 30]}]
    said = left_out_sentence(study.answers)
    assert "3 of seed 1" in said
    assert "first at step 5" in said
    shown = Console(width=200)
    with shown.capture() as terminal:
        shown.print(answers_view(study.answers))
    assert said in terminal.get()
    assert said in render(study.answers, study.plan())
    found = inspect(trunk.key, home)
    assert found.left_out == (5, 6, 30)
    assert found.tokens_seen == 27 * 4 * 64
    assert isinstance(trunk.spec, TrainSpec)
    corpus = Corpus(home / "corpora" / trunk.spec.corpus)
    assert found.ledger == token_ledger(trunk.spec, corpus, 30, {4, 5, 29})
    (run,) = seen_by_trunks(study.plan())
    assert (run.job, run.seed, run.steps) == (trunk.key, 1, tuple(range(1, 31)))
    assert {one.question: one for one in run.questions} == {
        one.question: one for one in found.ledger
    }
    for one, counts in zip(run.questions, run.counts, strict=True):
        assert sum(counts) == sum(dose.seen for dose in one.doses)
        assert counts[4] == counts[5] == counts[29] == 0
    assert "The token ledger" in render(study.answers, study.plan(), (run,))
