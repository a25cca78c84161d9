"""Checks of averages against literal counts over all orders."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from trainonce.analysis.averages import Checked, average_checks, errors, ranks
from trainonce.analysis.effects import Floats
from trainonce.analysis.refutations import failed
from trainonce.plan.planned import PlannedArm, PlannedQuestion
from trainonce.study.load import placebo
from trainonce.study.schema import Strategy

LEVELS = st.lists(st.floats(1, 5), min_size=2, max_size=5, unique=True)


def pairs(averaged: list[float], real: list[float]) -> list[Checked]:
    """Mixtures at one seed."""
    return [Checked(np.array([a]), np.array([r])) for a, r in zip(averaged, real, strict=True)]


def experts(*levels: float) -> list[Floats]:
    return [np.array([level]) for level in levels]


@hypothesis_settings(deadline=None, max_examples=25)
@given(averaged=LEVELS, data=st.data())
def test_the_correlation_is_spearmans_and_p_an_exact_share(
    averaged: list[float], data: st.DataObject
) -> None:
    size = len(averaged)
    real = data.draw(st.lists(st.floats(1, 5), min_size=size, max_size=size, unique=True))
    found = ranks(pairs(averaged, real), [])
    assert found.value == pytest.approx(stats.spearmanr(averaged, real).statistic)
    values = [stats.spearmanr(order, real).statistic for order in permutations(averaged)]
    exact = np.mean(np.array(values) >= found.value - 1e-9)
    assert f"in {exact:.2g} of all orders (exact" in found.says


@pytest.mark.parametrize(
    ("averaged", "real", "held"),
    [
        ([1, 2], [1, 2], None),  # 1 of 2 orders: too few mixtures to tell
        ([1, 2, 3], [3, 2, 1], None),
        ([1, 2, 3, 4], [5, 6, 7, 8], True),  # 1 of 24
        ([1, 2, 3, 4], [8, 7, 6, 5], False),
        ([1, 2, 3, 4], [5, 7, 6, 8], None),  # as good by chance in 4 of 24
        ([2, 2, 2, 2], [5, 7, 6, 8], False),
    ],
)
def test_ranks_hold_only_where_chance_is_excluded(
    averaged: list[float], real: list[float], held: bool | None
) -> None:
    found = ranks(pairs(averaged, real), [])
    assert found.held is held
    assert ("too few to tell" in found.says) == (len(averaged) < 4)


def test_experts_take_part_in_the_ranks_and_not_in_the_orders() -> None:
    """They fit by construction: two checked mixtures tell no more with them than without."""
    with_experts = ranks(pairs([1.0, 2.0], [1.0, 2.0]), experts(0.5, 3.0))
    assert with_experts.value == pytest.approx(1.0)
    assert with_experts.held is None
    assert "over 2 mixtures trained for real with 2 experts" in with_experts.says
    assert "0.5 of all orders (exact, too few to tell)" in with_experts.says
    wrong = ranks(pairs([2.0, 1.0], [1.0, 2.0]), experts(0.5, 3.0))
    assert wrong.value == pytest.approx(0.8)


def test_experts_do_not_hide_mixtures_in_the_wrong_order() -> None:
    found = ranks(pairs([1.4, 1.3, 1.2, 1.1], [1.1, 1.2, 1.3, 1.4]), experts(0.5, 3.0))
    assert found.value > 0
    assert found.held is False


def test_ranks_are_of_means_over_seeds() -> None:
    """Seeds of one mixture are no new mixtures."""
    checked = [Checked(np.array([1.0, 5.0]), np.array([1.0, 5.0])) for _ in range(2)]
    assert ranks(checked, []).value == 0.0


def test_many_mixtures_are_permuted_by_draw() -> None:
    levels = [float(number) for number in range(9)]
    found = ranks(pairs(levels, levels), [])
    assert found.held is True
    assert "(drawn)" in found.says


@pytest.mark.parametrize(
    ("averaged", "held"),
    [
        ([[1.001, 2.0], [3.0, 4.001]], True),
        ([[1.5, 2.5], [3.51, 4.5]], False),
        ([[1.5, 2.0], [3.0, 4.0]], None),
    ],
)
def test_errors_are_told_by_their_interval_over_seeds(
    averaged: list[list[float]], held: bool | None
) -> None:
    real = np.array([[1.0, 2.0], [3.0, 4.0]])
    checked = [Checked(np.array(a), r) for a, r in zip(averaged, real, strict=True)]
    found = errors(checked, smallest=0.02)
    differences = np.array(averaged) - real
    assert found.value == pytest.approx(differences.mean())
    wanted = stats.t.interval(
        0.95, 1, differences.mean(), stats.sem(differences.mean(axis=0)) or 1e-300
    )
    assert (found.low, found.high) == pytest.approx(wanted)
    assert found.held is held


def test_one_seed_shows_no_interval() -> None:
    found = errors(pairs([1.1, 2.3], [1.0, 2.0]), smallest=0.02)
    assert (found.low, found.high, found.held) == (None, None, None)
    assert found.value == pytest.approx(0.2)
    assert "one seed shows no spread" in found.says
    assert "+0.3 at worst" in found.says


@pytest.mark.parametrize(("decides", "refutes"), [("average", True), ("expert", False)])
def test_what_averages_are_worth_refutes_no_run(decides: str, refutes: bool) -> None:
    levels = {"a": 1.0, "a real": 2.0, "expert": 3.0}
    average = PlannedArm(label="a", measured=("a", "a"), real=("a real", "a real"))
    expert = PlannedArm(label="e", measured=("expert",) * 2, real=("expert",) * 2)
    planned = PlannedQuestion(
        question=placebo(),
        strategy=Strategy.AVERAGE,
        detectable_effect=None,
        units=2,
        assumptions=(),
        arms=(average, expert) if decides == "expert" else (expert, average),
    )
    _, level = average_checks(planned, lambda keys: np.array([levels[key] for key in keys]))
    assert level.value == -1.0
    assert level.held is False
    assert [*failed((level,))] == ([level.name] if refutes else [])
