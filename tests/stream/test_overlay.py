from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainonce.stream.overlay import Overlay, Pool
from trainonce.stream.runs import copy_runs


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@given(
    drawn=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 4)), max_size=12),
    order=st.lists(st.integers(0, 12), max_size=30),
    gap=st.sampled_from([1, 1000]),
    dtype=st.sampled_from([np.uint16, np.int32, np.int64]),
)
def test_reading_equals_writing_into_a_copy(
    drawn: list[tuple[int, int, int]], order: list[int], gap: int, dtype: type
) -> None:
    """Brute force: write every insertion into the whole base.

    Rows are read in any order and as often as drawn; a gap between rows makes the index sparse.
    """
    pool = [[101], [102, 103], [104, 105, 106], list(range(200, 211)), list(range(300, 332))]
    taken = {(row, quarter): document for row, quarter, document in drawn}
    base: np.ndarray = np.arange(13 * 128).reshape(13, 128).astype(dtype)
    expected = base.copy()
    for (row, quarter), document in taken.items():
        expected[row, 32 * quarter : 32 * quarter + len(pool[document])] = pool[document]
    overlay = Overlay().add(
        gap * array(*(row for row, _ in taken)),
        array(*(32 * quarter for _, quarter in taken)),
        array(*taken.values()),
        pool,
    )
    rows = array(*order)
    tokens = base[rows]
    overlay.apply(gap * rows, tokens)
    np.testing.assert_array_equal(tokens, expected[rows])
    assert overlay.changed_tokens == sum(len(pool[document]) for document in taken.values())


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=20),
    dtype=st.sampled_from([np.uint16, np.uint32, np.int64]),
    data=st.data(),
)
def test_runs_of_all_lengths_are_copied_whole(
    lengths: list[int], dtype: type, data: st.DataObject
) -> None:
    source = np.arange(1, 200, dtype=np.uint16)
    starts = [data.draw(st.integers(0, 199 - length)) for length in lengths]
    gaps = [data.draw(st.integers(0, 3)) for _ in lengths]
    places = np.cumsum([0, *lengths[:-1]]) + np.cumsum(gaps)
    target: np.ndarray = np.zeros(sum(lengths) + sum(gaps) + 2, dtype=dtype)
    expected = target.copy()
    for start, length, place in zip(starts, lengths, places, strict=True):
        expected[place : place + length] = source[start : start + length]
    shuffled = data.draw(st.permutations(range(len(lengths))))
    copy_runs(
        source,
        array(*starts)[shuffled],
        array(*lengths)[shuffled],
        target,
        places[shuffled],
    )
    np.testing.assert_array_equal(target, expected)


def test_a_part_of_wider_rows_is_written_in_place() -> None:
    overlay = Overlay().add(array(1), array(2), array(0), [[7, 8]])
    tokens = np.zeros((2, 5), dtype=np.int64)
    overlay.apply(array(0, 1), tokens[:, :4])
    np.testing.assert_array_equal(tokens, [[0] * 5, [0, 0, 7, 8, 0]])


def test_a_pool_of_arrays_is_the_pool_of_lists() -> None:
    listed = Overlay().add(array(2, 0), array(0, 1), array(1, 0), [[5], [70_000, 6]])
    pool = Pool(np.array([5, 70_000, 6], dtype=np.uint32), array(0, 1, 3))
    given_whole = Overlay().add(array(2, 0), array(0, 1), array(1, 0), pool)
    for name in ("rows", "offsets", "documents", "bounds", "tokens"):
        np.testing.assert_array_equal(getattr(listed, name), getattr(given_whole, name))
    assert listed.tokens.dtype == np.uint32


def test_the_index_is_small() -> None:
    """Whatever the rows are, at one document an insertion."""
    pool = Pool(np.ones(5000, dtype=np.uint16), np.arange(0, 5001, 5))
    for rows in (np.arange(1000), np.arange(1000) // 20, 10**9 * np.arange(1000)):
        offsets = 5 * (np.arange(1000) % 20)
        overlay = Overlay().add(rows, offsets, np.arange(1000), pool)
        overlay.apply(rows[:1], np.zeros((1, 100), dtype=np.uint16))
        assert overlay.index_bytes / len(overlay) < 32


@pytest.mark.parametrize(
    ("row", "offset", "document", "pool", "message"),
    [
        (0, -1, 0, [[1]], "count from 0"),
        (-1, 0, 0, [[1]], "count from 0"),
        (0, 0, 1, [[1]], "none of the 1 in the pool"),
        (0, 0, 0, [[]], "document 0 of the pool is empty"),
        (0, 0, 0, [[-1]], "token ids must lie in"),
    ],
)
def test_what_cannot_be_inserted_is_refused(
    row: int, offset: int, document: int, pool: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Overlay().add(array(row), array(offset), array(document), pool)


def test_bounds_beyond_the_tokens_are_refused() -> None:
    for bounds in (array(0, 3), array(1, 2), array(0, 1)):
        with pytest.raises(ValueError, match="lead from 0 to its 2 tokens"):
            Overlay().add(array(0), array(0), array(0), Pool(np.ones(2, dtype=np.uint16), bounds))


def test_rows_too_high_for_one_number_are_sorted_too() -> None:
    """Row, offset and document take 50, 10 and 6 bits of 64 here, and 53, 10 and 6."""
    random = np.random.default_rng(0)
    pool = [[token] for token in range(50)]
    rows = random.permutation(50) // 2
    offsets = np.arange(50) * 20
    for step in (2**45, 2**48):
        overlay = Overlay().add(rows * step, offsets, np.arange(50), pool)
        order = np.lexsort((offsets, rows))
        np.testing.assert_array_equal(overlay.rows, rows[order] * step)
        np.testing.assert_array_equal(overlay.offsets, offsets[order])
        np.testing.assert_array_equal(overlay.documents, order)


def test_an_insertion_never_runs_into_the_next_sequence() -> None:
    overlay = Overlay().add(array(0), array(3), array(0), [[1, 2]])
    with pytest.raises(ValueError, match="ends at token 5 of sequences of 4"):
        overlay.apply(array(0, 1), np.zeros((2, 4), dtype=np.int64))


def test_an_overlap_is_refused() -> None:
    overlay = Overlay().add(array(4), array(0), array(0), [[1, 2, 3]])
    with pytest.raises(ValueError, match="overlap in sequence 4"):
        overlay.add(array(4), array(2), array(0), [[9]])


def test_touching_is_no_overlap() -> None:
    overlay = Overlay().add(array(4), array(0), array(0), [[1, 2, 3]])
    assert len(overlay.add(array(4), array(3), array(0), [[9]])) == 2
