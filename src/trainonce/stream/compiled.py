"""Reading rows with their insertions in one compiled pass. Needs numba (``trainonce[fast]``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

Array = npt.NDArray[Any]


def _read_rows(
    base: Array,
    starts: Array,
    rows: Array,
    index_rows: Array,
    directory: Array,
    offsets: Array,
    documents: Array,
    bounds: Array,
    pool: Array,
    out: Array,
) -> None:
    batch, width = out.shape
    flat = out.reshape(-1)
    tokens = np.empty(width, dtype=base.dtype)
    lows = np.empty(width, dtype=np.int64)
    lengths = np.empty(width, dtype=np.int64)
    for number in range(batch):
        row, start = rows[number], starts[number]
        if start < 0 or start + width > len(base):
            raise IndexError("a row reaches beyond the base tokens")
        if len(directory):
            entry = min(max(row, -1), len(directory) - 3) + 1
            first, last = directory[entry], directory[entry + 1]
        else:
            first = np.searchsorted(index_rows, row)
            last = first + np.searchsorted(index_rows[first : first + width + 1], row, side="right")
        # All of them are looked up before the first is copied: copying one would otherwise wait
        # for the memory that says where the next one is.
        for insertion in range(first, last):
            document = np.uint64(documents[insertion])
            lows[insertion - first] = bounds[document]
            lengths[insertion - first] = bounds[document + np.uint64(1)] - bounds[document]
        _copy(base, start, tokens, 0, width)
        for insertion in range(first, last):
            which = insertion - first
            _copy(pool, lows[which], tokens, offsets[insertion], lengths[which])
        place = np.uint64(number * width)
        for token in range(np.uint64(width)):
            flat[place + token] = tokens[token]


def _copy(source: Array, start: int, target: Array, place: int, count: int) -> None:
    """``target[place:][:count] = source[start:][:count]``, in compiled code only."""
    raise NotImplementedError


@overload(_copy)
def _(source: Any, start: Any, target: Any, place: Any, count: Any) -> Callable[..., None]:  # noqa: ARG001
    def convert(source: Any, start: Any, target: Any, place: Any, count: Any) -> None:
        for token in range(count):
            target[place + token] = source[start + token]

    def move(source: Any, start: Any, target: Any, place: Any, count: Any) -> None:
        _move(source, start, target, place, count)

    alike = source.dtype.bitwidth == target.dtype.bitwidth and source.layout == target.layout == "C"
    return move if alike else convert


def _memcpy(_: Any, source: Any, start: Any, target: Any, place: Any, count: Any) -> Any:  # noqa: ARG001
    """One call of memcpy. A loop over so few tokens made reading take 1.2 to 1.5 times as long."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        read = context.make_array(signature.args[0])(context, builder, values[0])
        written = context.make_array(signature.args[2])(context, builder, values[2])
        cgutils.raw_memcpy(
            builder,
            builder.gep(written.data, [values[3]]),
            builder.gep(read.data, [values[1]]),
            values[4],
            context.get_constant(types.intp, source.dtype.bitwidth // 8),
        )
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp), generate


_move: Any = intrinsic(_memcpy)


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """``function``, compiled at its first call; kept on disk where there is a place to write."""
    try:
        kept: Callable[..., None] = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba finds neither __pycache__ nor the user's cache writable
        kept = njit(nogil=True)(function)
    return kept


read_rows = _compiled(_read_rows)
