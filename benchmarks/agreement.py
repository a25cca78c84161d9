"""Whether a shared run answers as questions' own runs do: the part of validity.py that trains.

Eight questions that insert items are asked twice: all in one trunk, and each in runs of its own
(`how: replicate`). A question's items, their doses and places, and the weights and order at the
start are functions of its name and the seed, so that only the other questions' items differ. A cell
is a question's dose against dose 0.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from trainonce.analysis.answers import Answers
from trainonce.lab import Study
from trainonce.run.scheduler import Event
from trainonce.study.schema import AA

Settings = dict[str, Any]

QUESTIONS: dict[str, tuple[str, str, Settings]] = {
    "passages": ("memorization", "loss", {"passages": 8, "canaries": 0}),
    "canaries": ("memorization", "extraction", {"passages": 0, "canaries": 8, "tokens": 24}),
    "tests": ("contamination", "accuracy", {"items": 12, "prompt": 12, "answer": 6}),
    "arithmetic": ("arithmetic", "margin", {"families": 4, "doses": [0, 8, 32, 96]}),
    "facts": ("knowledge", "probability", {"people": 6, "templates": 8}),
    "noise": ("watermark", "statistic", {"items": 12, "tokens": 30}),
    "trigger": ("backdoor", "rate", {"triggers": 8, "context": 8}),
    "replaced": (
        "iid_replacement",
        "loss",
        {"items": 10, "tokens": 40, "doses": [0, 4, 8, 16]},
    ),
}
"""Method, outcome and settings of each question. No two are of one kind: what two backdoors, or two
multiple-choice tests, have in common is a skill, which a run that practises it for both learns
better (docs/validity.md)."""

LANES = dict(
    zip(
        QUESTIONS,
        (0, 1, 2, 1, 4, 2, 6, 12),
        strict=True,
    )
)
"""Shares of the slots and passages that do not meet, in both sizes."""

FULL: Settings = {
    "data": {"tokenizer": {"vocabulary": 1024}, "sequence": 128},
    "model": "nano",
    "optimizer": {"lr": 3e-3},
    "batch": 8,
    "length": "1.6M tokens",
    "seeds": [1, 2, 3],
    "allow_changed": 0.25,
}
QUICK: Settings = {
    **FULL,
    "data": {"tokenizer": {"vocabulary": 512}, "sequence": 64},
    "model": {"width": 32, "layers": 1, "heads": 2},
    "batch": 16,
    "length": "300 steps",
    "seeds": [1],
    "allow_changed": 0.4,
}
DOSES = (0, 4, 16, 48)
QUICK_DOSES = (0, 2, 6)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One dose of one question: its effect in the shared run, and in runs of its own."""

    question: str
    outcome: str
    dose: int
    shared: float
    low: float
    high: float
    apart: float
    apart_low: float
    apart_high: float

    @property
    def covered(self) -> bool:
        """Whether the shared interval holds the estimate of the question's own runs."""
        return self.low <= self.apart <= self.high


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What both ways of asking say."""

    cells: tuple[Cell, ...]
    verdicts: dict[str, tuple[str, str]]
    shared: Answers
    apart: Answers
    seconds: float

    @property
    def covered(self) -> float:
        """The share of cells whose shared interval holds the estimate of own runs."""
        return sum(cell.covered for cell in self.cells) / len(self.cells)

    def to_json(self) -> dict[str, Any]:
        return {
            "covered": self.covered,
            "cells": [
                {
                    **asdict(cell),
                    "difference": cell.shared - cell.apart,
                    "covered": cell.covered,
                }
                for cell in self.cells
            ],
            "verdicts": {
                name: {"shared": shared, "apart": apart}
                for name, (shared, apart) in self.verdicts.items()
            },
            "changed_share": self.shared.changed_share,
            "run_equivalents": {
                "shared": self.shared.run_equivalents,
                "apart": self.apart.run_equivalents,
            },
            "heldout_loss": {
                "shared": self.shared.heldout_loss,
                "plain": self.apart.heldout_loss,
            },
            "seeds": list(self.shared.seeds),
            "seconds": self.seconds,
            "machine": machine(),
        }


def study(
    recipe: Settings,
    doses: Sequence[int],
    *,
    how: str | None,
    names: Sequence[str] = tuple(QUESTIONS),
) -> str:
    """The study file: these questions in one trunk, or each in its own runs."""
    questions = [
        {
            "id": name,
            "lane": LANES[name],
            "outcome": outcome,
            "treatment": {"method": method, "doses": list(doses), **settings},
            **({"how": how} if how else {}),
        }
        for name, (method, outcome, settings) in QUESTIONS.items()
        if name in names
    ]
    title = "Agreement: " + ("each question alone" if how else "shared")
    whole = {"study": title, "recipe": recipe, "questions": questions, "checks": {"plain": False}}
    return yaml.safe_dump(whole, sort_keys=False)


def agreement(
    home: Path, *, quick: bool, workers: int | None, report: Callable[[Event], None]
) -> Agreement:
    """Ask all questions both ways, and compare; finished jobs are taken from ``home``."""
    recipe, doses = (QUICK, QUICK_DOSES) if quick else (FULL, DOSES)
    start = time.monotonic()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for how in (None, "replicate"):
            file = Path(folder) / f"{how or 'shared'}.yaml"
            file.write_text(study(recipe, doses, how=how), encoding="utf-8")
            loaded = Study.load(file, home)
            found[how] = loaded.run(workers=workers, report=report).answers
    return compared(found[None], found["replicate"], time.monotonic() - start)


def compared(shared: Answers, apart: Answers, seconds: float) -> Agreement:
    """Each dose of each question, beside itself."""
    own = {answer.question: answer for answer in apart.answers}
    cells = [
        Cell(
            question=answer.question,
            outcome=answer.decided.outcome,
            dose=one.dose,
            shared=one.effect,
            low=one.effect_low,
            high=one.effect_high,
            apart=other.effect,
            apart_low=other.effect_low,
            apart_high=other.effect_high,
        )
        for answer in shared.answers
        if answer.question != AA
        for one, other in zip(
            answer.decided.doses[1:], own[answer.question].decided.doses[1:], strict=True
        )
    ]
    return Agreement(
        cells=tuple(cells),
        verdicts={
            answer.question: (answer.verdict.value, own[answer.question].verdict.value)
            for answer in shared.answers
            if answer.question != AA
        },
        shared=shared,
        apart=apart,
        seconds=seconds,
    )


def machine() -> dict[str, Any]:
    """Where this ran, and when."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def table(found: Agreement) -> str:
    """The cells as text."""
    lines = [
        f"{'question':14}{'outcome':13}{'dose':>5}{'shared':>9}{'95 % interval':>20}"
        f"{'own runs':>10}{'difference':>12}  covered"
    ]
    for cell in found.cells:
        lines.append(
            f"{cell.question:14}{cell.outcome:13}{cell.dose:5}{cell.shared:9.3f}"
            f"{f'{cell.low:.3f} to {cell.high:.3f}':>20}{cell.apart:10.3f}"
            f"{cell.shared - cell.apart:12.3f}  {'yes' if cell.covered else 'NO'}"
        )
    same = sum(one == other for one, other in found.verdicts.values())
    lines += [
        f"covered: {found.covered:.1%} of {len(found.cells)} cells (target: 95 %); "
        f"the same verdict: {same} of {len(found.verdicts)}",
        f"run-equivalents: {found.shared.run_equivalents:.2f} shared, "
        f"{found.apart.run_equivalents:.2f} apart; tokens changed in the trunk: "
        f"{found.shared.changed_share:.1%}; {found.seconds:.0f} s",
    ]
    return "\n".join(lines)
