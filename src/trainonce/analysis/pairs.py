"""The same items in two studies of one question: each is compared with itself."""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl

from trainonce.analysis.effects import Estimate, effect
from trainonce.analysis.samples import sample_of
from trainonce.methods.registry import Outcome
from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache

_SAME = ("seed", "kind", "unit", "dose")


def measured(plan: Plan, question: str, outcome: Outcome) -> pl.DataFrame:
    """What was measured of a question's items at the end of the runs that answer it."""
    cache = JobCache(plan.home)
    keys = [job.key for job in plan.jobs if job.role is Role.ANSWER and question in job.questions]
    rows = pl.concat([cache.rows(key) for key in keys])
    return rows.filter((pl.col("question") == question) & (pl.col("outcome") == outcome.name))


def paired(rows: pl.DataFrame, first: pl.DataFrame, outcome: Outcome) -> dict[int, Estimate]:
    """By dose, its effect in one study minus that in the first, with a 95 % interval.

    That is the effect of the dose on how far an item is from itself in the first study. What items
    differ in from the start falls out of it, so that the interval is narrower than that of two
    effects on items of their own. How far items moved is taken to have no bounds.

    Args:
        rows: measurements of a question's items, of one outcome.
        first: those of the same items in the first study.
        outcome: which.

    Raises:
        ValueError: when items, or their doses, are not the same in both.
    """
    joined = rows.join(first.select(*_SAME, before="value"), on=_SAME)
    if not rows.height == first.height == joined.height:
        raise ValueError("the items and their doses are not the same in both studies")
    moved = joined.with_columns(value=pl.col("value") - pl.col("before"))
    sample = replace(sample_of(moved, outcome), low=-math.inf, high=math.inf)
    doses = sorted({*sample.doses.tolist()} - {0})
    return {dose: effect(sample.of(dose), sample.of(0)) for dose in doses}
