"""The token ledger: which insertions of which question a run has seen after a step, and when.

It is computed from the job's spec, as the stream is: nothing is logged while a run trains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from trainonce.stream.corpus import Corpus
from trainonce.stream.reserved import Decisions
from trainonce.tasks.specs.runs import TrainSpec, Treated


@dataclass(frozen=True, kw_only=True)
class DoseSeen:
    """The items of one dose.

    Attributes:
        dose: copies of each item in the whole run.
        items: how many items got this dose.
        copies: of all of them in the whole run.
        seen: copies that an update has seen so far.
        first: the step, counted from 1, whose update saw the first of these, None before.
        last: the same of the last.
    """

    dose: int
    items: int
    copies: int
    seen: int
    first: int | None
    last: int | None


@dataclass(frozen=True, kw_only=True)
class QuestionSeen:
    """The insertions of one question, by dose."""

    question: str
    method: str
    doses: tuple[DoseSeen, ...]


def token_ledger(
    spec: TrainSpec,
    corpus: Corpus,
    step: int,
    left_out: Collection[int] = (),
    decided: Mapping[str, Decisions] = MappingProxyType({}),
) -> tuple[QuestionSeen, ...]:
    """What the run of ``spec`` has seen of each question.

    Args:
        spec: the run.
        corpus: what it reads.
        step: steps done.
        left_out: steps, counted from 0, whose update was left out: nothing was seen there.
        decided: what controllers decided in the run up to there, by question.
    """
    return tuple(
        seen(treated, copies(spec, treated, corpus, left_out, decided), step)
        for treated in spec.treatments
    )


@dataclass(frozen=True)
class Copies:
    """The copies of one question's items that the whole of a run holds, ``n`` of them.

    Attributes:
        items: how many items got each dose, doses ascending.
        doses: the dose of the item of each copy, ``(n,)``.
        steps: the step, counted from 0, that reads it, ``(n,)``.
        trained: whether that step's update saw it, ``(n,)``: not where the update was left out,
            nor before the step from which the run reads this question's insertions.
    """

    items: Mapping[int, int]
    doses: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    trained: npt.NDArray[np.bool_]


def copies(
    spec: TrainSpec,
    treated: Treated,
    corpus: Corpus,
    left_out: Collection[int] = (),
    decided: Mapping[str, Decisions] = MappingProxyType({}),
) -> Copies:
    """When the run of ``spec`` reads the copies of a question; arguments as of `token_ledger`.

    A question's insertions lie where they lie without the others: its stream alone tells.
    """
    stream = treated.apply(spec.stream(corpus)).decided(decided, spec.train.batch)
    items = stream.items[treated.question]
    dose_of_document = np.array(
        [item.dose for item in items if item.dose for _ in item.documents], dtype=np.int64
    )
    steps = stream.overlay.rows // spec.train.batch
    return Copies(
        items=dict(sorted(Counter(item.dose for item in items).items())),
        doses=dose_of_document[stream.overlay.documents],
        steps=steps,
        trained=(steps >= _since(spec, treated)) & ~np.isin(steps, list(left_out)),
    )


def seen(question: Treated, own: Copies, step: int) -> QuestionSeen:
    """What a run has seen of a question after ``step`` steps."""
    found = []
    for dose, items in own.items.items():
        of_dose = own.doses == dose
        steps = own.steps[own.trained & (own.steps < step) & of_dose] + 1
        found.append(
            DoseSeen(
                dose=dose,
                items=items,
                copies=int(of_dose.sum()),
                seen=len(steps),
                first=int(steps.min()) if len(steps) else None,
                last=int(steps.max()) if len(steps) else None,
            )
        )
    return QuestionSeen(question=question.question, method=question.method, doses=tuple(found))


def _since(spec: TrainSpec, treated: Treated) -> int:
    """The step from which the run, or one that it forks from, reads the insertions."""
    if spec.fork is None:
        return 0
    parent = spec.fork.parent
    return _since(parent, treated) if treated in parent.treatments else spec.fork.step
