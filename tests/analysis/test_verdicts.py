from __future__ import annotations

import itertools

import pytest

from trainonce.analysis.effects import Estimate
from trainonce.analysis.verdicts import (
    FEWEST_RUNS,
    Verdict,
    standing,
    verdict,
    verdict_of_diverged,
    verdict_of_stopped,
)

YES, NO, OPEN = Verdict.YES, Verdict.NO, Verdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("low", "high", "p", "direction", "expected"),
    [
        (0.2, 0.6, 0.001, 1, YES),
        (-0.6, -0.2, 0.001, -1, YES),
        (0.2, 0.6, 0.2, 1, OPEN),  # the trend is not sure
        (-0.1, 0.6, 0.01, 1, OPEN),  # the top dose is not sure
        (-0.6, -0.2, 0.001, 1, NO),  # sure, but the other way
        (0.01, 0.05, 0.001, 1, NO),  # sure, but too small to matter
        (-0.05, 0.05, 0.9, 1, NO),
        (-0.4, 0.05, 0.9, 1, NO),  # nothing in the expected direction
        (-0.4, 0.05, 0.9, 0, OPEN),  # either direction would have counted
        (-0.05, 0.05, 0.9, 0, NO),
        (-0.6, -0.2, 0.001, 0, YES),
    ],
)
def test_the_rule(low: float, high: float, p: float, direction: int, expected: Verdict) -> None:
    effect = Estimate((low + high) / 2, low, high)
    assert verdict(effect, p, direction, smallest=0.1, units=12) is expected


def test_few_units_exclude_nothing() -> None:
    effect = Estimate(0.0, -0.02, 0.02)
    assert verdict(effect, 1.0, 1, smallest=0.1, units=10) is NO
    assert verdict(effect, 1.0, 1, smallest=0.1, units=9) is OPEN


def test_two_pairs_of_runs_may_exclude_and_one_may_not() -> None:
    effect = Estimate(0.0, -0.02, 0.02)
    assert verdict(effect, 1.0, 0, smallest=0.1, units=2, fewest=FEWEST_RUNS) is NO
    assert verdict(effect, 1.0, 0, smallest=0.1, units=1, fewest=FEWEST_RUNS) is OPEN


def test_without_an_interval_nothing_is_told() -> None:
    effect = Estimate(3.0, float("-inf"), float("inf"))
    for direction in (1, -1, 0):
        assert verdict(effect, 1.0, direction, 0.1, units=1, fewest=FEWEST_RUNS) is OPEN


def test_a_stopped_arm_is_a_no_only_where_a_lower_loss_was_expected() -> None:
    """What held at the rung stands for the end only where it is why the arm was stopped."""
    assert verdict_of_stopped(Verdict.NO, -1) is Verdict.NO
    for found, direction in itertools.product(Verdict, (-1, 0, 1)):
        if (found, direction) != (Verdict.NO, -1):
            assert verdict_of_stopped(found, direction) is Verdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("direction", "diverged", "runs", "expected"),
    [
        (-1, 2, 2, Verdict.NO),
        (-1, 3, 3, Verdict.NO),
        (-1, 1, 1, Verdict.CANNOT_TELL),  # one run, as for every verdict on runs
        (-1, 2, 3, Verdict.CANNOT_TELL),
        (0, 3, 3, Verdict.CANNOT_TELL),
        (1, 3, 3, Verdict.CANNOT_TELL),
    ],
)
def test_an_arm_that_diverged_at_every_seed_did_not_lower_the_loss(
    direction: int, diverged: int, runs: int, expected: Verdict
) -> None:
    assert verdict_of_diverged(direction, diverged, runs) is expected


@pytest.mark.parametrize("found", [YES, NO])
def test_a_verdict_whose_tests_did_not_hold_cannot_be_told(found: Verdict) -> None:
    assert standing(found, []) == (found, "")
    told, reason = standing(found, ["A/A", "dependence"])
    assert told is OPEN
    assert reason == f"It would be {found}, but did not hold: A/A, dependence."


def test_what_could_not_be_told_stays_so() -> None:
    assert standing(OPEN, ["A/A"]) == (OPEN, "What it rests on did not hold: A/A.")
    assert standing(OPEN, []) == (OPEN, "")
