"""How much units differ by what is measured already: pilots for the precision of a plan."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.plan.planned import PlannedQuestion
from trainonce.plan.sensitivity import Spread
from trainonce.run.cache import JobCache
from trainonce.study.questions import ItemQuestion
from trainonce.study.schema import AA
from trainonce.tasks.specs.measurements import HELDOUT_PROBE
from trainonce.tasks.specs.runs import TrainSpec

MOST_JOBS = 5_000
"""Finished jobs that are looked at, the newest first."""

_NOT_THE_DESIGN = ("seed", "stack", "threads", "compiled")


def observed_spreads(plan: Plan, cache: JobCache) -> dict[str, Spread]:
    """The spread of each question of which something is measured in this home, by question.

    For items: this study's own finished measurements; else those of the same treatment with the
    same settings in another study; else those of the same method and probe. For runs: differences
    between arm and base run at each seed at which both are measured, by whatever study.
    """
    asked = [planned for planned in plan.questions if planned.question.id != AA]
    found: dict[str, Spread] = {}
    others: list[tuple[str, dict[str, Any]]] | None = None
    for planned in asked:
        own = _own_items(plan, planned, cache) if planned.sizes else None
        if own is None:
            others = _measurements(cache) if others is None else others
            own = (
                _other_items(planned, cache, others)
                if planned.sizes
                else _runs(plan, planned, cache, others)
            )
        if own is not None:
            found[planned.question.id] = own
    return found


def item_spread(rows: pl.DataFrame) -> float | None:
    """Standard deviation between items of one dose, seed and kind, of the two doses compared.

    Args:
        rows: measurements of one outcome of one question, as `trainonce.run.cache.COLUMNS`.

    Returns:
        None where no two such items differ.
    """
    if rows.is_empty():
        return None
    compared = rows.filter(pl.col("dose").is_in([0, rows["dose"].max()]))
    groups = compared.group_by("seed", "kind", "dose").agg(
        pl.col("value").var().fill_null(0.0), (pl.len() - 1).alias("freedom")
    )
    freedom = int(groups["freedom"].sum())
    squares = float((groups["value"] * groups["freedom"]).sum())
    return math.sqrt(squares / freedom) if freedom and squares > 0 else None


def _own_items(plan: Plan, planned: PlannedQuestion, cache: JobCache) -> Spread | None:
    keys = [
        job.key
        for job in plan.jobs
        if job.role is Role.ANSWER
        and job.questions == (planned.question.id,)
        and cache.done(job.key)
    ]
    return _of_items(planned, cache, keys, "this study's finished measurements")


def _of_items(
    planned: PlannedQuestion, cache: JobCache, keys: Iterable[str], source: str
) -> Spread | None:
    frames = [cache.rows(key) for key in keys]
    if not frames:
        return None
    rows = pl.concat(frames).filter(pl.col("outcome") == planned.question.outcome.name)
    value = item_spread(rows)
    if value is None:
        return None
    return Spread(value=value, source=f"{source}, {len(rows)} items", assumed=False)


def _measurements(cache: JobCache) -> list[tuple[str, dict[str, Any]]]:
    """Keys and specs, as plain data, of finished measurements; the newest first."""
    found = []
    for key in cache.finished()[:MOST_JOBS]:
        spec = cache.result(key).get("spec")
        if isinstance(spec, dict) and spec.get("kind") == "measure":
            found.append((key, spec))
    return found


def _other_items(
    planned: PlannedQuestion, cache: JobCache, others: list[tuple[str, dict[str, Any]]]
) -> Spread | None:
    """Of the newest run with the same treatment, else with the same method, at all its seeds."""
    question = planned.question
    assert isinstance(question, ItemQuestion)
    alike = [
        (key, spec)
        for key, spec in others
        if spec["probe"] == question.method.probe
        and spec["treated"]["method"] == question.method.name
        and spec["treated"] in spec["trained"]["treatments"]
    ]
    same = [one for one in alike if one[1]["treated"]["settings"] == question.settings]
    for chosen, settings in ((same, "the same settings"), (alike, "other settings")):
        if not chosen:
            continue
        name, design = chosen[0][1]["treated"]["question"], _design(chosen[0][1])
        keys = [key for key, spec in chosen if _design(spec) == design]
        source = f"question {name!r} of another study, with {settings}"
        if spread := _of_items(planned, cache, keys, source):
            return spread
    return None


def _runs(
    plan: Plan,
    planned: PlannedQuestion,
    cache: JobCache,
    others: list[tuple[str, dict[str, Any]]],
) -> Spread | None:
    """Of differences between the deciding arm and the base run."""
    runs = {job.key: job.trained for job in plan.jobs}
    heldout: dict[str, dict[int, str]] = defaultdict(dict)
    for key, spec in others:
        if spec["probe"] == HELDOUT_PROBE and spec.get("step") is None:
            heldout[_run(spec["trained"])].setdefault(spec["trained"]["seed"], key)
    adapter: TypeAdapter[TrainSpec] = TypeAdapter(TrainSpec)
    base, arm = (
        heldout.get(_run(adapter.dump_python(runs[one.measured[0]], mode="json")), {})
        for one in (planned.arms[0], planned.arms[-1])
    )
    seeds = sorted(base.keys() & arm.keys())
    if len(seeds) < 2:
        return None
    outcome = planned.question.outcome.name
    differences = [
        _mean(cache, arm[seed], outcome) - _mean(cache, base[seed], outcome) for seed in seeds
    ]
    value = float(np.std(differences, ddof=1))
    source = f"finished runs at seeds {', '.join(map(str, seeds))}"
    return Spread(value=value, source=source, assumed=False) if value > 0 else None


def _mean(cache: JobCache, key: str, outcome: str) -> float:
    rows = cache.rows(key).filter(pl.col("outcome") == outcome)
    return float(rows["value"].to_numpy().mean())


def _design(spec: Mapping[str, Any]) -> str:
    return f"{spec['treated']['question']} {_run(spec['trained'])}"


def _run(spec: Mapping[str, Any]) -> str:
    """A run as plain data, whatever its seed and however it was trained."""
    return json.dumps(_without(spec), sort_keys=True)


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without(inner) for k, inner in value.items() if k not in _NOT_THE_DESIGN}
    return [_without(inner) for inner in value] if isinstance(value, (list, tuple)) else value
