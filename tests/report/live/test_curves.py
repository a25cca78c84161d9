"""Lines grow, and stay where they are while nothing forces them to move."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainonce.report.live.curves import GRID, Losses, Run, _axis, _points, _thinned
from trainonce.run.cache import JobCache
from trainonce.run.status import JobStatus


def running(step: int, loss: float, state: str = "running") -> JobStatus:
    return JobStatus(
        key="k",
        kind="train",
        reason="trunk: why",
        state=state,
        run_equivalents=1.0,
        seconds=None,
        predicted_seconds=None,
        step=step,
        steps=100,
        loss=loss,
    )


def test_what_the_ledger_told_is_drawn_until_the_run_has_saved_it(tmp_path: Path) -> None:
    losses = Losses(JobCache(tmp_path), (Run(key="k", name="trunk"),))
    assert losses.drawn({"k": running(0, 0.0, "waiting")}).points == {}
    first = losses.drawn({"k": running(10, 4.0)})
    second = losses.drawn({"k": running(20, 3.0)})
    assert second.latest == {"k": "3.000"}
    assert len(first.points["k"].split()) == 1
    assert len(second.points["k"].split()) == 2
    assert losses.drawn({"k": running(20, 3.0)}) == second
    assert second.steps == ("0", "50", "100")


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=500),
    st.integers(0, 2000),
)
def test_thinning_keeps_to_a_size_and_to_the_range(values: list[float], more: int) -> None:
    steps = np.arange(1.0, len(values) + 1)
    line = _thinned(steps, np.array(values), len(values) + more)
    assert 1 <= len(line) <= 120
    assert (np.diff(line[:, 0]) > 0).all()
    assert min(values) * (1 - 1e-9) <= line[:, 1].min()
    assert line[:, 1].max() <= max(values) * (1 + 1e-9)


def test_what_is_not_finite_is_left_out() -> None:
    line = _thinned(np.arange(1.0, 5), np.array([3.0, math.nan, math.inf, 1.0]), 4)
    assert line.tolist() == [[1.0, 3.0], [4.0, 1.0]]


@given(st.lists(st.floats(0.01, 1e4), max_size=20))
def test_the_axis_holds_every_loss(values: list[float]) -> None:
    low, stride = _axis(values)
    assert all(low <= value <= low + GRID * stride * (1 + 1e-9) for value in values)


def test_the_axis_stays_while_losses_move_a_little() -> None:
    assert _axis([3.1, 5.9]) == _axis([3.0, 5.8])
    assert _axis([3.1, 5.9]) == pytest.approx((3.0, 1.0))


def test_points_go_right_and_down() -> None:
    first, last = _points(np.array([[0.0, 6.0], [100.0, 1.0]]), 100, 1.0, 6.0).split()
    assert (first, last) == ("52.0,10.0", "1028.0,270.0")
