"""How a question's losing arms are stopped, settled once from the runs that a home holds finished.

It must not change when runs finish later, those of the question among them: a study that is begun
goes on by the rule that it began with. So its own arms are never learned from, and once a study is
begun the home remembers the rule under the arms' name.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from trainonce.plan.early.calibration import rehearsed
from trainonce.plan.early.prediction import FEWEST, fit_predictors
from trainonce.plan.early.rule import Decision, Flags, Floats
from trainonce.plan.early.stopping import Predictive
from trainonce.study.questions import StopEarly
from trainonce.tasks.specs.decisions import StopRule
from trainonce.tasks.specs.runs import TrainSpec

CHECKPOINTS = 16
"""Parts of a run whose mean losses are its curve; rungs stand at the end of one."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run that was trained to its end.

    Attributes:
        spec: the run.
        losses: ``(steps,)`` before each update.
        heldout: its held-out loss at the end.
    """

    spec: TrainSpec
    losses: Floats
    heldout: float


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """What was settled for a question.

    Attributes:
        name: of its arms and its wishes; a home remembers what was settled under it.
        rule: None where nothing is stopped.
        says: why, in a sentence.
    """

    name: str
    rule: StopRule | None
    says: str


class History(Protocol):
    """What a home holds from before."""

    def finished(self, alike: Callable[[TrainSpec], bool]) -> Iterable[FinishedRun]:
        """The finished runs that are ``alike``, in an order that does not depend on when."""

    def settled(self, name: str) -> Stopping | None:
        """What was settled under ``name`` when a study with it was begun."""


class NoHistory:
    """A home that holds nothing."""

    def finished(self, _alike: Callable[[TrainSpec], bool]) -> Iterable[FinishedRun]:
        """No runs."""
        return ()

    def settled(self, _name: str) -> Stopping | None:
        """Nothing."""
        return None


def settle(
    wish: StopEarly, runs: Sequence[Sequence[TrainSpec]], history: History, *, trained: bool
) -> Stopping:
    """How arms are stopped that are compared with each other.

    Args:
        wish: what the study says.
        runs: those of each arm, a seed each.
        history: where finished runs are found.
        trained: whether all arms are trained already.
    """
    name = _name(wish, runs)
    before = history.settled(name)
    if before is not None:
        return before
    if trained:
        says = "no arm is stopped early: all were trained before the study was begun"
        return Stopping(name=name, rule=None, says=says)
    own = {run.name for arm in runs for run in arm}
    found = list(history.finished(lambda run: _alike(run, runs) and run.name not in own))
    parts = min(CHECKPOINTS, runs[0][0].train.steps)
    known = curves(found, parts, seeds=len(runs[0]))
    rule = settled_rule(wish, known, len(runs), parts)
    return Stopping(name=name, rule=rule, says=_says(wish, rule, len(known), len(runs)))


def settled_rule(wish: StopEarly, known: Floats, arms: int, parts: int) -> StopRule | None:
    """The rule that finished curves allow for so many arms; None when they allow none to stop.

    Args:
        wish: what the study says.
        known: ``(finished, parts)`` curves.
        arms: how many will be compared.
        parts: of a run.
    """
    rungs = tuple(sorted({min(max(1, round(s * parts)), parts - 1) for s in wish.rungs}))
    if parts < 2 or len(known) < enough(arms):
        return None
    nothing = np.zeros((len(known), 0))
    found = rehearsed(known, nothing, np.zeros((arms, 0)), rungs, wish.chance)
    if not found.spend or found.share == 1:
        return None
    return StopRule(
        checkpoints=parts,
        rungs=rungs,
        spend=found.spend,
        chance=found.chance,
        share=found.share,
        curves=tuple(tuple(map(float, one)) for one in known),
    )


def enough(arms: int) -> int:
    """Finished curves from which a rule for so many arms can be rehearsed.

    In each rehearsal some stand for the arms, and predictions are learned from the others; with
    fewer than three studies' worth the rehearsals would be too much alike to tell a chance.
    """
    return max(arms + FEWEST, 3 * arms)


def decide(rule: StopRule, seen: Floats, living: Flags, spent: float) -> Decision:
    """Which arms stop after a rung.

    An arm that is worse than every finished one counts as the worst of these: predictions are made
    for what they were learned from only.

    Args:
        rule: as settled.
        seen: ``(arms, parts so far)`` curves; not looked at where an arm is not living.
        living: ``(arms,)`` which have neither been stopped nor diverged.
        spent: the chances of the decisions before, summed.
    """
    known = np.array(rule.curves)
    nothing = np.zeros((len(known), 0))
    so_far = known[:, : seen.shape[1]]
    worst = so_far[np.argmax(so_far[:, -1])]
    beyond = ~(seen <= worst[-1])[:, -1:]  # or no number
    predictive = Predictive(
        predictors=fit_predictors(known, nothing, rule.rungs),
        features=np.zeros((len(seen), 0)),
        spend=rule.spend,
        chance=rule.chance,
    )
    return predictive.decide(np.where(beyond, worst, seen), living, spent)


def curve(losses: Floats, parts: int, steps: int) -> Floats:
    """The mean loss of each whole part of a run of ``steps`` that ``losses`` hold.

    Losses that are not finite, whose updates were left out, do not count.
    """
    edges = [part * steps // parts for part in range(parts + 1)]
    whole = [(a, b) for a, b in itertools.pairwise(edges) if b <= len(losses)]
    pieces = [losses[a:b][np.isfinite(losses[a:b])] for a, b in whole]
    return np.array([piece.mean() if len(piece) else np.nan for piece in pieces])


def curves(runs: Iterable[FinishedRun], parts: int, seeds: int) -> Floats:
    """``(recipes, parts)`` the curve of each recipe, over ``seeds`` of its runs at most.

    A study's arm is the mean over its seeds as well. What a run inserted does not make a recipe.
    """
    groups: dict[str, dict[int, Floats]] = {}
    for run in runs:
        own = curve(run.losses, parts, run.spec.train.steps)
        own[-1] = run.heldout
        recipe = replace(run.spec, seed=0, treatments=()).name
        if np.isfinite(own).all():
            groups.setdefault(recipe, {}).setdefault(run.spec.seed, own)
    found = [
        np.mean([own for _, own in sorted(group.items())][:seeds], axis=0)
        for _, group in sorted(groups.items())
    ]
    return np.array(found) if found else np.zeros((0, parts))


def _alike(run: TrainSpec, runs: Sequence[Sequence[TrainSpec]]) -> bool:
    """Whether a run is of the arms' task: their data, models and length."""
    first = runs[0][0]
    same = ("corpus", "sequence", "attention", "objective", "mixture")
    models = [(arm[0].model, arm[0].model_files) for arm in runs]
    return (
        run.fork is None
        and all(getattr(run, name) == getattr(first, name) for name in same)
        and (run.train.steps, run.train.batch) == (first.train.steps, first.train.batch)
        and (run.model, run.model_files) in models
    )


def _name(wish: StopEarly, runs: Sequence[Sequence[TrainSpec]]) -> str:
    names = [[run.name for run in arm] for arm in runs]
    text = json.dumps([wish.chance, list(wish.rungs), names])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _says(wish: StopEarly, rule: StopRule | None, known: int, arms: int) -> str:
    allowed = f"a chance of a wrong stop of {wish.chance:.0%}"
    if rule is not None:
        rungs = " and ".join(f"{rung / rule.checkpoints:.0%}" for rung in rule.rungs)
        return (
            f"losing arms are stopped after {rungs} of the run: in rehearsals among {known} "
            f"finished recipes the arm that ended best was stopped with a chance of at most "
            f"{rule.chance:.1%} (allowed: {wish.chance:.0%}), and {rule.share:.0%} of the arms' "
            "steps were trained; it holds for arms that are like those"
        )
    if known < enough(arms):
        return (
            f"no arm is stopped early: {allowed} is rehearsed among {enough(arms)} finished "
            f"recipes of this model, data and length or more, and this home has {known}"
        )
    return (
        f"no arm is stopped early: in rehearsals among {known} finished recipes no rule held "
        f"{allowed} and stopped anything; more finished recipes, or a larger chance, may allow one"
    )
