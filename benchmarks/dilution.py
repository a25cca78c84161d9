"""Whether items are memorized less in a larger corpus, and less where copies are paraphrased.

python benchmarks/dilution.py [STUDY] [--times 1 2 5] [--workers N] [--json]

A study's items, their doses and their windows do not depend on the length of its run, so that the
same study at twice and five times the length is Hubble's dilution (arXiv 2510.19811): as many
copies of the same items among more text, in a run whose schedule is stretched with it. Each item is
compared with itself. Jobs are kept in the home folder; what was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from trainonce.analysis.answers import Answer
from trainonce.analysis.effects import Estimate, difference, effect
from trainonce.analysis.samples import sample_of
from trainonce.lab import Study
from trainonce.methods.registry import Outcome
from trainonce.plan.jobs import Role
from trainonce.run.cache import JobCache
from trainonce.run.scheduler import Event
from trainonce.stream.home import home
from trainonce.study.schema import AA

STUDY = Path(__file__).parent.parent / "examples" / "hubble-diluted.yaml"
LENGTH = re.compile(r"^(  length: *)([\d.]+)(M tokens| steps)", re.MULTILINE)
WORDINGS = ("paraphrased", "verbatim")


@dataclass(frozen=True, kw_only=True)
class Dose:
    """The effect of a dose against dose 0 in a corpus so many times as large.

    ``change`` is the effect minus that of the same items in the smallest corpus.
    """

    question: str
    outcome: str
    times: int
    dose: int
    effect: Estimate
    change: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The effect of a dose on facts that are paraphrased, minus that on facts stated verbatim."""

    question: str
    outcome: str
    times: int
    dose: int
    paraphrased: Estimate
    verbatim: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well a score tells members of the training data from others."""

    question: str
    score: str
    times: int
    auc: Estimate


@dataclass(frozen=True, kw_only=True)
class Found:
    """All of it."""

    doses: tuple[Dose, ...]
    wordings: tuple[Wording, ...]
    scores: tuple[Score, ...]
    changed: dict[int, float]


def longer(text: str, times: int) -> str:
    """The study file ``text`` with a run so many times as long.

    Raises:
        ValueError: when its length is not in millions of tokens or steps.
    """
    found, lengths = LENGTH.subn(lambda m: f"{m[1]}{float(m[2]) * times:g}{m[3]}", text)
    if lengths != 1:
        raise ValueError("the study must have one `length: NM tokens` or `length: N steps`")
    return found


def run(file: Path, times: int, workers: int | None) -> Study:
    """The study at so many times its length, answered."""

    def tell(event: Event) -> None:
        if event.kind in ("done", "failed"):
            print(f"times {times}, {event.kind}: {event.job.reason}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / file.name
        long.write_text(longer(file.read_text(encoding="utf-8"), times), encoding="utf-8")
        study = Study.load(long, home())
        study.plan()
    return study.run(workers=workers, report=tell)


def measured(study: Study, question: str, outcome: str) -> pl.DataFrame:
    """What was measured of a question's items at the end of the trunk."""
    cache = JobCache(study.home)
    keys = [
        job.key
        for job in study.plan().jobs
        if job.role is Role.ANSWER and job.questions == (question,)
    ]
    rows = pl.concat([cache.rows(key) for key in keys])
    return rows.filter(pl.col("outcome") == outcome)


def effects(
    rows: pl.DataFrame, first: pl.DataFrame, outcome: Outcome, times: int, question: str
) -> list[Dose]:
    """The effect of each dose, and how it differs from that on the same items of ``first``."""
    own = sample_of(rows, outcome)
    joined = rows.join(first.select("seed", "unit", before="value"), on=["seed", "unit"])
    if joined.height != rows.height:
        raise ValueError(f"the items of {question!r} are not the same at another length")
    unbounded = Outcome(name=outcome.name, says="", direction=0, smallest=1.0, spread=1.0)
    moved = sample_of(joined.with_columns(value=pl.col("value") - pl.col("before")), unbounded)
    return [
        Dose(
            question=question,
            outcome=outcome.name,
            times=times,
            dose=int(dose),
            effect=effect(own.of(dose), own.of(0)),
            change=None if rows is first else effect(moved.of(dose), moved.of(0)),
        )
        for dose in sorted({*own.doses.tolist()} - {0})
    ]


def wordings(rows: pl.DataFrame, outcome: Outcome, times: int, question: str) -> list[Wording]:
    """Paraphrased against verbatim, where the question's kinds of items are worded in both ways."""
    worded = {word: rows.filter(pl.col("kind").str.ends_with(word)) for word in WORDINGS}
    if any(part.is_empty() for part in worded.values()):
        return []
    samples = {word: sample_of(part, outcome) for word, part in worded.items()}
    found = []
    for dose in sorted({*rows["dose"].to_list()} - {0}):
        new, same = (effect(samples[word].of(dose), samples[word].of(0)) for word in WORDINGS)
        found.append(
            Wording(
                question=question,
                outcome=outcome.name,
                times=times,
                dose=dose,
                paraphrased=new,
                verbatim=same,
                difference=difference(new, same),
            )
        )
    return found


def scores(answer: Answer, times: int) -> list[Score]:
    """How well each score of the question's probe tells members from others."""
    return [
        Score(
            question=answer.question,
            score=one.outcome,
            times=times,
            auc=Estimate(one.auc, one.low, one.high),
        )
        for one in answer.detections
    ]


def compare(file: Path, times: list[int], workers: int | None) -> Found:
    """Run the study at each length, and compare."""
    studies = {one: run(file, one, workers) for one in sorted(times)}
    first = next(iter(studies.values()))
    doses: list[Dose] = []
    worded: list[Wording] = []
    told: list[Score] = []
    for one, study in studies.items():
        assert study.definition is not None
        outcomes = {question.id: question.outcome for question in study.definition.questions}
        for answer in study.answers.answers:
            if answer.question == AA:
                continue
            outcome = outcomes[answer.question]
            begun = measured(first, answer.question, outcome.name)
            rows = begun if study is first else measured(study, answer.question, outcome.name)
            doses += effects(rows, begun, outcome, one, answer.question)
            worded += wordings(rows, outcome, one, answer.question)
            told += scores(answer, one)
    changed = {one: study.plan().changed_share for one, study in studies.items()}
    return Found(doses=tuple(doses), wordings=tuple(worded), scores=tuple(told), changed=changed)


def said(estimate: Estimate | None) -> str:
    """An estimate as text."""
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def table(found: Found) -> str:
    """All of it as text."""
    lines = [
        "tokens changed: " + ", ".join(f"{n} times {part:.1%}" for n, part in found.changed.items())
    ]
    for one in sorted(found.doses, key=lambda one: (one.question, one.dose, one.times)):
        lines.append(
            f"{one.question:12} {one.outcome:12} dose {one.dose:3} times {one.times}: "
            f"{said(one.effect):26} change {said(one.change)}"
        )
    for word in found.wordings:
        lines.append(
            f"{word.question:12} dose {word.dose:3} times {word.times}: paraphrased "
            f"{said(word.paraphrased)}, verbatim {said(word.verbatim)}, "
            f"difference {said(word.difference)}"
        )
    lines += [
        f"{one.question:12} {one.score:8} times {one.times}: area under the ROC {said(one.auc)}"
        for one in found.scores
    ]
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("study", nargs="?", type=Path, default=STUDY)
    options.add_argument("--times", type=int, nargs="+", default=[1, 2, 5])
    options.add_argument("--workers", type=int, help="processes side by side")
    options.add_argument("--json", action="store_true", help="one document on standard output")
    given = options.parse_args()
    found = compare(given.study, given.times, given.workers)
    document: dict[str, Any] = asdict(found)
    print(json.dumps(document, indent=1) if given.json else table(found))


if __name__ == "__main__":
    main()
