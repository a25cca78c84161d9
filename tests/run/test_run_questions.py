"""Questions whose unit is a run, from the study file to the answers, by real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainonce
from trainonce.analysis.answers import Answer
from trainonce.plan.plan import Role
from trainonce.report.html import render
from trainonce.run.cache import JobCache
from trainonce.run.execute import CHECKPOINT_SECONDS
from trainonce.stream.home import VARIABLE

STUDY = """\
study: Tiny runs
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 16, layers: 1, heads: 2}}
  optimizer: {{lr: 1e-2}}
  schedule: {{name: wsd, warmup: 10%, decay: 25%}}
  clip: 1e6
  batch: 4
  length: 80 steps
  seeds: [1, 2, 3]
  allow_changed: 30%
questions:
  - {{id: rate, treatment: {{change: {{optimizer.lr: [5e-3, 1e-4]}}}}}}
  - {{id: same, treatment: {{change: {{clip: 2e6}}}}}}
  - {{id: late, at: 50%, treatment: {{change: {{optimizer.lr: 1e-9}}}}}}
  - {{id: lengths, expect: increase, treatment: {{lengths: [40%, 80%]}}}}
  - {{id: memory, outcome: loss, window: [50%, 100%], how: fork, treatment:
      {{method: memorization, doses: [0, 8], passages: 2, canaries: 3, tokens: 16}}}}
checks: {{plain: false}}
"""


def write_study(folder: Path, corpus: Path) -> Path:
    file = folder / "study.yaml"
    file.write_text(STUDY.format(corpus=corpus))
    return file


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory, documents_file: Path) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), documents_file)


@pytest.fixture(scope="module")
def finished(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> trainonce.Study:
    return trainonce.Study.load(study_file, home=tmp_path_factory.mktemp("whole")).run()


@pytest.fixture(scope="module")
def answers(finished: trainonce.Study) -> dict[str, Answer]:
    return {answer.question: answer for answer in finished.answers.answers}


def test_a_dump(answers, finished) -> None:
    for a in answers.values():
        print(a.question, a.verdict, a.decided, a.p_adjusted, a.units_needed, a.run_equivalents)
    from rich.console import Console
    from trainonce.report.terminal import plan_view, answers_view
    Console(width=150).print(plan_view(finished.plan(), set()))
    Console(width=150).print(answers_view(finished.answers))
