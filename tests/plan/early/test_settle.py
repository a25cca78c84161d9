"""The rule that a home's finished runs allow, and what it decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.plan.early.made_up_curves import Floats, arms
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.early.rule import Replay
from trainonce.plan.early.settle import (
    FinishedRun,
    Stopping,
    curve,
    curves,
    decide,
    enough,
    settle,
    settled_rule,
)
from trainonce.stream.mixture import Mixture
from trainonce.study.questions import StopEarly
from trainonce.tasks.specs.decisions import StopRule
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.settings import AdamWSettings, TrainSettings

PARTS = 16
WISH = StopEarly(chance=0.2, rungs=(0.25, 0.5))
BASE = TrainSpec(
    corpus="c",
    sequence=8,
    model=DecoderSettings(width=8, layers=1, heads=2),
    train=TrainSettings(steps=PARTS, batch=1),
    seed=1,
)


def run(rate: float, seed: int = 1) -> TrainSpec:
    """A run of the same task at another learning rate."""
    return replace(BASE, seed=seed, train=replace(BASE.train, optimizer=AdamWSettings(lr=rate)))


@dataclass
class Home:
    """A home with these runs, and what was settled there."""

    runs: list[FinishedRun]
    known: Stopping | None = None

    def finished(self, alike: Callable[[TrainSpec], bool]) -> Iterable[FinishedRun]:
        return [one for one in self.runs if alike(one.spec)]

    def settled(self, name: str) -> Stopping | None:
        return self.known if self.known and self.known.name == name else None


def made_up(count: int, random: np.random.Generator) -> list[FinishedRun]:
    found = arms(count, random)
    return [
        FinishedRun(spec=run(0.1 + number), losses=own, heldout=float(own[-1]))
        for number, own in enumerate(found)
    ]


def played(rule: StopRule | None, ends: Floats) -> Replay:
    """What the decisions of a study do to arms whose whole curves are known."""
    count = len(ends)
    living, trained, spent = np.ones(count, dtype=np.bool_), np.full(count, PARTS), 0.0
    for rung in rule.rungs if rule is not None else ():
        assert rule is not None
        seen = np.where(living[:, None], ends[:, :rung], np.nan)
        found = decide(rule, seen, living, spent)
        trained[found.stop] = rung
        living &= ~found.stop
        spent += found.chance
    best = int(np.argmin(ends[:, -1]))
    regret = float(ends[living, -1].min() - ends[best, -1])
    share = float(trained.mean() / PARTS)
    return Replay(
        checkpoints=trained, wrong=not living[best], regret=regret, share=share, spent=spent
    )


@pytest.mark.parametrize(("count", "finished"), [(2, 12), (4, 24)])
def test_the_chance_of_a_wrong_stop_is_held(count: int, finished: int) -> None:
    """120 studies of a few arms, each ten with finished recipes of their own."""
    random = np.random.default_rng(count)
    found = []
    for _ in range(12):
        known = curves(made_up(finished, random), PARTS, seeds=1)
        rule = settled_rule(WISH, known, count, PARTS)
        found += [played(rule, arms(count, random)) for _ in range(10)]
    wrong = np.mean([one.wrong for one in found])
    assert wrong <= 0.2 + 2 * np.sqrt(0.2 * 0.8 / len(found))
    assert np.mean([one.share for one in found]) < 0.85


def test_an_arm_far_worse_than_all_finished_ones_is_stopped() -> None:
    random = np.random.default_rng(0)
    known = curves(made_up(30, random), PARTS, seeds=1)
    rule = settled_rule(WISH, known, 3, PARTS)
    assert rule is not None
    ends = np.vstack([np.sort(known, axis=0)[:2], np.full(PARTS, 1e6)])
    assert played(rule, ends).checkpoints[2] < PARTS
    ends[2] = np.nan  # a run whose updates were all left out
    assert played(rule, ends).checkpoints[2] < PARTS


def test_the_last_arm_that_lives_is_never_stopped() -> None:
    known = curves(made_up(30, np.random.default_rng(1)), PARTS, seeds=1)
    rule = settled_rule(WISH, known, 2, PARTS)
    assert rule is not None
    found = decide(rule, np.full((2, 4), 9.0), np.array([False, True]), 0.0)
    assert not found.stop.any()


def test_too_few_finished_recipes_stop_nothing_and_the_plan_says_how_many_would() -> None:
    few = Home(made_up(enough(2) - 1, np.random.default_rng(2)))
    asked = [(run(50.0),), (run(51.0),)]
    found = settle(WISH, asked, few, trained=False)
    assert found.rule is None
    assert found.says == (
        "no arm is stopped early: a chance of a wrong stop of 20% is rehearsed among 10 finished "
        "recipes of this model, data and length or more, and this home has 9"
    )
    more = settle(WISH, asked, Home(made_up(10, np.random.default_rng(2))), trained=False)
    assert more.rule is not None
    assert "in rehearsals among 10 finished recipes" in more.says


def test_curves_that_tell_nothing_allow_nothing() -> None:
    """Runs that are all alike until their ends."""
    known = np.ones((40, PARTS))
    known[:, -1] = np.random.default_rng(3).standard_normal(40)
    assert settled_rule(WISH, known, 4, PARTS) is None
    home = [
        FinishedRun(spec=run(number + 1.0), losses=own, heldout=float(own[-1]))
        for number, own in enumerate(known)
    ]
    asked = [(run(50.0 + number),) for number in range(4)]
    assert "no rule held" in settle(WISH, asked, Home(home), trained=False).says


def test_own_arms_are_never_learned_from() -> None:
    """So that the rule stays when they are finished."""
    home = Home(made_up(14, np.random.default_rng(4)))
    asked = [(run(50.0),), (run(51.0),)]
    before = settle(WISH, asked, home, trained=False)
    own = [FinishedRun(spec=arm, losses=np.ones(PARTS), heldout=1.0) for (arm,) in asked]
    home.runs += own
    assert settle(WISH, asked, home, trained=False) == before


def test_what_was_settled_when_a_study_was_begun_stays() -> None:
    home = Home(made_up(12, np.random.default_rng(5)))
    asked = [(run(50.0),), (run(51.0),)]
    home.known = settle(WISH, asked, home, trained=False)
    home.runs += made_up(40, np.random.default_rng(6))[12:]
    assert settle(WISH, asked, home, trained=True) == home.known
    other = settle(StopEarly(chance=0.3, rungs=WISH.rungs), asked, home, trained=False)
    assert other.name != home.known.name


def test_arms_that_are_trained_already_have_nothing_to_stop() -> None:
    home = Home(made_up(12, np.random.default_rng(5)))
    found = settle(WISH, [(run(50.0),), (run(51.0),)], home, trained=True)
    assert (found.rule, found.says) == (
        None,
        "no arm is stopped early: all were trained before the study was begun",
    )


def test_runs_of_another_task_are_not_learned_from() -> None:
    others = [
        replace(BASE, sequence=16),
        replace(BASE, corpus="d"),
        replace(BASE, mixture=Mixture(parts="p", counts=(("a", 1), ("b", 1)))),
        replace(BASE, model=DecoderSettings(width=16, layers=1, heads=2)),
        replace(BASE, train=replace(BASE.train, steps=8)),
    ]
    finished = [FinishedRun(spec=one, losses=np.ones(PARTS), heldout=1.0) for one in others]
    found = settle(WISH, [(run(50.0),), (run(51.0),)], Home(finished), trained=False)
    assert found.says.endswith("and this home has 0")


def test_a_curve_is_the_mean_loss_of_each_part() -> None:
    losses = np.array([1.0, 3.0, np.nan, 5.0, 7.0, 8.0])
    assert curve(losses, 3, 6).tolist() == [2.0, 5.0, 7.5]
    assert curve(losses[:5], 3, 6).tolist() == [2.0, 5.0]
    assert curve(np.arange(5.0), 2, 5).tolist() == [0.5, 3.0]


def test_a_recipe_is_the_mean_over_its_seeds_and_ends_with_its_heldout_loss() -> None:
    finished = [
        FinishedRun(spec=run(1.0, seed), losses=np.full(PARTS, float(seed)), heldout=10.0 * seed)
        for seed in (3, 1, 2)
    ]
    found = curves(finished, PARTS, seeds=2)
    assert found.shape == (1, PARTS)
    assert found[0, 0] == 1.5
    assert found[0, -1] == 15.0


def test_rungs_stand_inside_the_run() -> None:
    known = curves(made_up(20, np.random.default_rng(7)), PARTS, seeds=1)
    rule = settled_rule(StopEarly(chance=0.5, rungs=(0.001, 0.26, 0.999)), known, 2, PARTS)
    assert rule is not None
    assert rule.rungs == (1, 4, 15)
    assert rule.step(4, 80) == 20
