"""What the items of a question tell: an outcome by dose, by group, and over steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from trainonce.analysis.answers import DoseAnswer, Group, OutcomeAnswer, StepAnswer
from trainonce.analysis.effects import Estimate, Sample, effect, mean, trend
from trainonce.analysis.samples import sample_of
from trainonce.methods.registry import Outcome
from trainonce.plan.jobs import Role
from trainonce.plan.planned import PlannedQuestion
from trainonce.stream.keys import generator


def measured(
    rows: dict[Role, pl.DataFrame], planned: PlannedQuestion, outcome: Outcome
) -> OutcomeAnswer:
    """An outcome at the end of the runs, with what it was before where that was measured."""
    found = outcome_of(rows[Role.ANSWER], planned, outcome)
    if not planned.during:
        return found
    own = pl.concat([_own(rows[role], planned, outcome) for role in (Role.DURING, Role.ANSWER)])
    steps = own["step"].unique().sort().to_list()
    samples = [sample_of(own.filter(pl.col("step") == step), outcome) for step in steps]
    over_steps = map(_step_answer, steps, map(_doses, samples))
    return replace(found, over_steps=tuple(over_steps))


def outcome_of(rows: pl.DataFrame, planned: PlannedQuestion, outcome: Outcome) -> OutcomeAnswer:
    """An outcome by dose; its trend over doses decides."""
    sample = sample_of(_own(rows, planned, outcome), outcome)
    doses, name = _doses(sample), planned.question.id
    top = doses[-1]
    return OutcomeAnswer(
        outcome=outcome.name,
        says=outcome.says,
        estimate=top.effect,
        low=top.effect_low,
        high=top.effect_high,
        p=trend(sample, generator(0, name, f"permutation {outcome.name}")),
        doses=doses,
    )


def groups(rows: pl.DataFrame, planned: PlannedQuestion, column: str) -> tuple[Group, ...]:
    """The top dose against dose 0 within each seed or kind; none where there is but one."""
    outcome = planned.question.outcome
    own = _own(rows, planned, outcome)
    values: Sequence[Any] = own[column].unique().sort().to_list()
    if len(values) < 2:
        return ()
    found = []
    for value in values:
        sample = sample_of(own.filter(pl.col(column) == value), outcome)
        top = effect(sample.of(int(sample.doses.max())), sample.of(0))
        found.append(
            Group(
                name=f"seed {value}" if column == "seed" else str(value),
                estimate=top.value,
                low=top.low,
                high=top.high,
                units=len(sample.values),
            )
        )
    return tuple(found)


def _step_answer(step: int, doses: tuple[DoseAnswer, ...]) -> StepAnswer:
    top = doses[-1]
    return StepAnswer(
        step=step, estimate=top.effect, low=top.effect_low, high=top.effect_high, doses=doses
    )


def _own(rows: pl.DataFrame, planned: PlannedQuestion, outcome: Outcome) -> pl.DataFrame:
    return rows.filter(
        (pl.col("question") == planned.question.id) & (pl.col("outcome") == outcome.name)
    )


def _doses(sample: Sample) -> tuple[DoseAnswer, ...]:
    """Each dose with its mean, and its effect against dose 0."""
    doses = sorted({int(dose) for dose in sample.doses})
    means = {dose: mean(sample.of(dose)) for dose in doses}
    effects = {dose: effect(sample.of(dose), sample.of(0)) for dose in doses if dose}
    nothing = Estimate(0.0, 0.0, 0.0)
    return tuple(
        DoseAnswer(
            dose=dose,
            mean=means[dose].value,
            low=means[dose].low,
            high=means[dose].high,
            units=int((sample.doses == dose).sum()),
            effect=effects.get(dose, nothing).value,
            effect_low=effects.get(dose, nothing).low,
            effect_high=effects.get(dose, nothing).high,
        )
        for dose in doses
    )
