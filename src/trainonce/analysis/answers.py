"""From the measurements of a plan to its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trainonce.analysis.effects import Estimate, Sample, difference, holm, mean, trend
from trainonce.analysis.verdicts import Verdict, verdict
from trainonce.methods.registry import Outcome, probe_of
from trainonce.plan.plan import Plan, PlannedQuestion, Role
from trainonce.run.cache import COLUMNS, JobCache
from trainonce.run.local import spent_seconds
from trainonce.sites import Unit
from trainonce.stream.keys import generator
from trainonce.study.schema import AA


@dataclass(frozen=True, kw_only=True)
class DoseAnswer:
    """The units of one dose.

    Attributes:
        dose: copies of each item.
        mean: of the outcome; ``low`` and ``high`` are its 95 % interval.
        units: items that got this dose.
        effect: the mean minus that of dose 0, with its own interval.
    """

    dose: int
    mean: float
    low: float
    high: float
    units: int
    effect: float
    effect_low: float
    effect_high: float


@dataclass(frozen=True, kw_only=True)
class Group:
    """The estimate within one seed or one kind of item."""

    name: str
    estimate: float
    low: float
    high: float
    units: int


@dataclass(frozen=True, kw_only=True)
class OutcomeAnswer:
    """What one outcome of a question says.

    Attributes:
        outcome: its name.
        says: what it is, in words.
        estimate: the highest dose minus dose 0; ``low`` and ``high`` are its 95 % interval.
        p: of no trend over doses, by dealing the doses again.
        doses: one entry a dose, ascending.
    """

    outcome: str
    says: str
    estimate: float
    low: float
    high: float
    p: float
    doses: tuple[DoseAnswer, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one question.

    Attributes:
        question: its id.
        ask: the question as the user asks it.
        method: the treatment.
        paper: arXiv id of the method's source.
        verdict: by the rule of `trainonce.analysis.verdicts`.
        decided: the outcome that decides.
        others: the outcomes that were measured beside it.
        p_adjusted: corrected over the study's questions by Holm's method; the A/A question, which
            is a check, stays as it is.
        direction: where the effect was expected: +1, -1 or 0.
        smallest: the smallest effect of interest.
        unit: what was randomized.
        units: how many of them.
        strategy: how the question shared training.
        run_equivalents: its share of the cost.
        kinds: the estimate within each kind of item, where there are several.
        seeds: the estimate within each seed, where there are several.
        plain: the same items and doses on the plain run, which saw none of them.
        assumptions: what the answer rests on.
    """

    question: str
    ask: str
    method: str
    paper: str | None
    verdict: Verdict
    decided: OutcomeAnswer
    others: tuple[OutcomeAnswer, ...]
    p_adjusted: float
    direction: int
    smallest: float
    unit: Unit
    units: int
    strategy: str
    run_equivalents: float
    kinds: tuple[Group, ...]
    seeds: tuple[Group, ...]
    plain: OutcomeAnswer | None
    assumptions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON data, the deciding outcome's numbers at the top."""
        document = asdict(self)
        decided = document.pop("decided")
        return {
            "question": document.pop("question"),
            "verdict": self.verdict.value,
            "estimate": decided["estimate"],
            "low": decided["low"],
            "high": decided["high"],
            "p": decided["p"],
            "p_adjusted": document.pop("p_adjusted"),
            "unit": self.unit.value,
            "outcome": decided["outcome"],
            "outcome_says": decided["says"],
            "doses": decided["doses"],
            **{k: v for k, v in document.items() if k not in ("verdict", "unit")},
        }


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The loss of one training run over its steps, thinned to means of equal stretches."""

    name: str
    seed: int
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The steps whose update a training run left out, counted from 1."""

    job: str
    seed: int
    steps: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of a study.

    Attributes:
        study: its title.
        plan_hash: the plan that they come from.
        answers: in the order of the study, the A/A question last.
        heldout_loss: of the trunk, nats a token, over the seeds' mean.
        heldout_loss_plain: of the plain run, None when the study did without.
        heldout_change: relative change from the plain run to the trunk, paired by block and seed.
        run_equivalents: what the answers cost.
        checks_run_equivalents: what the checks cost on top.
        one_run_a_question: what the answers would cost with one run a question.
        changed_share: share of the tokens that insertions replaced.
        seeds: of the base run.
        tokens: that one training run reads.
        curves: training losses.
        hardware: where the jobs ran.
        left_out: for each training run that left updates out because of ``on_nan``, which steps.
        seconds: wall-clock seconds that carrying out the plan took, over all starts.
    """

    study: str
    plan_hash: str
    answers: tuple[Answer, ...]
    heldout_loss: float
    heldout_loss_plain: float | None
    heldout_change: Estimate | None
    run_equivalents: float
    checks_run_equivalents: float
    one_run_a_question: float
    changed_share: float
    seeds: tuple[int, ...]
    tokens: int
    curves: tuple[Curve, ...]
    hardware: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        document = asdict(self)
        document["answers"] = [answer.to_json() for answer in self.answers]
        return document

    def to_frame(self) -> pl.DataFrame:
        """One row a question."""
        return pl.DataFrame(
            [
                {
                    "question": answer.question,
                    "verdict": answer.verdict.value,
                    "outcome": answer.decided.outcome,
                    "estimate": answer.decided.estimate,
                    "low": answer.decided.low,
                    "high": answer.decided.high,
                    "p": answer.decided.p,
                    "p_adjusted": answer.p_adjusted,
                    "units": answer.units,
                    "strategy": answer.strategy,
                    "run_equivalents": answer.run_equivalents,
                }
                for answer in self.answers
            ]
        )


def answer(plan: Plan) -> Answers:
    """Answer the study of ``plan``, all of whose jobs are finished."""
    cache = JobCache(plan.home)
    rows = _rows(plan, cache)
    decided = {
        planned.question.id: _outcome(rows[Role.ANSWER], planned, planned.question.outcome)
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
            _answer(plan, planned, decided, adjusted, rows) for planned in plan.questions
        ),
        heldout_loss=float(trunk["value"].to_numpy().mean()),
        heldout_loss_plain=float(plain["value"].to_numpy().mean()) if len(plain) else None,
        heldout_change=_heldout_change(trunk, plain) if len(plain) else None,
        run_equivalents=plan.run_equivalents,
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
        if job.kind == "measure":
            found[job.role].append(cache.rows(job.key))
    empty = pl.DataFrame(schema=COLUMNS)
    return {role: pl.concat([empty, *frames]) for role, frames in found.items()}


def _answer(
    plan: Plan,
    planned: PlannedQuestion,
    decided: dict[str, OutcomeAnswer],
    adjusted: dict[str, float],
    rows: dict[Role, pl.DataFrame],
) -> Answer:
    question = planned.question
    own = decided[question.id]
    effect = Estimate(own.estimate, own.low, own.high)
    others = [o for o in probe_of(question.method).outcomes if o.name != own.outcome]
    on_plain = rows[Role.CHECK].filter(pl.col("question") == question.id)
    return Answer(
        question=question.id,
        ask=question.ask,
        method=question.method.name,
        paper=question.method.paper,
        verdict=verdict(effect, adjusted[question.id], question.direction, question.smallest),
        decided=own,
        others=tuple(_outcome(rows[Role.ANSWER], planned, other) for other in others),
        p_adjusted=adjusted[question.id],
        direction=question.direction,
        smallest=question.smallest,
        unit=Unit.ITEM,
        units=planned.units,
        strategy=planned.strategy.value,
        run_equivalents=_cost(plan, question.id),
        kinds=_groups(rows[Role.ANSWER], planned, "kind"),
        seeds=_groups(rows[Role.ANSWER], planned, "seed"),
        plain=_outcome(rows[Role.CHECK], planned, question.outcome) if len(on_plain) else None,
        assumptions=planned.assumptions,
    )


def _cost(plan: Plan, question: str) -> float:
    """A question's own jobs, and its equal part of the jobs that it shares."""
    sharing = len(plan.questions) - 1
    total = 0.0
    for job in plan.jobs:
        if job.role is Role.ANSWER and question in job.questions:
            total += job.run_equivalents
        elif job.role in (Role.TRUNK, Role.HELDOUT) and question != AA:
            total += job.run_equivalents / sharing
    return total


def _outcome(rows: pl.DataFrame, planned: PlannedQuestion, outcome: Outcome) -> OutcomeAnswer:
    own = rows.filter(
        (pl.col("question") == planned.question.id) & (pl.col("outcome") == outcome.name)
    )
    sample = _sample(own, outcome)
    name = planned.question.id
    doses = sorted({int(dose) for dose in sample.doses})
    means = {
        dose: mean(sample.of(dose), generator(0, name, f"bootstrap {outcome.name} {dose}"))
        for dose in doses
    }
    effects = {dose: difference(means[dose], means[0]) for dose in doses}
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
        ends = [
            mean(sample.of(dose), generator(0, name, f"bootstrap {column} {value} {dose}"))
            for dose in (int(sample.doses.max()), 0)
        ]
        effect = difference(*ends)
        groups.append(
            Group(
                name=f"seed {value}" if column == "seed" else str(value),
                estimate=effect.value,
                low=effect.low,
                high=effect.high,
                units=len(sample.values),
            )
        )
    return tuple(groups)


def _heldout(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("outcome") == "heldout_loss").sort("seed", "unit")


def _heldout_change(trunk: pl.DataFrame, plain: pl.DataFrame) -> Estimate:
    """The relative change of the held-out loss; blocks are paired, and resampled as such."""
    before, after = plain["value"].to_numpy(), trunk["value"].to_numpy()
    strata = trunk["seed"].to_numpy()
    sample = Sample(after - before, np.zeros(len(after), dtype=np.int64), strata)
    change = mean(sample, generator(0, "heldout", "bootstrap"))
    base = float(before.mean())
    return Estimate(change.value / base, change.low / base, change.high / base)


def _curves(plan: Plan, cache: JobCache, points: int = 100) -> tuple[Curve, ...]:
    curves = []
    for job in plan.jobs:
        if job.kind == "train":
            losses = _without_gaps(cache.losses(job.key))
            parts = np.array_split(np.arange(len(losses)), min(points, len(losses)))
            curves.append(
                Curve(
                    name="trunk" if job.role is Role.TRUNK else "plain run",
                    seed=job.seed,
                    steps=tuple(int(part[-1]) + 1 for part in parts),
                    losses=tuple(round(float(losses[part].mean()), 4) for part in parts),
                )
            )
    return tuple(curves)


def _without_gaps(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Losses with those that are not finite, whose update was left out, drawn as straight lines."""
    steps, good = np.arange(len(losses)), np.isfinite(losses)
    return np.interp(steps, steps[good], losses[good])


def _left_out(plan: Plan, cache: JobCache) -> tuple[LeftOut, ...]:
    found = []
    for job in plan.jobs:
        if job.kind == "train" and (steps := cache.result(job.key).get("left_out")):
            found.append(LeftOut(job=job.key, seed=job.seed, steps=tuple(steps)))
    return tuple(found)


def _hardware(plan: Plan, cache: JobCache) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for job in plan.jobs:
        facts = cache.result(job.key)
        line = f"{facts['machine']}, Python {facts['python']}, torch {facts['torch']}"
        found[line] = None
    return tuple(found)
