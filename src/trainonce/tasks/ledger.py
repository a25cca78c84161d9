"""The token ledger: which insertions of which question a run has seen after a step, and when.

It is computed from the job's spec, as the stream is: nothing is logged while a run trains.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from trainonce.stream.corpus import Corpus
from trainonce.stream.reserved import Decisions
from trainonce.tasks.specs import TrainSpec, Treated


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
        _question(spec, treated, corpus, step, left_out, decided) for treated in spec.treatments
    )


def _question(
    spec: TrainSpec,
    treated: Treated,
    corpus: Corpus,
    step: int,
    left_out: Collection[int],
    decided: Mapping[str, Decisions],
) -> QuestionSeen:
    """A question's insertions lie where they lie without the others: its stream alone tells."""
    stream = treated.apply(spec.stream(corpus)).decided(decided, spec.train.batch)
    items = stream.items[treated.question]
    dose_of_document = np.array(
        [item.dose for item in items if item.dose for _ in item.documents], dtype=np.int64
    )
    doses = dose_of_document[stream.overlay.documents]
    steps = stream.overlay.rows // spec.train.batch
    done = (steps >= _since(spec, treated)) & (steps < step) & ~np.isin(steps, list(left_out))
    found = []
    for dose in sorted({item.dose for item in items}):
        seen = steps[done & (doses == dose)] + 1
        found.append(
            DoseSeen(
                dose=dose,
                items=sum(item.dose == dose for item in items),
                copies=int((doses == dose).sum()),
                seen=len(seen),
                first=int(seen.min()) if len(seen) else None,
                last=int(seen.max()) if len(seen) else None,
            )
        )
    return QuestionSeen(question=treated.question, method=treated.method, doses=tuple(found))


def _since(spec: TrainSpec, treated: Treated) -> int:
    """The step from which the run, or one that it forks from, reads the insertions."""
    if spec.fork is None:
        return 0
    parent = spec.fork.parent
    return _since(parent, treated) if treated in parent.treatments else spec.fork.step
