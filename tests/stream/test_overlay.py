from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainonce.stream.overlay import Overlay


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 2)), max_size=12),
    st.permutations(list(range(10))),
)
def test_reading_equals_writing_into_a_copy(
    drawn: list[tuple[int, int, int]], order: list[int]
) -> None:
    """Brute force: write every insertion into the whole base."""
    pool = [[101], [102, 103], [104, 105, 106]]
    taken = {(row, quarter): document for row, quarter, document in drawn}
    base = np.arange(160).reshape(10, 16)
    expected = base.copy()
    for (row, quarter), document in taken.items():
        expected[row, 4 * quarter : 4 * quarter + len(pool[document])] = pool[document]
    overlay = Overlay().add(
        array(*(row for row, _ in taken)),
        array(*(4 * quarter for _, quarter in taken)),
        array(*taken.values()),
        pool,
    )
    rows = np.array(order)
    tokens = base[rows]
    overlay.apply(rows, tokens)
    np.testing.assert_array_equal(tokens, expected[rows])
    assert overlay.changed_tokens == sum(len(pool[document]) for document in taken.values())


def test_an_overlap_is_refused() -> None:
    overlay = Overlay().add(array(4), array(0), array(0), [[1, 2, 3]])
    with pytest.raises(ValueError, match="overlap in sequence 4"):
        overlay.add(array(4), array(2), array(0), [[9]])


def test_touching_is_no_overlap() -> None:
    overlay = Overlay().add(array(4), array(0), array(0), [[1, 2, 3]])
    assert len(overlay.add(array(4), array(3), array(0), [[9]])) == 2
