"""Decisions and intervals on made-up measurements, whose truth is known.

Each study of a test is a contrast of its own between two of many forks, so that all of them are
judged in one call.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trainonce.analysis.dependence.contrasts import (
    Change,
    Decision,
    Reading,
    changes,
    decision,
    flips,
    together,
)
from trainonce.analysis.effects import Sample

STUDIES = 300
MARGIN = 0.2
SHARE, SPLIT, OPEN = Decision.SHARE, Decision.SPLIT, Decision.CANNOT_TELL


def many(shift: float, answer: float, spread: float, units: int = 24) -> list[Change]:
    """Changes of as many studies: all items move by ``shift``, treated ones by ``answer`` more."""
    random = np.random.default_rng(5)
    doses = np.tile([0, 8], units)
    strata = np.arange(2 * units) // 2 % 2
    before = random.normal(0, 1, 2 * units)[:, None] + random.normal(0, 0.05, (1, STUDIES))
    moved = shift + answer * (doses > 0)[:, None] + random.normal(0, spread, (2 * units, STUDIES))
    sample = Sample(np.zeros(2 * units), doses, strata)
    runs = np.concatenate([before, before + moved], axis=1)
    contrasts = np.concatenate([-np.eye(STUDIES), np.eye(STUDIES)])
    return changes(sample, runs, contrasts, random)


def share_of(decisions: list[Decision], wanted: Decision) -> float:
    return decisions.count(wanted) / len(decisions)


def decided(found: list[Change], units: int = 24) -> list[Decision]:
    return [decision(change, change.p, MARGIN, units) for change in found]


def test_without_a_change_few_are_split() -> None:
    found = many(0.0, 0.0, spread=2.0)  # too noisy to share
    assert 0.02 <= np.mean([change.level.p < 0.05 for change in found]) <= 0.085  # s. d. 0.0126
    assert 0.02 <= np.mean([change.answer.p < 0.05 for change in found]) <= 0.085
    assert share_of(decided(found), SPLIT) <= 0.085
    assert share_of(decided(found), SHARE) == 0


def test_without_a_change_and_noise_all_share() -> None:
    assert share_of(decided(many(0.0, 0.0, spread=0.05)), SHARE) == 1


@pytest.mark.parametrize(("shift", "answer"), [(MARGIN, 0.0), (-MARGIN, 0.0), (0.0, MARGIN)])
def test_a_change_as_large_as_the_margin_is_not_shared(shift: float, answer: float) -> None:
    assert share_of(decided(many(shift, answer, spread=0.1)), SHARE) <= 0.055  # 2.5 % expected


def test_a_change_that_is_sure_but_small_is_shared() -> None:
    found = many(0.05, 0.0, spread=0.05)
    assert all(change.p < 0.001 for change in found)
    assert share_of(decided(found), SHARE) == 1


@pytest.mark.parametrize(("shift", "answer"), [(1.0, 0.0), (0.0, 1.0)])
def test_a_large_change_is_split(shift: float, answer: float) -> None:
    assert share_of(decided(many(shift, answer, spread=0.3)), SPLIT) == 1


def test_intervals_cover_the_change() -> None:
    found = many(0.1, 0.3, spread=0.5)
    level = np.mean([change.level.low <= 0.1 + 0.15 <= change.level.high for change in found])
    answer = np.mean([change.answer.low <= 0.3 <= change.answer.high for change in found])
    assert 0.91 <= level <= 0.985
    assert 0.91 <= answer <= 0.985


def test_few_units_never_share() -> None:
    assert share_of(decided(many(0.0, 0.0, spread=0.05), units=9), SHARE) == 0


def test_flips_agree_with_all_flips() -> None:
    differences = np.array([0.3, -0.1, 0.8, 0.4, 0.2, -0.3, 0.5])
    signs = np.array(list(itertools.product([-1, 1], repeat=7)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    (found,) = flips(differences[:, None], np.random.default_rng(0), 9_999)
    assert found == pytest.approx(exact, abs=0.02)
    assert flips(np.zeros((5, 1)), np.random.default_rng(0), 99)[0] == 1


def test_bounded_outcomes_that_nobody_saw_change_may_still() -> None:
    """Ten items of 0 in both forks do not exclude that one of four would change."""
    doses = np.tile([0, 4], 10)
    sample = Sample(np.zeros(20), doses, np.zeros(20, dtype=np.int64), low=0.0, high=1.0)
    (found,) = changes(
        sample, np.zeros((20, 2)), np.array([[-1.0], [1.0]]), np.random.default_rng()
    )
    assert found.level.p == found.answer.p == 1
    assert found.level.low < -0.1 < 0.1 < found.level.high
    assert decision(found, 1.0, 0.1, 10) is OPEN


def test_one_decision_of_several() -> None:
    assert together([SHARE, SHARE]) is SHARE
    assert together([SHARE, OPEN]) is OPEN
    assert together([OPEN, SPLIT]) is SPLIT


def test_a_reading_reaches_to_its_outer_end() -> None:
    reading = Reading(value=-0.1, low=-0.4, high=0.2, p=0.5)
    assert reading.reach == 0.4
    assert reading.within(0.41)
    assert not reading.within(0.4)
