"""Which methods a plan uses, and whom to cite for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from trainonce.analysis.ladders import law
from trainonce.methods.registry import Method, methods, probe_of
from trainonce.plan.plan import Plan
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs.measurements import STEERING, MeasureSpec
from trainonce.tasks.specs.runs import AverageSpec

SHARING = "2509.23383"
"""The paper whose idea sharing one run is."""
_AVERAGE = "average"


def methods_used(plan: Plan) -> tuple[Method, ...]:
    """The registered methods that the jobs of a plan name, those of questions first."""
    known = methods()
    names: dict[str, None] = {}
    for planned in plan.questions:
        treated = getattr(planned.question, "method", None)
        if treated is not None and planned.question.id != AA:
            names |= dict.fromkeys((treated.name, probe_of(treated).name))
    walked: set[int] = set()
    for job in plan.jobs:
        if job.questions != (AA,):
            names |= dict.fromkeys(_names(job.spec, walked))
    return tuple(known[name] for name in names if name in known)


def papers_used(plan: Plan) -> tuple[str, ...]:
    """Their sources' arXiv ids, each once, after that of sharing a run."""
    laws = [law(planned.ladder).paper for planned in plan.questions if planned.ladder]
    shares = any(planned.strategy is Strategy.MULTIPLEX for planned in plan.questions)
    sources: Iterable[str | None] = (known.paper for known in methods_used(plan))
    named = [*([SHARING] if shares else []), *sources, *laws]
    return tuple(dict.fromkeys(paper for paper in named if paper))


def _names(value: Any, walked: set[int]) -> Iterator[str]:
    """The names of methods in a spec; parts that several specs share are walked once."""
    if dataclasses.is_dataclass(value):
        if id(value) in walked:
            return
        walked.add(id(value))
        if isinstance(value, AverageSpec):
            yield _AVERAGE
        if isinstance(value, MeasureSpec) and value.steered is not None:
            yield STEERING
        for name in ("method", "probe"):
            if isinstance(named := getattr(value, name, None), str):
                yield named
        for field in dataclasses.fields(value):
            yield from _names(getattr(value, field.name), walked)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _names(inner, walked)
    elif isinstance(value, dict):
        if isinstance(value.get("method"), str):
            yield value["method"]
        for inner in value.values():
            yield from _names(inner, walked)
