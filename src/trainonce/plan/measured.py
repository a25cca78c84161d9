"""Which held-out losses are measured of the runs and averages of a plan."""

from __future__ import annotations

from trainonce.plan import average
from trainonce.plan.jobs import Averaged, Line, Prices, heldout
from trainonce.plan.lines import Design
from trainonce.plan.plan import Job, Role
from trainonce.stream.corpus import Corpus
from trainonce.study.questions import RunQuestion


def heldout_losses(
    design: Design, role: Role, line: Line | Averaged, corpus: Corpus, prices: Prices
) -> list[Job]:
    """The held-out losses that are wanted of a run or an average of this role."""
    if role in (Role.OWN, Role.SMALL):
        return []
    if role is Role.PLAIN:
        return [heldout(line, corpus, Role.CHECK, (), prices)]
    served = set(line.questions)
    asked = [q for q in design.study.questions if q.id in served and isinstance(q, RunQuestion)]
    if role is not Role.TRUNK:
        shown = role if role in (Role.REAL, Role.TUNING) else Role.ANSWER
        return [
            heldout(line, corpus, shown, (q.id,), prices, design.part(q))
            for q in asked
            if role is not Role.EXPERT or average.is_arm(q, line.spec.trained.mixture)
        ]
    whole = heldout(line, corpus, Role.HELDOUT, line.questions, prices)
    on_parts = [
        heldout(line, corpus, Role.ANSWER, (q.id,), prices, part)
        for q in asked
        if (part := design.part(q))
    ]
    return [whole, *on_parts]
