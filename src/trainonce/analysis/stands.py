"""Answers after what tested them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from trainonce.analysis.answers import Answer, Check
from trainonce.analysis.dependence.results import Dependence
from trainonce.analysis.refutations import (
    Claimed,
    aa,
    dependent,
    failed,
    item_groups,
    left_out_seed,
    refutations_of_items,
)
from trainonce.analysis.samples import sample_of
from trainonce.analysis.verdicts import standing
from trainonce.methods.registry import Outcome
from trainonce.plan.plan import Plan
from trainonce.sites import Unit
from trainonce.stream.keys import generator
from trainonce.study.schema import AA


def after_tests(
    plan: Plan, answers: Sequence[Answer], rows: pl.DataFrame, dependence: Dependence | None
) -> tuple[Answer, ...]:
    """Answers with what tested them, and the verdicts that stand it; the A/A as it is."""
    null = next((one for one in answers if one.question == AA), None)
    outcomes = {planned.question.id: planned.question.outcome for planned in plan.questions}
    by_question = rows.partition_by("question", as_dict=True)
    found = []
    for one in answers:
        checks = list(one.checks)
        if one.question != AA and one.unit is Unit.ITEM:
            own = by_question[one.question,].filter(pl.col("outcome") == one.decided.outcome)
            shared = [aa(null)] if null else []
            apart = dependent(one.question, dependence) if dependence else None
            checks += [
                *shared,
                *_refutations(one, own, outcomes[one.question]),
                *([apart] if apart else []),
            ]
        elif one.unit is Unit.RUN:
            points = one.decided.doses[-1].points
            whole = len(points) == len(plan.seeds)
            seed = left_out_seed(Claimed.of(one), plan.seeds, points) if whole else None
            checks += [seed] if seed else []
        stands, reason = standing(one.verdict, list(failed(checks)))
        found.append(replace(one, checks=tuple(checks), verdict=stands, reason=reason))
    return tuple(found)


def _refutations(answer: Answer, rows: pl.DataFrame, outcome: Outcome) -> tuple[Check, ...]:
    ordered = rows.sort("seed", "kind", "unit")
    seeds = ordered["seed"].unique().sort().to_list()
    return refutations_of_items(
        Claimed.of(answer),
        sample_of(ordered, outcome),
        item_groups(ordered),
        {seed: (ordered["seed"] == seed).to_numpy() for seed in seeds},
        generator(0, answer.question, "refutations"),
    )
