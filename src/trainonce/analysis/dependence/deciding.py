"""From the measurements of a dependence test to a decision for each pair of experiments."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from trainonce.analysis.dependence.contrasts import Change, Decision, changes, decision, together
from trainonce.analysis.dependence.results import (
    OTHERS,
    Cell,
    Dependence,
    Examined,
    Higher,
    Interaction,
    Pair,
)
from trainonce.analysis.dependence.weights import alone, crossed
from trainonce.analysis.effects import Floats, Sample, holm
from trainonce.analysis.samples import sample_of
from trainonce.plan.dependence import Combination, DependencePlan, Experiment
from trainonce.plan.factorial import Factorial
from trainonce.plan.planned import PlannedQuestion
from trainonce.run.cache import JobCache
from trainonce.stream.corpus import Corpus
from trainonce.stream.keys import generator
from trainonce.tasks.ledger import copies
from trainonce.tasks.specs.measurements import MeasureSpec


@dataclass(frozen=True)
class Column:
    """The items of one experiment in every fork.

    Attributes:
        sample: their doses, strata and bounds.
        runs: their outcome, ``(items, forks)``.
    """

    sample: Sample
    runs: Floats


def dependence(found: DependencePlan) -> Dependence:
    """The outcome of a dependence test, all of whose jobs are finished."""
    cache = JobCache(found.plan.home)
    columns = {one.id: _column(found.runs, one.planned, cache) for one in found.experiments}
    tested = [
        Examined(
            id=one.id,
            outcome=one.planned.question.outcome.name,
            margin=one.planned.question.smallest,
            units=len(columns[one.id].sample.doses),
            fewest=_fewest(columns[one.id].sample.doses),
            copies=one.copies,
            inside=one.inside,
        )
        for one in (_counted(own, found, cache) for own in found.experiments)
    ]
    present = [run.present for run in found.runs]
    cells, joint, interactions, higher = judged(tested, columns, present, found.design)
    names = [one.id for one in tested]
    return Dependence(
        layout="factorial" if found.design else "alone",
        parent=found.parent,
        start=found.start,
        end=found.end,
        steps=found.plan.jobs[0].trained.train.steps,
        seeds=found.seeds,
        runs=len(found.runs),
        resolution=found.design.resolution if found.design else None,
        generators=_generators(found.design, names),
        experiments=tuple(tested),
        cells=tuple(cells),
        joint=tuple(joint),
        interactions=tuple(interactions),
        higher=tuple(higher),
        pairs=tuple(pairs(tested, cells, interactions)),
        run_equivalents=found.plan.checks_run_equivalents,
    )


def judged(
    tested: Sequence[Examined],
    columns: Mapping[str, Column],
    present: Sequence[tuple[str, ...]],
    design: Factorial | None,
) -> tuple[list[Cell], list[Cell], list[Interaction], list[Higher]]:
    """Cells, joint row, interactions and bounds on higher ones.

    Args:
        tested: the experiments.
        columns: their items in every fork.
        present: which experiments each fork has.
        design: the factorial that the forks follow; None where each is alone.
    """
    names = [one.id for one in tested]
    weights = crossed(names, present, design) if design else alone(names, present)
    tests = 2 * (len(names) ** 2 + len(names) * len(weights.pairs))
    cells, joint = list[Cell](), list[Cell]()
    mixed, higher = list[tuple[tuple[tuple[str, str], ...], str, Change]](), list[Higher]()
    for one in tested:
        own = {**weights.main, OTHERS: weights.joint[one.id]}
        stacked = np.stack([*own.values(), *weights.pairs.values(), *weights.higher], axis=1)
        column = columns[one.id]
        random = generator(0, one.id, "dependence")
        found = changes(column.sample, column.runs, stacked, random, tests)
        for name, change in zip(own, found, strict=False):
            row = joint if name == OTHERS else cells
            row.append(Cell(present=name, measured=one.id, change=change))
        beyond = len(own) + len(weights.pairs)
        mixed += [
            (grouped, one.id, change)
            for grouped, change in zip(weights.pairs, found[len(own) : beyond], strict=True)
        ]
        if rest := found[beyond:]:
            level, answer = (max(c.level.reach for c in rest), max(c.answer.reach for c in rest))
            higher.append(Higher(measured=one.id, columns=len(rest), level=level, answer=answer))
    corrected = holm([change.p for _, _, change in mixed])
    interactions = [
        Interaction(pairs=grouped, measured=name, change=change, p_adjusted=p)
        for (grouped, name, change), p in zip(mixed, corrected, strict=True)
    ]
    decided = _decided(tested, [*cells, *joint])
    return decided[: len(cells)], decided[len(cells) :], interactions, higher


def pairs(
    tested: Sequence[Examined], cells: Sequence[Cell], interactions: Sequence[Interaction]
) -> list[Pair]:
    """A decision for each pair: of its two cells, and of its interaction on both columns.

    An interaction that the design cannot tell from others does not split a pair, but keeps it from
    sharing.
    """
    by_name = {one.id: one for one in tested}
    decided = {(cell.present, cell.measured): cell.decision for cell in cells}
    found = []
    for first, second in itertools.combinations(by_name, 2):
        own = [decided[first, second], decided[second, first]]
        for one in interactions:
            if (first, second) in one.pairs and one.measured in (first, second):
                about = by_name[one.measured]
                told = decision(one.change, one.p_adjusted, about.margin, about.fewest)
                mixed = told is Decision.SPLIT and len(one.pairs) > 1
                own.append(Decision.CANNOT_TELL if mixed else told)
        kept = together([one for one in own if one is not None])
        found.append(Pair(first=first, second=second, decision=kept))
    return found


def _counted(one: Experiment, found: DependencePlan, cache: JobCache) -> Experiment:
    """An experiment with its copies, where a controller decided them while runs trained."""
    if one.copies:
        return one
    everything = max(found.runs, key=lambda run: len(run.present))
    specs = {job.key: job.spec for job in found.plan.jobs}
    own = []
    for key in everything.measured[one.id]:
        spec = specs[key]
        assert isinstance(spec, MeasureSpec)
        assert spec.treated is not None
        corpus = Corpus(cache.home / "corpora" / spec.trained.corpus)
        own.append(
            copies(spec.trained, spec.treated, corpus, decided=cache.decided(spec.measured)).steps
        )
    steps = np.concatenate(own)
    inside = (steps >= found.start) & (steps < found.end)
    return replace(one, copies=int((steps < found.end).sum()), inside=int(inside.sum()))


def _decided(tested: Sequence[Examined], cells: Sequence[Cell]) -> list[Cell]:
    """Cells with their corrected p-values and decisions, off the diagonal."""
    by_name = {one.id: one for one in tested}
    off = [number for number, cell in enumerate(cells) if cell.present != cell.measured]
    corrected = dict(zip(off, holm([cells[number].change.p for number in off]), strict=True))
    found = []
    for number, cell in enumerate(cells):
        p = corrected.get(number)
        about = by_name[cell.measured]
        told = None if p is None else decision(cell.change, p, about.margin, about.fewest)
        absent = cell.present in by_name and by_name[cell.present].inside == 0
        if absent and told is Decision.SHARE:  # nothing was switched
            told = Decision.CANNOT_TELL
        found.append(replace(cell, p_adjusted=p, decision=told))
    return found


def _generators(design: Factorial | None, names: Sequence[str]) -> tuple[str, ...]:
    found = design.generators if design else ()
    return tuple(f"{names[one]} = {' '.join(names[bit] for bit in word)}" for one, word in found)


def _fewest(doses: npt.NDArray[np.int64]) -> int:
    return min(int((doses == 0).sum()), int((doses == doses.max()).sum()))


def _column(runs: Sequence[Combination], planned: PlannedQuestion, cache: JobCache) -> Column:
    outcome, name = planned.question.outcome, planned.question.id
    samples = []
    for run in runs:
        rows = pl.concat([cache.rows(key) for key in run.measured[name]])
        samples.append(sample_of(rows.filter(pl.col("outcome") == outcome.name), outcome))
    return Column(samples[0], np.stack([sample.values for sample in samples], axis=1))
