from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from trainonce.analysis.runs import Arm, compared, paired_p, spread, t_interval
from trainonce.methods.registry import Outcome

OUTCOME = Outcome(name="loss", says="a loss", direction=0, smallest=0.1, spread=0.2)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    for pairs in (2, 3, 6):
        draws = random.normal(0.7, 2.0, (4000, pairs))
        found = [t_interval(values) for values in draws]
        held = np.mean([one.low <= 0.7 <= one.high for one in found])
        assert held == pytest.approx(0.95, abs=0.012)


def test_p_is_that_of_a_paired_t_test() -> None:
    random = np.random.default_rng(4)
    for pairs in (2, 3, 9):
        arm, base = random.normal(0, 1, (2, pairs))
        assert paired_p(arm - base) == pytest.approx(stats.ttest_rel(arm, base).pvalue)


def test_p_and_interval_agree() -> None:
    """An interval at 1 - p ends at 0."""
    differences = np.array([0.3, 0.1, 0.25])
    found = t_interval(differences, level=1 - paired_p(differences))
    assert found.low == pytest.approx(0, abs=1e-12)


def test_runs_that_are_the_same_have_no_effect_and_no_width() -> None:
    same = np.array([3.5, 3.6, 3.4])
    found = compared([Arm("the base run", same), Arm("clip 2", same)], OUTCOME)
    assert (found.estimate, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_what_differs_between_seeds_drops_out_of_pairs() -> None:
    base = np.array([1.0, 5.0, 9.0])
    arm = base + np.array([0.1, 0.12, 0.11])
    found = compared([Arm("the base run", base), Arm("a", arm)], OUTCOME)
    assert found.estimate == pytest.approx(0.11)
    assert found.high - found.low < 0.06
    assert found.p < 0.01
    level = found.doses[1]
    assert level.high - level.low > 15  # the level itself is as uncertain as seeds differ
    assert spread(found) == pytest.approx(0.01)


def test_every_arm_is_compared_and_the_last_decides() -> None:
    base = np.array([1.0, 2.0, 3.0])
    arms = [Arm("base", base), Arm("a", base + 1), Arm("b", base - np.array([0.2, 0.3, 0.1]))]
    found = compared(arms, OUTCOME)
    assert [dose.label for dose in found.doses] == ["base", "a", "b"]
    assert [dose.dose for dose in found.doses] == [0, 1, 2]
    assert [dose.effect for dose in found.doses] == pytest.approx([0, 1, -0.2])
    assert found.doses[2].points == pytest.approx([-0.2, -0.3, -0.1])
    assert found.estimate == found.doses[2].effect
    assert found.p == found.doses[2].p
    assert found.doses[0].p is None


def test_one_seed_has_no_interval() -> None:
    found = compared([Arm("base", np.array([2.0])), Arm("a", np.array([1.0]))], OUTCOME)
    assert (found.estimate, found.p) == (-1.0, 1.0)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert spread(found) is None
