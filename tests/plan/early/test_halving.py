from __future__ import annotations

import numpy as np
import pytest

from tests.plan.early.made_up_curves import CHECKPOINTS, arms
from trainonce.plan.early.calibration import boldest, calibrated_halving
from trainonce.plan.early.halving import Halving, rungs
from trainonce.plan.early.rule import Replay, replay

KEEPS = (0.25, 0.5, 0.75, 1.0)


def test_the_best_half_goes_on_at_each_rung() -> None:
    """Eight arms in the order of their numbers: 8, 4, 2 and 1 are left after 2, 4 and 8 of 16."""
    curves = np.arange(8.0)[:, None] + np.linspace(1, 0, 16)
    found = replay(Halving(rungs=(2, 4, 8)), curves)
    assert found.checkpoints.tolist() == [16, 8, 4, 4, 2, 2, 2, 2]
    assert found.share == (16 + 8 + 2 * 4 + 4 * 2) / (8 * 16)
    assert (found.wrong, found.regret) == (False, 0.0)


def test_an_arm_that_starts_badly_and_ends_best_is_a_wrong_stop() -> None:
    curves = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 0.4], [3.0, 3.0, 3.0], [4.0, 4.0, 4.0]])
    found = replay(Halving(rungs=(1,), keep=0.25, chance=0.3), curves)
    assert found.wrong
    assert (found.regret, found.spent) == pytest.approx((0.6, 0.3))


def test_keeping_all_stops_none_and_one_arm_is_always_left() -> None:
    curves = arms(5, np.random.default_rng(0))
    assert replay(Halving(rungs=(2, 4, 8), keep=1.0), curves).share == 1.0
    least = replay(Halving(rungs=(2, 4, 8), keep=0.01), curves)
    assert (least.checkpoints == CHECKPOINTS).sum() == 1


def test_rungs_double() -> None:
    assert rungs(16) == (2, 4, 8)
    assert rungs(3, first=0.1) == (1, 2)


def test_a_chance_that_few_studies_cannot_hold_keeps_all_arms() -> None:
    """Eighteen studies without a wrong stop bound its chance by 1 in 19, which is over 5 %."""
    random = np.random.default_rng(0)
    orders = [random.permutation(np.arange(8.0)) for _ in range(19)]
    clear = [np.tile(order[:, None], (1, CHECKPOINTS)) for order in orders]
    assert calibrated_halving(Halving(rungs=(2,)), KEEPS, clear[:18], 0.05).keep == 1.0
    assert calibrated_halving(Halving(rungs=(2,)), KEEPS, clear, 0.05).keep == 0.25


def test_a_bolder_setting_is_no_safer_than_a_more_cautious_one() -> None:
    """Wrong once at the cautious setting is wrong at all bolder ones, so that these are refused."""

    def play(setting: float, study: int) -> Replay:
        wrong = setting == 1 and study < 5
        return Replay(checkpoints=np.ones(1, np.int64), wrong=wrong, regret=0, share=0.5, spent=0)

    found = boldest(play, [0, 1, 2], studies=99, chance=0.05)
    assert found is not None
    assert (found.setting, found.chance) == (0, 0.01)


def test_the_chance_of_a_wrong_stop_is_held() -> None:
    """50 calibrations on 40 studies each: wrong in the next ones at most as often as stated."""
    random = np.random.default_rng(3)
    rule = Halving(rungs=rungs(CHECKPOINTS))
    wrong, stated = [], []
    for _ in range(50):
        studies = [arms(6, random) for _ in range(40)]
        found = calibrated_halving(rule, KEEPS, studies, 0.2)
        wrong += [replay(found, arms(6, random)).wrong for _ in range(8)]
        stated.append(found.chance)
    assert max(stated) <= 0.2
    assert np.mean(wrong) <= 0.2 + 2 * np.sqrt(0.2 * 0.8 / len(wrong))
    assert np.mean(wrong) > 0
