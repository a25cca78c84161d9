"""From the measurements of a plan to its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trainonce.analysis import ended
from trainonce.analysis.answers import (
    Answer,
    Answers,
    Curve,
    DoseAnswer,
    Group,
    LeftOut,
    OutcomeAnswer,
)
from trainonce.analysis.effects import Estimate, Sample, effect, holm, mean, trend
from trainonce.analysis.runs import compared, spread
from trainonce.analysis.verdicts import (
    FEWEST,
    FEWEST_RUNS,
    Verdict,
    verdict,
    verdict_of_diverged,
    verdict_of_stopped,
)
from trainonce.methods.registry import Outcome, probe_of
from trainonce.plan.plan import Plan, PlannedQuestion, Role
from trainonce.plan.power import pairs_needed
from trainonce.run.cache import COLUMNS, JobCache
from trainonce.run.fates import spent
from trainonce.run.scheduler import spent_seconds
from trainonce.stream.keys import generator
from trainonce.study.questions import ItemQuestion, RunQuestion
from trainonce.study.schema import AA
from trainonce.tasks.specs import TrainSpec


def answer(plan: Plan) -> Answers:
    """Answer the study of ``plan``, all of whose jobs are finished or left out."""
    cache = JobCache(plan.home)
    rows = _rows(plan, cache)
    saved = sum(job.run_equivalents - spent(job, cache) for job in plan.jobs)
    decided = {
        planned.question.id: compared(ended.arms(plan, planned, cache), planned.question.outcome)
        if planned.arms
        else _outcome(rows[Role.ANSWER], planned, planned.question.outcome)
        for planned in plan.questions
    }
    asked = [planned.question.id for planned in plan.questions if planned.question.id != AA]
    corrected = dict(zip(asked, holm([decided[name].p for name in asked]), strict=True))
    adjusted = {name: corrected.get(name, found.p) for name, found in decided.items()}
    trunk, plain = _heldout(rows[Role.HELDOUT]), _heldout(rows[Role.CHECK])
    return Answers(
        study=plan.study,
        plan_hash=plan.hash,
        answers=tuple(
            _answer(plan, planned, decided, adjusted, rows, cache) for planned in plan.questions
        ),
        heldout_loss=float(trunk["value"].to_numpy().mean()),
        heldout_loss_plain=float(plain["value"].to_numpy().mean()) if len(plain) else None,
        heldout_change=_heldout_change(trunk, plain) if len(plain) else None,
        run_equivalents=plan.run_equivalents - saved,
        saved_run_equivalents=saved,
        checks_run_equivalents=plan.checks_run_equivalents,
        one_run_a_question=plan.one_run_a_question,
        changed_share=plan.changed_share,
        seeds=plan.seeds,
        tokens=plan.tokens,
        curves=_curves(plan, cache),
        hardware=_hardware(plan, cache),
        left_out=_left_out(plan, cache),
        seconds=spent_seconds(plan),
    )


def _rows(plan: Plan, cache: JobCache) -> dict[Role, pl.DataFrame]:
    """The measurements by the role of the job that took them."""
    found: dict[Role, list[pl.DataFrame]] = {Role.ANSWER: [], Role.HELDOUT: [], Role.CHECK: []}
    for job in plan.jobs:
        if job.role in found and job.kind == "measure" and cache.done(job.key):
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
    found = verdict(
        Estimate(own.estimate, own.low, own.high),
        adjusted[question.id],
        question.direction,
        question.smallest,
        units=min(own.doses[0].units, own.doses[-1].units),
        fewest=FEWEST_RUNS if planned.arms else FEWEST,
    )
    last = own.doses[-1]
    if last.stopped_after is not None:
        found = verdict_of_stopped(found, question.direction)
    elif last.diverged_at is not None:
        found = verdict_of_diverged(question.direction, last.diverged, last.units)
    costs = {job.key: spent(job, cache) for job in plan.jobs}
    cost = _part(plan, question.id, costs)
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
    }
    if isinstance(question, RunQuestion):
        planned_costs = {job.key: job.run_equivalents for job in plan.jobs}
        common["saved"] = _part(plan, question.id, planned_costs) - cost
        common["ended"] = ended.sentences(planned, ended.arms(plan, planned, cache), cache)
        return _about_runs(plan, question, common)
    return _about_items(planned, question, rows, common)


def _about_items(
    planned: PlannedQuestion,
    question: ItemQuestion,
    rows: dict[Role, pl.DataFrame],
    common: dict[str, Any],
) -> Answer:
    decided = question.outcome
    others = [o for o in probe_of(question.method).outcomes if o.name != decided.name]
    on_plain = rows[Role.CHECK].filter(pl.col("question") == question.id)
    return Answer(
        **common,
        paper=question.method.paper,
        others=tuple(_outcome(rows[Role.ANSWER], planned, other) for other in others),
        kinds=_groups(rows[Role.ANSWER], planned, "kind"),
        seeds=_groups(rows[Role.ANSWER], planned, "seed"),
        plain=_outcome(rows[Role.CHECK], planned, decided) if len(on_plain) else None,
    )


def _about_runs(plan: Plan, question: RunQuestion, common: dict[str, Any]) -> Answer:
    needed = None
    if common["verdict"] is Verdict.CANNOT_TELL:
        observed = spread(common["decided"])
        assumed = question.outcome.spread if observed is None else observed
        questions = sum(planned.question.id != AA for planned in plan.questions)
        needed = pairs_needed(question.smallest, assumed, questions)
    return Answer(
        **common, paper=None, others=(), kinds=(), seeds=(), plain=None, units_needed=needed
    )


def _part(plan: Plan, question: str, costs: Mapping[str, float]) -> float:
    """A question's equal part of each job that serves it; the A/A question has its own jobs."""
    total = 0.0
    for job in plan.jobs:
        serves = [name for name in job.questions if name != AA] or list(job.questions)
        if question in serves and not job.is_check:
            total += costs[job.key] / len(serves)
    return total


def _outcome(rows: pl.DataFrame, planned: PlannedQuestion, outcome: Outcome) -> OutcomeAnswer:
    own = rows.filter(
        (pl.col("question") == planned.question.id) & (pl.col("outcome") == outcome.name)
    )
    sample = _sample(own, outcome)
    name = planned.question.id
    doses = sorted({int(dose) for dose in sample.doses})
    means = {dose: mean(sample.of(dose)) for dose in doses}
    effects = {dose: effect(sample.of(dose), sample.of(0)) for dose in doses}
    top = effects[doses[-1]]
    return OutcomeAnswer(
        outcome=outcome.name,
        says=outcome.says,
        estimate=top.value,
        low=top.low,
        high=top.high,
        p=trend(sample, generator(0, name, f"permutation {outcome.name}")),
        doses=tuple(
            DoseAnswer(
                dose=dose,
                mean=means[dose].value,
                low=means[dose].low,
                high=means[dose].high,
                units=int((sample.doses == dose).sum()),
                effect=effects[dose].value if dose else 0.0,
                effect_low=effects[dose].low if dose else 0.0,
                effect_high=effects[dose].high if dose else 0.0,
            )
            for dose in doses
        ),
    )


def _sample(rows: pl.DataFrame, outcome: Outcome) -> Sample:
    """Units in a fixed order, with seed and kind as the stratum that doses were dealt in."""
    ordered = rows.sort("seed", "kind", "unit")
    strata = ordered.select(pl.struct("seed", "kind").rank("dense").alias("stratum"))["stratum"]
    return Sample(
        values=ordered["value"].to_numpy(),
        doses=ordered["dose"].to_numpy(),
        strata=strata.cast(pl.Int64).to_numpy(),
        low=-np.inf if outcome.low is None else outcome.low,
        high=np.inf if outcome.high is None else outcome.high,
    )


def _groups(rows: pl.DataFrame, planned: PlannedQuestion, column: str) -> tuple[Group, ...]:
    """The top dose against dose 0 within each seed or kind; none where there is but one."""
    outcome, name = planned.question.outcome, planned.question.id
    own = rows.filter((pl.col("question") == name) & (pl.col("outcome") == outcome.name))
    values: Sequence[Any] = own[column].unique().sort().to_list()
    if len(values) < 2:
        return ()
    groups = []
    for value in values:
        sample = _sample(own.filter(pl.col(column) == value), outcome)
        found = effect(sample.of(int(sample.doses.max())), sample.of(0))
        groups.append(
            Group(
                name=f"seed {value}" if column == "seed" else str(value),
                estimate=found.value,
                low=found.low,
                high=found.high,
                units=len(sample.values),
            )
        )
    return tuple(groups)


def _heldout(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("outcome") == "heldout_loss").sort("seed", "unit")


def _heldout_change(trunk: pl.DataFrame, plain: pl.DataFrame) -> Estimate:
    """The relative change of the held-out loss; blocks are paired."""
    before, after = plain["value"].to_numpy(), trunk["value"].to_numpy()
    strata = trunk["seed"].to_numpy()
    sample = Sample(after - before, np.zeros(len(after), dtype=np.int64), strata)
    change = mean(sample)
    base = float(before.mean())
    return Estimate(change.value / base, change.low / base, change.high / base)


_CURVES = {Role.TRUNK: "trunk", Role.PLAIN: "plain run"}


def _curves(plan: Plan, cache: JobCache, points: int = 100) -> tuple[Curve, ...]:
    curves = []
    for job in plan.jobs:
        if isinstance(job.spec, TrainSpec) and (told := _losses(job.spec, cache)) is not None:
            losses = _without_gaps(told)
            parts = np.array_split(np.arange(len(losses)), min(points, len(losses)))
            curves.append(
                Curve(
                    name=_CURVES.get(job.role, job.label),
                    seed=job.seed,
                    steps=tuple(int(part[-1]) + 1 for part in parts),
                    losses=tuple(round(float(losses[part].mean()), 4) for part in parts),
                )
            )
    return tuple(curves)


def _losses(run: TrainSpec, cache: JobCache) -> npt.NDArray[np.float64] | None:
    """The losses of a run as far as it came and kept them; None when it kept none."""
    if cache.done(run.key):
        return cache.losses(run.key)
    states = cache.states(run)
    return cache.losses_until(run, states[0].step) if states else None


def _without_gaps(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Losses with those that are not finite, whose update was left out, drawn as straight lines."""
    steps, good = np.arange(len(losses)), np.isfinite(losses)
    return np.interp(steps, steps[good], losses[good])


def _left_out(plan: Plan, cache: JobCache) -> tuple[LeftOut, ...]:
    found = []
    for job in plan.jobs:
        if job.kind != "train" or not cache.done(job.key):
            continue
        if steps := cache.result(job.key).get("left_out"):
            found.append(LeftOut(job=job.key, seed=job.seed, steps=tuple(steps)))
    return tuple(found)


def _hardware(plan: Plan, cache: JobCache) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for job in plan.jobs:
        if not cache.done(job.key):
            continue
        facts = cache.result(job.key)
        line = f"{facts['machine']}, Python {facts['python']}, torch {facts['torch']}"
        found[line] = None
    return tuple(found)
