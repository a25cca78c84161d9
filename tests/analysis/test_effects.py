from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainonce.analysis.effects import Estimate, Sample, difference, holm, mean, trend


def sample(values: list[float], doses: list[int], strata: list[int] | None = None) -> Sample:
    return Sample(
        np.array(values, dtype=np.float64),
        np.array(doses, dtype=np.int64),
        np.array(strata or [0] * len(values), dtype=np.int64),
        low=0.0,
        high=1.0,
    )


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_permutation_test_agrees_with_all_permutations() -> None:
    values, doses = [0.1, 0.5, 0.4, 0.9, 0.3, 0.8], [0, 0, 2, 2, 8, 8]
    scores = np.log2(1 + np.array(doses, dtype=float))
    scores -= scores.mean()
    centred = np.array(values) - np.mean(values)
    observed = abs(scores @ centred)
    dealt = [abs(np.array(order) @ centred) for order in itertools.permutations(scores)]
    exact = np.mean([statistic >= observed * (1 - 1e-9) for statistic in dealt])
    assert trend(sample(values, doses), random()) == pytest.approx(exact, abs=0.02)


def test_doses_are_dealt_within_strata() -> None:
    """A difference between strata that goes with the dose is no effect of the dose."""
    generator = random(1)
    strata = [0] * 40 + [1] * 40
    doses = [0] * 30 + [4] * 10 + [0] * 10 + [4] * 30
    values = [stratum + generator.normal(0, 0.1) for stratum in strata]
    assert trend(sample(values, doses), random()) < 0.001  # one stratum: confounded
    assert trend(sample(values, doses, strata), random()) > 0.05


def test_under_no_effect_few_p_values_are_small() -> None:
    generator = random(2)
    p_values = [
        trend(sample(generator.normal(size=24).tolist(), [0, 2, 8, 32] * 6), random(i))
        for i in range(200)
    ]
    rejected = sum(p < 0.05 for p in p_values)
    assert 2 <= rejected <= 20  # 10 expected, standard deviation 3.1


@pytest.mark.parametrize("units", [8, 24])
def test_intervals_of_an_effect_cover_it(units: int) -> None:
    generator = random(3)
    covered = 0
    for trial in range(300):
        control = sample(generator.normal(1.0, 0.5, units).tolist(), [0] * units)
        treated = sample(generator.normal(1.3, 0.3, units).tolist(), [4] * units)
        effect = difference(mean(treated, random(trial)), mean(control, random(trial + 1000)))
        covered += effect.low <= 0.3 <= effect.high
    assert 0.92 <= covered / 300 <= 0.98  # 0.95, standard deviation 0.0126


def test_intervals_of_a_rate_cover_it() -> None:
    generator = random(4)
    covered = 0
    for trial in range(300):
        control = sample(generator.binomial(1, 0.3, 24).astype(float).tolist(), [0] * 24)
        treated = sample(generator.binomial(1, 0.8, 24).astype(float).tolist(), [4] * 24)
        effect = difference(mean(treated, random(trial)), mean(control, random(trial + 1000)))
        covered += effect.low <= 0.5 <= effect.high
    assert 0.91 <= covered / 300 <= 0.985


def test_a_rate_that_was_never_seen_may_still_be_there() -> None:
    """With 0 of n the upper limit is that of the binomial: 1 - (alpha / 2) ** (1 / n)."""
    found = mean(sample([0.0] * 10, [0] * 10), random())
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_a_difference_by_hand() -> None:
    found = difference(Estimate(0.8, 0.7, 0.9), Estimate(0.2, 0.1, 0.4))
    assert found.value == pytest.approx(0.6)
    assert found.low == pytest.approx(0.6 - math.hypot(0.1, 0.2))
    assert found.high == pytest.approx(0.6 + math.hypot(0.1, 0.1))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_against_its_definition(p_values: list[float]) -> None:
    ordered = sorted(p_values)
    expected = {
        p: min(1.0, max((len(ordered) - i) * ordered[i] for i in range(ordered.index(p) + 1)))
        for p in ordered
    }
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert adjusted == pytest.approx(expected[p])
        assert adjusted >= p


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=30), seed=st.integers(0, 5))
def test_an_interval_holds_its_mean(values: list[float], seed: int) -> None:
    found = mean(sample(values, [0] * len(values)), random(seed))
    assert found.low <= found.value <= found.high
