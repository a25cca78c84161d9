from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainonce.stream.order import Bijection, sequence_order


@given(size=st.integers(1, 3000), key=st.integers(0, 2**63))
def test_every_entry_has_its_own_image(size: int, key: int) -> None:
    image = Bijection(size, key)(np.arange(size))
    assert sorted(image) == list(range(size))


@given(size=st.integers(2, 10**12), key=st.integers(0, 2**63), entry=st.integers(0, 10**12 - 1))
def test_an_entry_does_not_depend_on_its_neighbours(size: int, key: int, entry: int) -> None:
    bijection = Bijection(size, key)
    entry %= size
    both = bijection([entry, (entry + 1) % size])
    assert bijection(entry) == both[0]
    assert both[0] != both[1]


def test_an_entry_outside_is_refused() -> None:
    with pytest.raises(IndexError, match=r"0\.\.9"):
        Bijection(10, 1)([10])


def test_each_epoch_reads_each_sequence_once_in_another_order() -> None:
    order = sequence_order(seed=5, sequences=50, positions=np.arange(150)).reshape(3, 50)
    for epoch in order:
        assert sorted(epoch) == list(range(50))
    assert not np.array_equal(order[0], order[1])


def test_the_order_looks_uniform() -> None:
    """The mean image of the first half must be near the middle, over many keys."""
    means = [Bijection(1000, key)(np.arange(500)).mean() for key in range(200)]
    expected_error = 1000 / np.sqrt(12 * 500 * 200) * np.sqrt(0.5)
    assert abs(np.mean(means) - 499.5) < 5 * expected_error
