"""Tiny studies whose losing arms stop early, and the finished runs that this is learned from."""

from __future__ import annotations

from pathlib import Path

import trainonce

HEAD = """\
study: {title}
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 16, layers: 1, heads: 2}}
  optimizer: {{lr: 1e-2}}
  batch: 4
  length: 64 steps
  seeds: {seeds}
  allow_changed: 30%
checks: {{plain: false}}
questions:
"""
RATES = "[1e-3, 2e-3, 3e-3, 4e-3, 6e-3, 8e-3, 1.5e-2, 2e-2, 3e-2]"


def study(
    folder: Path, corpus: Path, home: Path, *questions: str, seeds: str = "[1, 2]"
) -> trainonce.Study:
    """A study of ``questions``, each in one line of YAML."""
    file = folder / "study.yaml"
    lines = "".join(f"  - {question}\n" for question in questions)
    file.write_text(HEAD.format(title="Rates", corpus=corpus, seeds=seeds) + lines)
    return trainonce.Study.load(file, home=home)


def sweep(folder: Path, corpus: Path, home: Path) -> trainonce.Study:
    """Ten finished recipes, the base run among them."""
    rates = f"{{id: sweep, treatment: {{change: {{optimizer.lr: {RATES}}}}}}}"
    return study(folder, corpus, home, rates, seeds="[1]").run()
