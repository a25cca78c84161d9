"""Dependence tests: forks of one state with some questions' items and without the others'.

After "Train Once, Answer All" (arXiv 2509.23383), which goes on from one checkpoint with the data
of each experiment alone. Beyond pairs, a fractional factorial switches all experiments at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from trainonce.plan.factorial import Factorial, factorial
from trainonce.plan.family import NAMES, Family
from trainonce.plan.jobs import Job, Role, once
from trainonce.plan.plan import Plan
from trainonce.plan.planned import PlannedQuestion
from trainonce.plan.prices import Prices
from trainonce.stream.corpus import Corpus
from trainonce.tasks.ledger import token_ledger
from trainonce.tasks.specs.runs import StateSpec, TrainSpec

_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_STATE = re.compile(r"([0-9a-f]{4,})@(\d+)")
FACTORIAL_FROM = 5
"""Experiments from which on a factorial says more than each of them alone."""

MOST = 64
"""Experiments of one test: forks grow with their number, and cells with its square."""


class DependenceError(ValueError):
    """A dependence test that cannot be made; the message says what can."""


class Layout(StrEnum):
    """Which experiments are present in which fork."""

    ALONE = "alone"
    FACTORIAL = "factorial"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a dependence test is asked to do.

    Attributes:
        start: where forks leave: a share of the trunk, as in ``60%``, or ``JOB@STEP``.
        length: the share of the run's steps that a fork trains, above 0.
        layout: each experiment alone, or a factorial; None for what suits their number.
    """

    start: str = "90%"
    length: float = 0.1
    layout: Layout | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON data, from which ``Asked(**data)`` makes it again."""
        return asdict(self)


def asked(start: str, length: str | float, layout: str | None) -> Asked:
    """A dependence test as users ask for it: ``60%`` or ``JOB@STEP``, ``10%``, ``alone``.

    Raises:
        DependenceError: naming what cannot be understood, and what can.
    """
    share = length
    if isinstance(length, str):
        named = _SHARE.fullmatch(length.strip())
        share = float(named[1]) / 100 if named else 0.0
    if isinstance(share, str) or not 0 < share <= 1:
        raise DependenceError(
            f"{length} is no length of a fork: write a share of the run above 0%, such as 10%"
        )
    if layout is not None and layout not in set(Layout):
        raise DependenceError(f"no design {layout!r}: {' or '.join(Layout)}")
    return Asked(start=start, length=share, layout=Layout(layout) if layout else None)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question that inserts items into the trunk.

    Attributes:
        planned: the question.
        copies: of its items in the whole run, over the seeds that are tested.
        inside: those of them that the stretch of the forks reads.
    """

    planned: PlannedQuestion
    copies: int
    inside: int

    @property
    def id(self) -> str:
        """The question's id."""
        return self.planned.question.id


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One combination of experiments, trained at every seed that is tested.

    Attributes:
        label: what is present, in a few words.
        present: ids of the experiments whose items it goes on to read.
        measured: by experiment, the keys of the jobs that measure its items, a seed each.
    """

    label: str
    present: tuple[str, ...]
    measured: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class DependencePlan:
    """A dependence test before it is carried out.

    Attributes:
        asked: what was asked for.
        plan: its jobs; those of the trunk are the study's own.
        parent: what forks leave, ``trunk`` or ``plain run``.
        start: the step after which they leave it.
        end: the step after which their items are measured.
        seeds: that are tested.
        experiments: what is switched on and off, in the order of the study.
        runs: all of them, none of them, and each alone or the other rows of the design.
        design: the factorial; None for each experiment alone.
    """

    asked: Asked
    plan: Plan
    parent: str
    start: int
    end: int
    seeds: tuple[int, ...]
    experiments: tuple[Experiment, ...]
    runs: tuple[Combination, ...]
    design: Factorial | None


def plan_dependence(base: Plan, asked: Asked) -> DependencePlan:
    """The dependence test of the study that ``base`` plans, whose trunk trains by itself.

    Args:
        base: the study's plan, in which no run is stacked, since a stack keeps no states.
        asked: where forks leave, for how long, and in which layout.

    Raises:
        DependenceError: when there is no such state, or fewer than two experiments or too many.
    """
    trunks = _runs(base, Role.TRUNK)
    inserting = {treated.question for treated in next(iter(trunks.values())).treatments}
    questions = [q for q in base.questions if q.question.id in inserting]
    if len(questions) < 2:
        raise DependenceError(
            "a dependence test needs two questions that insert items into the trunk, and this "
            f"study has {len(questions)}"
        )
    if len(questions) > MOST:
        raise DependenceError(
            f"a dependence test crosses at most {MOST} questions, and this study has "
            f"{len(questions)} in the trunk: test them in smaller studies with the same recipe"
        )
    parent, tested, start = _start(base, asked.start)
    steps = next(iter(trunks.values())).train.steps
    end = min(steps, start + max(1, round(asked.length * steps)))
    names = tuple(q.question.id for q in questions)
    layout = asked.layout or (Layout.FACTORIAL if len(names) >= FACTORIAL_FROM else Layout.ALONE)
    design = factorial(len(names)) if layout is Layout.FACTORIAL else None
    combinations = _combinations(names, design)
    corpus = Corpus(base.home / "corpora" / next(iter(trunks.values())).corpus)
    prices = Prices(steps, base.tokens, len(base.seeds))
    jobs: list[Job] = []
    measured: dict[tuple[str, ...], dict[str, list[str]]] = {
        present: {name: [] for name in names} for present in combinations
    }
    for seed in tested:
        family = Family(trunks[seed], parent, start, end, corpus, prices)
        jobs += family.parent_jobs(combinations, _states(base, family.parent, start))
        for present, label in combinations.items():
            jobs += family.run_jobs(present, label)
            for planned in questions:
                job = family.measurement(present, label, planned)
                jobs.append(job)
                measured[present][planned.question.id].append(job.key)
    return DependencePlan(
        asked=asked,
        plan=replace(
            base,
            study=f"{base.study}: dependence test",
            jobs=once(jobs, names),
            questions=tuple(questions),
        ),
        parent=NAMES[parent],
        start=start,
        end=end,
        seeds=tested,
        experiments=tuple(_experiments(questions, trunks, tested, corpus, start, end)),
        runs=tuple(
            Combination(
                label=label,
                present=present,
                measured={name: tuple(keys) for name, keys in measured[present].items()},
            )
            for present, label in combinations.items()
        ),
        design=design,
    )


def _runs(base: Plan, role: Role) -> dict[int, TrainSpec]:
    return {
        job.seed: job.spec
        for job in base.jobs
        if job.role is role and isinstance(job.spec, TrainSpec)
    }


def _states(base: Plan, run: TrainSpec, before: int) -> dict[int, tuple[str, ...]]:
    """The steps before one at which the study takes a state of a run, and for which questions."""
    found = {}
    for state in base.jobs:
        if isinstance(state.spec, StateSpec) and state.spec.trained == run:
            taking = [
                job
                for job in base.jobs
                if state.key in job.parents and job.role not in (Role.STATE, Role.TRUNK, Role.PLAIN)
            ]
            names = dict.fromkeys(name for job in taking for name in job.questions)
            found[state.spec.step] = tuple(names)
    return {step: names for step, names in found.items() if step < before}


def _start(base: Plan, text: str) -> tuple[Role, tuple[int, ...], int]:
    """Which run is left, at which seeds, and after which step."""
    steps = next(iter(_runs(base, Role.TRUNK).values())).train.steps
    if share := _SHARE.fullmatch(text.strip()):
        step = round(float(share[1]) / 100 * steps)
        if not 0 < step < steps:
            raise DependenceError(f"{text} of {steps} steps is no step inside of the run")
        return Role.TRUNK, base.seeds, step
    named = _STATE.fullmatch(text.strip())
    if named is None:
        raise DependenceError(f"{text!r} is no state: write a share such as 60%, or JOB@STEP")
    prefix, step = named[1], int(named[2])
    known = {role: _runs(base, role) for role in NAMES}
    found = [
        (role, seed)
        for role, runs in known.items()
        for seed, spec in runs.items()
        if spec.key.startswith(prefix)
    ]
    if len(found) != 1:
        keys = ", ".join(
            f"{spec.key[:8]} ({NAMES[role]} of seed {seed})"
            for role, runs in known.items()
            for seed, spec in runs.items()
        )
        raise DependenceError(f"{prefix} names {len(found) or 'none'} of this study's runs: {keys}")
    if not 0 < step < steps:
        raise DependenceError(f"step {step} does not lie inside of the run's {steps} steps")
    ((role, seed),) = found
    return role, (seed,), step


def _combinations(names: tuple[str, ...], design: Factorial | None) -> dict[tuple[str, ...], str]:
    """What is present in each fork, with its label."""
    if design is None:
        found = {names: "all", (): "none"}
        return found | {(name,): f"{name} alone" for name in names}
    found = {}
    for number, row in enumerate(design.signs):
        present = tuple(name for name, sign in zip(names, row, strict=True) if sign > 0)
        found[present] = f"row {number + 1} of {design.runs}"
    found[names] = "all"
    found.pop((), None)
    return {**found, (): "none"}


def _experiments(
    questions: Sequence[PlannedQuestion],
    trunks: Mapping[int, TrainSpec],
    seeds: Sequence[int],
    corpus: Corpus,
    start: int,
    end: int,
) -> Iterator[Experiment]:
    copies = {planned.question.id: 0 for planned in questions}
    inside = dict(copies)
    for seed in seeds:
        for step, sign in ((start, -1), (end, 1)):
            for question in token_ledger(trunks[seed], corpus, step):
                inside[question.question] += sign * sum(dose.seen for dose in question.doses)
                if step == end:
                    copies[question.question] += sum(dose.copies for dose in question.doses)
    for planned in questions:
        name = planned.question.id
        yield Experiment(planned=planned, copies=copies[name], inside=inside[name])
