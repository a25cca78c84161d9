from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainonce.stream import reading
from trainonce.stream.base import Contiguous
from trainonce.stream.overlay import Overlay, Pool
from trainonce.stream.reading import read_rows

WIDTH = 40
BASE = np.arange(20 * WIDTH, dtype=np.uint16) + 1000


def array(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


@pytest.fixture(autouse=True)
def forget_the_choice() -> Iterator[None]:
    yield
    reading._compiled.cache_clear()


def compiled(*arguments: Any) -> npt.NDArray[Any]:
    """`read_rows` of an overlay that is too small for the compiled reader, through it."""
    pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_COMPILED_FROM", 0)
        assert reading._compiled() is not None
        return read_rows(*arguments)


@settings(deadline=None)
@given(
    drawn=st.dictionaries(
        st.tuples(st.integers(0, 9), st.integers(0, 3)), st.integers(0, 3), max_size=20
    ),
    rows=st.lists(st.integers(-2, 12), max_size=20),
    starts=st.randoms(use_true_random=False),
    gap=st.sampled_from([1, 1000]),
    base=st.sampled_from([BASE, BASE.astype(np.uint32)]),
)
def test_compiled_reading_is_reading_in_numpy(
    drawn: dict[tuple[int, int], int],
    rows: list[int],
    starts: Any,
    gap: int,
    base: npt.NDArray[Any],
) -> None:
    """For rows in any order, with and without insertions, and for a dense and a sparse index."""
    overlay = Overlay().add(
        gap * array(*(row for row, _ in drawn)),
        array(*(10 * quarter for _, quarter in drawn)),
        array(*drawn.values()),
        [[1], [2, 3], list(range(10, 20)), [7] * 9],
    )
    from_where = array(*(starts.randint(0, len(base) - WIDTH) for _ in rows))
    arguments = (Contiguous(base), from_where, WIDTH, overlay, gap * array(*rows), np.int64)
    expected = read_rows(*arguments)
    found = compiled(*arguments)
    assert found.dtype == expected.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def test_what_lies_outside_is_refused_by_both() -> None:
    overlay = Overlay().add(array(0), array(35), array(0), [[1] * 6])
    for read in (read_rows, compiled):
        with pytest.raises(ValueError, match="ends at token 41 of sequences of 40"):
            read(Contiguous(BASE), array(0), WIDTH, overlay, array(0), np.int64)
        with pytest.raises(IndexError):
            read(Contiguous(BASE), array(len(BASE) - WIDTH), WIDTH + 1, overlay, array(0), np.int64)


def test_a_pool_with_gaps_is_no_block_of_memory() -> None:
    spread = Pool(np.arange(20, dtype=np.uint16)[::2], array(0, 3, 10))
    overlay = Overlay().add(array(0, 0), array(1, 20), array(0, 1), spread)
    found = compiled(Contiguous(BASE), array(0), WIDTH, overlay, array(0), np.int64)
    assert found[0, :5].tolist() == [1000, 0, 2, 4, 1004]
    assert found[0, 20:28].tolist() == [6, 8, 10, 12, 14, 16, 18, 1027]


def many_insertions() -> Overlay:
    count = reading._COMPILED_FROM
    pool = Pool(np.array([3, 4], dtype=np.uint16), array(0, 2))
    return Overlay().add(np.arange(count), np.full(count, 5), np.zeros(count, dtype=np.int64), pool)


def test_without_numba_many_insertions_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trainonce.stream.compiled", None)
    monkeypatch.delattr("trainonce.stream.compiled", raising=False)
    reading._compiled.cache_clear()
    found = read_rows(Contiguous(BASE), array(0), WIDTH, many_insertions(), array(7), np.int64)
    assert reading._compiled() is None
    assert found[0, 4:8].tolist() == [1004, 3, 4, 1007]


def test_numba_is_loaded_for_many_insertions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class LoadedError(Exception):
        pass

    def load() -> None:
        raise LoadedError

    monkeypatch.setattr(reading, "_compiled", load)
    few = Overlay().add(array(7), array(5), array(0), [[3, 4]])
    read_rows(Contiguous(BASE), array(0), WIDTH, few, array(7), np.int64)
    with pytest.raises(LoadedError):
        read_rows(Contiguous(BASE), array(0), WIDTH, many_insertions(), array(7), np.int64)


def test_foreign_byte_order_is_left_to_numpy() -> None:
    swapped = BASE.astype(BASE.dtype.newbyteorder())
    found = read_rows(Contiguous(swapped), array(0), WIDTH, many_insertions(), array(7), np.int64)
    assert found[0, 4:8].tolist() == [1004, 3, 4, 1007]


def test_compiling_needs_no_folder_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    caching = pytest.importorskip("numba.core.caching")
    from trainonce.stream.compiled import _compiled

    def fill(target: npt.NDArray[np.int64]) -> None:
        target[0] = 1

    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    target = array(0)
    _compiled(fill)(target)
    assert target[0] == 1
