from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainonce.train.schedules import Cosine, Schedule, WarmupStableDecay


@pytest.mark.parametrize("schedule", [WarmupStableDecay(), Cosine(), Cosine(warmup=0.0)])
@given(total=st.integers(1, 5000), data=st.data())
def test_a_factor_is_a_share_and_never_zero_before_the_end(
    schedule: Schedule, total: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, total - 1))
    assert 0 < schedule(step, total) <= 1


def test_warmup_stable_decay_by_hand() -> None:
    schedule = WarmupStableDecay(warmup=0.1, decay=0.2)
    factors = [schedule(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9:80] == [1.0] * 71
    assert factors[80] == pytest.approx(1.0)
    assert factors[90] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.05)


def test_cosine_by_hand() -> None:
    schedule = Cosine(warmup=0.1, floor=0.1)
    assert schedule(55, 100) == pytest.approx(0.1 + 0.9 * 0.5)
    assert schedule(99, 100) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 89 / 90)))
