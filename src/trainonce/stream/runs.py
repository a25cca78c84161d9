"""Copying many short runs of tokens at once, in a handful of array operations.

An array operation per run would cost a microsecond each, and an index per token some five
nanoseconds a token; both are slower than reading the rows that the runs go into. Here a run is
covered by a few windows of one width, the last one laid so that it ends where the run ends: windows
overlap, and write the same tokens twice. One gather and one scatter of windows then move all runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_WINDOWS = 4


def windows(tokens: npt.NDArray[Any], width: int, step: int = 1) -> npt.NDArray[np.void]:
    """Each ``width`` tokens of ``tokens`` that start at a multiple of ``step``, as one entry.

    A view: nothing is copied, and writing an entry writes its tokens.

    Args:
        tokens: contiguous, one dimension; may be a memory map.
        width: tokens an entry, at most ``len(tokens)``.
        step: tokens from one entry to the next.
    """
    size = tokens.dtype.itemsize
    count = (len(tokens) - width) // step + 1
    return np.ndarray((count,), f"V{width * size}", tokens, 0, (step * size,))


def copy_runs(
    source: npt.NDArray[Any],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    target: npt.NDArray[Any],
    places: npt.NDArray[np.int64],
) -> None:
    """Write ``source[starts[i]:][:lengths[i]]`` to ``target[places[i]:]`` for every ``i``.

    Args:
        source: contiguous tokens, ``(S,)``.
        starts: ``(n,)``; a run lies inside ``source``.
        lengths: ``(n,)``, each at least 1.
        target: contiguous tokens, ``(T,)``, of any integer type that holds them.
        places: ``(n,)``; a run lies inside ``target``, and no two overlap.
    """
    if not len(lengths):
        return
    width, longest = int(lengths.min()), int(lengths.max())
    if longest > _MOST_WINDOWS * width:
        short = lengths <= _MOST_WINDOWS * width
        for part in (short, ~short):
            copy_runs(source, starts[part], lengths[part], target, places[part])
        return
    last = lengths - width
    shifts = [np.minimum(last, shift) for shift in range(width, longest, width)]
    taken = windows(source, width)[np.concatenate([starts, *(starts + s for s in shifts)])]
    if source.dtype != target.dtype:
        taken = windows(taken.view(source.dtype).astype(target.dtype), width, width)
    windows(target, width)[np.concatenate([places, *(places + s for s in shifts)])] = taken
