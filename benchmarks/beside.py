"""Which other question moves the answer of one: a part of validity.py that trains.

One question of the agreement is asked beside each of the others in turn, in a trunk of these two,
and in runs of its own. Its items, their doses and places are the same each time, so that each item
is compared with itself. Then the dependence test is asked the same of the trunk that all share
(`trainonce check`), which costs a part of it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from agreement import DOSES, FULL, QUESTIONS, QUICK, QUICK_DOSES, machine, study

from trainonce.analysis.dependence.results import Dependence
from trainonce.analysis.effects import Estimate, effect
from trainonce.analysis.pairs import measured, paired
from trainonce.analysis.samples import sample_of
from trainonce.lab import Study
from trainonce.methods.registry import Outcome
from trainonce.plan.dependence import Asked
from trainonce.run.scheduler import Event

OWN, ALL = "nothing else", "all others"


@dataclass(frozen=True, kw_only=True)
class Company:
    """What a question's highest dose does beside others.

    Attributes:
        others: what shares its trunk.
        effect: of the highest dose against dose 0.
        change: that minus the same items' effect in runs of their own; None for these.
        changed: share of the trunk's tokens that were changed.
    """

    others: str
    effect: Estimate
    change: Estimate | None
    changed: float


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A question in company, and what the dependence test says of the trunk that all share."""

    question: str
    companies: tuple[Company, ...]
    tested: Dependence
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "companies": [asdict(one) for one in self.companies],
            "dependence": self.tested.to_json(),
            "seconds": self.seconds,
            "machine": machine(),
        }


def beside(
    name: str,
    home: Path,
    *,
    wanted: Asked,
    quick: bool,
    workers: int | None,
    report: Callable[[Event], None],
) -> Beside:
    """Ask ``name`` in every company; finished jobs are taken from ``home``.

    Args:
        name: a question of the agreement.
        home: where jobs are kept.
        wanted: the dependence test.
        quick: tiny runs at one seed.
        workers: processes side by side.
        report: what is told of jobs.
    """
    begun = time.monotonic()
    recipe, doses = (QUICK, QUICK_DOSES) if quick else (FULL, DOSES)
    with tempfile.TemporaryDirectory() as folder:

        def asked(*names: str) -> Study:
            file = Path(folder) / f"{'-'.join(names)}.yaml"
            file.write_text(study(recipe, doses, how=None, names=names), encoding="utf-8")
            loaded = Study.load(file, home)
            loaded.run(workers=workers, report=report)
            return loaded

        alone = asked(name)
        everyone = asked(*QUESTIONS)
        first = measured(alone.plan(), name, _outcome(alone, name))
        companies = [_company(OWN, alone, name, first)]
        companies += [
            _company(other, asked(name, other), name, first) for other in QUESTIONS if other != name
        ]
        companies.append(_company(ALL, everyone, name, first))
        tested = everyone.checked(wanted, workers=workers, report=report)
    return Beside(
        question=name,
        companies=tuple(companies),
        tested=tested,
        seconds=time.monotonic() - begun,
    )


def _company(others: str, study: Study, name: str, first: pl.DataFrame) -> Company:
    outcome, plan = _outcome(study, name), study.plan()
    rows = measured(plan, name, outcome)
    own = sample_of(rows, outcome)
    top = int(own.doses.max())
    return Company(
        others=others,
        effect=effect(own.of(top), own.of(0)),
        change=None if others == OWN else paired(rows, first, outcome)[top],
        changed=plan.changed_share,
    )


def _outcome(study: Study, name: str) -> Outcome:
    assert study.definition is not None
    return next(one.outcome for one in study.definition.questions if one.id == name)


def table(found: Beside) -> str:
    """What was found as text."""
    return "\n".join(_lines(found))


def _lines(found: Beside) -> Iterator[str]:
    yield f"the highest dose of {found.question} against dose 0, by what shares its trunk"
    for one in found.companies:
        change = "" if one.change is None else f"  change {_said(one.change)}"
        yield f"{one.others:14} {_said(one.effect)}{change}  {one.changed:.1%} of tokens changed"
    tested = found.tested
    yield (
        f"dependence test, {tested.layout}, steps {tested.start} to {tested.end} of "
        f"{tested.steps}, {tested.runs} forks a seed, {tested.run_equivalents:.2f} run-equivalents:"
    )
    for cell in (*tested.cells, *tested.joint):
        if cell.measured == found.question and cell.decision is not None:
            level, answer = cell.change.level, cell.change.answer
            yield (
                f"{cell.present:14} level {level.value:.3f} ({level.low:.3f} to {level.high:.3f}), "
                f"answer {answer.value:.3f} ({answer.low:.3f} to {answer.high:.3f}), "
                f"corrected p {cell.p_adjusted:.3g}: {cell.decision.value}"
            )
    yield f"{found.seconds:.0f} s"


def _said(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
