from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.plan.early.made_up_curves import AFTER, CHECKPOINTS, arms, unknown
from trainonce.plan.early.calibration import rehearsed
from trainonce.plan.early.prediction import Prediction, fit_predictors
from trainonce.plan.early.rule import Replay, replay
from trainonce.plan.early.stopping import Predictive, ending_best

MANY = 8


def rule(random: np.random.Generator, finished: int = 60, spend: float = 0.05) -> Predictive:
    predictors = fit_predictors(arms(finished, random), unknown(finished), AFTER)
    return Predictive(predictors=predictors, features=unknown(MANY), spend=spend, chance=spend)


def test_the_chance_to_end_best_of_two_arms() -> None:
    """Of two normal ends it is the normal's of their standardized difference."""
    found = ending_best(
        Prediction(means=np.array([0.0, 0.3]), spreads=np.array([0.2, 0.1]), freedom=1e4)
    )
    expected = stats.norm.cdf(0.3 / np.hypot(0.2, 0.1))
    assert found[0] == pytest.approx(expected, abs=0.02)
    assert found.sum() == pytest.approx(1, abs=2e-3)


def test_a_better_rival_never_raises_the_chance_to_end_best() -> None:
    chances = [
        ending_best(Prediction(means=np.array([1.0, rival]), spreads=np.full(2, 0.3), freedom=30))[
            0
        ]
        for rival in np.linspace(2, 0, 9)
    ]
    assert chances == sorted(chances, reverse=True)


def test_nothing_to_spend_stops_nothing() -> None:
    random = np.random.default_rng(0)
    assert replay(rule(random, spend=0.0), arms(MANY, random)).share == 1.0


def test_more_to_spend_never_trains_more() -> None:
    random = np.random.default_rng(1)
    first = rule(random)
    curves = [arms(MANY, random) for _ in range(20)]
    shares = [
        np.mean([replay(replace(first, spend=spend), one).share for one in curves])
        for spend in (0.0, 0.01, 0.05, 0.2, 0.5)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.5


def test_what_is_spent_stays_within_and_is_shared_out_over_the_study() -> None:
    random = np.random.default_rng(2)
    tested = rule(random, spend=0.08)
    curves = arms(MANY, random)
    living, spent = np.ones(MANY, dtype=np.bool_), 0.0
    for seen in range(1, CHECKPOINTS):
        decision = tested.decide(curves[:, :seen], living, spent)
        living &= ~decision.stop
        spent += decision.chance
        assert spent <= 0.08 * sum(after <= seen for after in AFTER) / len(AFTER) + 1e-12
        assert living.any()
    assert spent > 0
    assert replay(tested, curves).spent == pytest.approx(spent)


def test_stopped_arms_are_not_looked_at() -> None:
    random = np.random.default_rng(3)
    tested, curves = rule(random), arms(MANY, random)[:, :8]
    living = np.arange(MANY) < 5
    hidden = curves.copy()
    hidden[5:] = np.nan
    plain, blind = (tested.decide(c, living, 0.0) for c in (curves, hidden))
    assert plain.stop.tolist() == blind.stop.tolist()
    assert not plain.stop[5:].any()


def test_too_few_finished_curves_stop_nothing() -> None:
    random = np.random.default_rng(4)
    for finished in (3, 12):
        learned = arms(finished, random)
        found = rehearsed(learned, unknown(finished), unknown(MANY), AFTER, chance=0.2)
        assert (found.spend, found.chance) == (0.0, 0.0)
        assert replay(found, arms(MANY, random)).share == 1.0


def played(rehearsals: int, chance: float, seed: int) -> list[Replay]:
    """Ten studies of 8 arms after each rehearsal, which has 40 finished curves of its own."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(rehearsals):
        tested = rehearsed(arms(40, random), unknown(40), unknown(MANY), AFTER, chance)
        found += [replay(tested, arms(MANY, random)) for _ in range(10)]
    return found


def test_rehearsed_rules_save_steps_at_the_stated_chance() -> None:
    found = played(1, chance=0.2, seed=5)
    assert sum(one.wrong for one in found) <= 5
    assert np.mean([one.share for one in found]) < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("chance", [0.05, 0.2])
def test_the_chance_of_a_wrong_stop_is_held(chance: float) -> None:
    """Wrong in no more of 2,000 studies than stated, sampling error aside.

    Ten studies share a rehearsal, so that the error is that of some 1,000.
    """
    found = played(200, chance, seed=6)
    wrong = np.mean([one.wrong for one in found])
    assert wrong <= chance + 2 * np.sqrt(chance * (1 - chance) / 1000)
    assert np.mean([one.share for one in found]) < 0.75


@pytest.mark.parametrize("finished", [40, 100])
def test_what_the_rule_says_that_it_spends_is_what_goes_wrong(finished: int) -> None:
    random = np.random.default_rng(finished)
    found = [replay(rule(random, finished, spend=0.3), arms(MANY, random)) for _ in range(60)]
    wrong, stated = np.mean([o.wrong for o in found]), np.mean([o.spent for o in found])
    assert wrong <= stated + 2 * np.sqrt(stated / len(found))
    assert stated <= 0.3
