"""The training runs of a plan, and where they are cut: left by others, stopped or measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from trainonce.plan.design import Design
from trainonce.plan.jobs import Gate, Role
from trainonce.study.questions import ItemQuestion
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec

Where = tuple[Role, str, int, int]
"""Which run of a plan: its role, question (or nothing), arm (from 0) and seed."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A step at which a run is cut, so that it can end there or be compared there.

    Attributes:
        step: the step.
        questions: for which it is.
        gate: closed when the run ends there; None for the base run, which never does.
    """

    step: int
    questions: tuple[str, ...]
    gate: Gate | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A training run of a plan.

    Attributes:
        spec: the run.
        role: what it is there for.
        strategy: how the questions that it serves share training.
        questions: their ids.
        name: what people call it, with its seed.
        about: what more there is to say of it.
        label: what it differs in from the base run, for a run that does.
        weight: operations of one of its steps, in those of a step of the base run.
        ends: whether anybody needs its end, rather than states of it alone.
        apart: whether it is there because its items cannot be in the trunk.
        rungs: ascending.
    """

    spec: TrainSpec
    role: Role
    strategy: Strategy
    questions: tuple[str, ...]
    name: str
    about: str = ""
    label: str = ""
    weight: float = 1.0
    ends: bool = True
    apart: bool = False
    rungs: tuple[Rung, ...] = ()

    def gates(self, step: int) -> tuple[Gate, ...]:
        """What has decided before ``step`` whether the run goes on to it."""
        before = [rung.gate for rung in self.rungs if rung.step < step and rung.gate]
        return tuple(before[-1:])


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """An average of parameters that stands for an arm.

    Attributes:
        spec: what is averaged.
        questions: ids of the questions that it serves.
        name: what people call it, with its seed.
        label: what the arm differs in from the base run.
        weight: operations of a pass through its model, in those through the base run's.
    """

    strategy: ClassVar = Strategy.AVERAGE
    spec: AverageSpec
    questions: tuple[str, ...]
    name: str
    label: str
    weight: float


def cuts(found: Mapping[Where, Line]) -> dict[str, dict[int, tuple[str, ...]]]:
    """Where runs are cut: by the key of the run and the step, the questions for which they are.

    Their runs leave there, or may be stopped.
    """
    left: dict[str, dict[int, tuple[str, ...]]] = {}
    for line in found.values():
        for rung in line.rungs:
            at = left.setdefault(line.spec.key, {})
            at[rung.step] = tuple(dict.fromkeys([*at.get(rung.step, ()), *rung.questions]))
        if line.spec.fork:
            at = left.setdefault(line.spec.fork.parent.key, {})
            before = at.get(line.spec.fork.step, ())
            at[line.spec.fork.step] = tuple(dict.fromkeys([*before, *line.questions]))
    return left


def watched(design: Design, found: Mapping[Where, Line]) -> dict[str, dict[int, tuple[str, ...]]]:
    """Where models are measured: by the key of the run and the step, the questions that ask it."""
    asked: dict[str, dict[int, tuple[str, ...]]] = {}
    for question in design.study.questions:
        if not isinstance(question, ItemQuestion):
            continue
        for seed in design.study.recipe.seeds:
            own = found.get((Role.OWN, question.id, 0, seed))
            run = (own or found[Role.TRUNK, "", 0, seed]).spec
            for step in question.steps(design.study.recipe):
                at = asked.setdefault(run.after(step).trained.key, {})
                at[step] = (*at.get(step, ()), question.id)
    return asked
