"""What trunks saw of each question, and when: the token ledger of a whole study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache
from trainonce.stream.corpora import CorpusError
from trainonce.stream.corpus import Corpus
from trainonce.tasks.ledger import QuestionSeen, copies, seen
from trainonce.tasks.specs.runs import TrainSpec

STRETCHES = 50
"""Equal parts of a run in which copies are counted."""


@dataclass(frozen=True, kw_only=True)
class RunSeen:
    """What one trunk saw of the questions that share it.

    Attributes:
        job: its key.
        seed: its seed.
        steps: the last step of each stretch, counted from 1.
        questions: each with what was seen of it by dose, in the order of the study.
        counts: for each of these questions the copies that were seen in each stretch.
    """

    job: str
    seed: int
    steps: tuple[int, ...]
    questions: tuple[QuestionSeen, ...]
    counts: tuple[tuple[int, ...], ...]


def seen_by_trunks(plan: Plan) -> tuple[RunSeen, ...]:
    """What each trunk of a finished plan saw, computed from its spec as the stream is.

    A trunk whose corpus is not there any more is left out, and so is one without insertions.
    """
    cache = JobCache(plan.home)
    order = {planned.question.id: place for place, planned in enumerate(plan.questions)}
    found = []
    for job in plan.jobs:
        if not isinstance(job.spec, TrainSpec) or job.role is not Role.TRUNK:
            continue
        if not job.spec.treatments or not cache.done(job.key):
            continue
        try:
            found.append(_seen(job.spec, cache, order))
        except (CorpusError, OSError):
            continue
    return tuple(found)


def _seen(spec: TrainSpec, cache: JobCache, order: Mapping[str, int]) -> RunSeen:
    corpus = Corpus(cache.home / "corpora" / spec.corpus)
    left_out = [step - 1 for step in cache.result(spec.key).get("left_out", ())]
    decided, steps = cache.decided(spec), spec.train.steps
    edges = np.linspace(0, steps, min(STRETCHES, steps) + 1).round().astype(np.int64)
    questions, counts = [], []
    for treated in sorted(spec.treatments, key=lambda one: order.get(one.question, len(order))):
        own = copies(spec, treated, corpus, left_out, decided)
        questions.append(seen(treated, own, steps))
        # the last edge of a histogram belongs to it, and no copy is read at step `steps`
        counted, _ = np.histogram(own.steps[own.trained], edges)
        counts.append(tuple(map(int, counted)))
    return RunSeen(
        job=spec.key,
        seed=spec.seed,
        steps=tuple(map(int, edges[1:])),
        questions=tuple(questions),
        counts=tuple(counts),
    )
