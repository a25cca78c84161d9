"""From the measurements of a plan to its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from trainonce.analysis import ended
from trainonce.analysis.answers import Answer, Answers, Check, OutcomeAnswer
from trainonce.analysis.averages import average_checks
from trainonce.analysis.beside import changes, detections
from trainonce.analysis.by_part import curves_by_part
from trainonce.analysis.dependence.results import Dependence
from trainonce.analysis.effects import Estimate, Floats, holm
from trainonce.analysis.emulated import true_tuning
from trainonce.analysis.items import groups, measured, outcome_of
from trainonce.analysis.ladders import held_out, predicted
from trainonce.analysis.pilots import item_spread
from trainonce.analysis.runs import Arm, compared, spread
from trainonce.analysis.stands import after_tests
from trainonce.analysis.training import (
    curves,
    hardware,
    heldout_blocks,
    heldout_change,
    left_out,
    times,
)
from trainonce.analysis.verdicts import (
    FEWEST,
    FEWEST_RUNS,
    Verdict,
    verdict,
    verdict_of_diverged,
    verdict_of_stopped,
)
from trainonce.methods.registry import Outcome, probe_of
from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.plan.planned import PlannedLadder, PlannedQuestion
from trainonce.plan.power import pairs_needed
from trainonce.plan.sensitivity import items_needed
from trainonce.run.cache import COLUMNS, JobCache
from trainonce.run.fates import spent
from trainonce.run.scheduler import promised_seconds, spent_seconds
from trainonce.study.questions import ItemQuestion, RunQuestion, TrialQuestion
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs.measurements import MeasureSpec


def answer(plan: Plan, dependence: Dependence | None = None) -> Answers:
    """Answer the study of ``plan``, all of whose jobs are finished or left out.

    Args:
        plan: of the study.
        dependence: what its dependence test found, if it was put to one.
    """
    cache = JobCache(plan.home)
    rows = _rows(plan, cache)
    saved = sum(job.run_equivalents - spent(job, cache) for job in plan.jobs)
    trunk, plain = heldout_blocks(rows[Role.HELDOUT]), heldout_blocks(rows[Role.CHECK])
    return Answers(
        study=plan.study,
        plan_hash=plan.hash,
        answers=_answers(plan, plan.questions, rows, cache, dependence),
        heldout_loss=float(trunk["value"].to_numpy().mean()) if len(trunk) else None,
        heldout_loss_plain=float(plain["value"].to_numpy().mean()) if len(plain) else None,
        heldout_change=heldout_change(trunk, plain) if len(plain) else None,
        run_equivalents=plan.run_equivalents - saved,
        saved_run_equivalents=saved,
        checks_run_equivalents=plan.checks_run_equivalents,
        one_run_a_question=plan.one_run_a_question,
        changed_share=plan.changed_share,
        seeds=plan.seeds,
        tokens=plan.tokens,
        curves=curves(plan, cache),
        by_part=curves_by_part(plan, cache),
        hardware=hardware(plan, cache),
        left_out=left_out(plan, cache),
        seconds=spent_seconds(plan),
        dependence=dependence,
        promised_seconds=promised_seconds(plan),
        times=times(plan, cache),
    )


def serving(plan: Plan, planned: PlannedQuestion) -> frozenset[str]:
    """Keys of the jobs that an answer to one question needs."""
    own = {job.key for job in plan.jobs if planned.question.id in job.questions}
    return frozenset(own.union(*((*arm.measured, *arm.real) for arm in planned.arms)))


def answers_so_far(plan: Plan, ready: Sequence[PlannedQuestion]) -> tuple[Answer, ...]:
    """Answer some questions of a study before the others can be.

    Their corrected p is an upper bound of what it will be: Holm's method never gives more for a
    smaller p of another question, and those that are not ready count as 1.

    Args:
        plan: of the study.
        ready: questions whose jobs (`serving`) are all finished or left out.
    """
    cache = JobCache(plan.home)
    needed = frozenset[str]().union(*(serving(plan, planned) for planned in ready))
    jobs = tuple(job for job in plan.jobs if job.key in needed)
    return _answers(plan, ready, _rows(replace(plan, jobs=jobs), cache), cache)


def _answers(
    plan: Plan,
    ready: Sequence[PlannedQuestion],
    rows: dict[Role, pl.DataFrame],
    cache: JobCache,
    dependence: Dependence | None = None,
) -> tuple[Answer, ...]:
    decided = {planned.question.id: _decided(plan, planned, rows, cache) for planned in ready}
    asked = [planned.question.id for planned in ready if planned.question.id != AA]
    waiting = sum(planned.question.id != AA for planned in plan.questions) - len(asked)
    corrected = holm([*(decided[name].p for name in asked), *[1.0] * waiting])
    adjusted = {name: found.p for name, found in decided.items()}
    adjusted |= dict(zip(asked, corrected, strict=False))
    found = [_answer(plan, planned, decided, adjusted, rows, cache) for planned in ready]
    return after_tests(plan, found, rows[Role.ANSWER], dependence)


def _rows(plan: Plan, cache: JobCache) -> dict[Role, pl.DataFrame]:
    """The measurements by the role of the job that took them, but for those of arms.

    These are read by their jobs, since arms may be left out.
    """
    measuring = (Role.ANSWER, Role.DURING, Role.HELDOUT, Role.CHECK)
    found: dict[Role, list[pl.DataFrame]] = {role: [] for role in measuring}
    for job in plan.jobs:
        if not isinstance(job.spec, MeasureSpec) or job.role not in found:
            continue
        if job.role is not Role.ANSWER or job.spec.treated is not None:
            found[job.role].append(cache.rows(job.key))
    empty = pl.DataFrame(schema=COLUMNS)
    return {role: pl.concat([empty, *frames]) for role, frames in found.items()}


def _answer(
    plan: Plan,
    planned: PlannedQuestion,
    decided: dict[str, OutcomeAnswer],
    adjusted: dict[str, float],
    rows: dict[Role, pl.DataFrame],
    cache: JobCache,
) -> Answer:
    question, own = planned.question, decided[planned.question.id]
    checks = _checks(planned, own, cache)
    found = verdict(
        Estimate(own.estimate, own.low, own.high),
        adjusted[question.id],
        question.direction,
        question.smallest,
        units=own.doses[-1].units
        if planned.ladder
        else min(own.doses[0].units, own.doses[-1].units),
        fewest=FEWEST_RUNS if planned.arms else FEWEST,
    )
    last = own.doses[-1]
    if last.stopped_after is not None:
        found = verdict_of_stopped(found, question.direction)
    elif last.diverged_at is not None:
        found = verdict_of_diverged(question.direction, last.diverged, last.units)
    cost = _part(plan, question.id, lambda job: spent(job, cache))
    common: dict[str, Any] = {
        "question": question.id,
        "ask": question.ask,
        "method": question.treated_by,
        "verdict": found,
        "decided": own,
        "p_adjusted": adjusted[question.id],
        "direction": question.direction,
        "smallest": question.smallest,
        "unit": question.unit,
        "units": planned.units,
        "strategy": planned.strategy.value,
        "run_equivalents": cost,
        "assumptions": planned.assumptions,
        "checks": checks,
    }
    if not isinstance(question, ItemQuestion):
        common["saved"] = _part(plan, question.id, lambda job: job.run_equivalents) - cost
        if not planned.ladder:
            common["ended"] = ended.sentences(planned, _arms(plan, planned, cache), cache)
        return _about_runs(plan, question, common)
    return _about_items(plan, planned, question, rows, common)


def _about_items(
    plan: Plan,
    planned: PlannedQuestion,
    question: ItemQuestion,
    rows: dict[Role, pl.DataFrame],
    common: dict[str, Any],
) -> Answer:
    decided = question.outcome
    others = [
        outcome
        for outcome in probe_of(question.method).outcomes
        if outcome.name != decided.name and not outcome.over
    ]
    asked = pl.col("question") == question.id
    on_plain, own = rows[Role.CHECK].filter(asked), rows[Role.ANSWER].filter(asked)
    needed = None
    if common["verdict"] is Verdict.CANNOT_TELL:
        observed = item_spread(own.filter(pl.col("outcome") == decided.name))
        needed = items_needed(planned, observed, _questions(plan)) if observed else None
    return Answer(
        **common,
        paper=question.method.paper,
        dose=question.method.dose,
        others=tuple(measured(rows, planned, other) for other in others),
        kinds=groups(rows[Role.ANSWER], planned, "kind"),
        seeds=groups(rows[Role.ANSWER], planned, "seed"),
        plain=outcome_of(rows[Role.CHECK], planned, decided) if len(on_plain) else None,
        units_needed=needed,
        detections=detections(own, question.method),
        changes=changes(own, question.id, question.method),
    )


def _about_runs(
    plan: Plan, question: RunQuestion | TrialQuestion, common: dict[str, Any]
) -> Answer:
    needed = None
    if common["verdict"] is Verdict.CANNOT_TELL and common["strategy"] != Strategy.EXTRAPOLATE:
        observed = spread(common["decided"])
        assumed = question.outcome.spread if observed is None else observed
        needed = pairs_needed(question.smallest, assumed, _questions(plan))
    return Answer(
        **common,
        paper=None,
        others=(),
        kinds=(),
        seeds=(),
        plain=None,
        units_needed=needed,
    )


def _questions(plan: Plan) -> int:
    """How many are corrected for."""
    return sum(planned.question.id != AA for planned in plan.questions)


def _decided(
    plan: Plan, planned: PlannedQuestion, rows: dict[Role, pl.DataFrame], cache: JobCache
) -> OutcomeAnswer:
    """The outcome that decides: of items by dose, of arms by seed, or of an arm by its ladder."""
    outcome = planned.question.outcome
    if not planned.arms:
        return measured(rows, planned, outcome)
    if planned.ladder:
        base, arm = planned.arms
        losses = _rung_losses(planned.ladder, outcome, cache)
        return predicted(planned.ladder, losses, (base.label, arm.label), outcome)
    return compared(_arms(plan, planned, cache), outcome)


def _arms(plan: Plan, planned: PlannedQuestion, cache: JobCache) -> list[Arm]:
    outcome = planned.question.outcome
    return ended.arms(plan, planned, cache, lambda keys: _means(keys, outcome, cache))


def _checks(planned: PlannedQuestion, decided: OutcomeAnswer, cache: JobCache) -> tuple[Check, ...]:
    """What tested the strategy of a question about runs."""
    outcome = planned.question.outcome
    if planned.ladder:
        return (held_out(planned.ladder, _rung_losses(planned.ladder, outcome, cache)),)
    if planned.tuning:
        first = planned.arms[0].measured[0]
        base, real = _means([first, planned.tuning], outcome, cache)
        return (true_tuning(decided, float(real - base)),)
    return average_checks(planned, lambda keys: _means(keys, outcome, cache))


def _rung_losses(ladder: PlannedLadder, outcome: Outcome, cache: JobCache) -> list[Floats]:
    return [_means(point.measured, outcome, cache) for point in ladder.points]


def _means(keys: Sequence[str], outcome: Outcome, cache: JobCache) -> Floats:
    """The mean over blocks that each of the jobs measured, ``(jobs,)``."""
    frames = [cache.rows(key).filter(pl.col("outcome") == outcome.name) for key in keys]
    return np.array([float(frame["value"].to_numpy().mean()) for frame in frames])


def _part(plan: Plan, question: str, cost: Callable[[Job], float]) -> float:
    """A question's equal part of each job that serves it; the A/A question has its own jobs."""
    total = 0.0
    for job in plan.jobs:
        serves = [name for name in job.questions if name != AA] or list(job.questions)
        if question in serves and not job.is_check:
            total += cost(job) / len(serves)
    return total
