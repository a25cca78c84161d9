"""Tokens in one flat array, as OLMo writes them: raw, or with NumPy's header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainonce.stream.corpora import CorpusError

_MAGIC = b"\x93NUMPY"
_BLOCK = 1 << 24


class FlatError(CorpusError):
    """A file that is no flat array of tokens; the message says why."""


def read_flat(file: Path, dtype: npt.DTypeLike = np.uint16) -> npt.NDArray[Any]:
    """Map the tokens of ``file`` into memory, ``(tokens,)``, read-only.

    A file that starts with NumPy's magic says its own type. OLMo's files are named ``.npy`` too,
    but are tokens from the first byte on; nothing in them says of which type.

    Args:
        file: the file.
        dtype: of the tokens in a file without header; ``uint16`` as OLMo's default is, ``uint32``
            for vocabularies above 65,536.

    Raises:
        FlatError: when there is no such file, or its array is not one of integers in one
            dimension, or it does not end with a whole token.
    """
    if not file.is_file():
        raise FlatError(f"there is no file {file}")
    with file.open("rb") as opened:
        headed = opened.read(len(_MAGIC)) == _MAGIC
    if headed:
        try:
            tokens = np.load(file, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise FlatError(f"{file} has NumPy's header, but cannot be read: {error}") from error
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise FlatError(f"{file} holds {tokens.dtype} of shape {tokens.shape}, not tokens")
        return np.asarray(tokens)
    size, item = file.stat().st_size, np.dtype(dtype).itemsize
    if not size or size % item:
        raise FlatError(f"{file} has {size} bytes, which is no number of {np.dtype(dtype)} tokens")
    return np.asarray(np.memmap(file, dtype=dtype, mode="r"))


def document_bounds(tokens: npt.NDArray[Any], end_of_text: int) -> npt.NDArray[np.int64]:
    """Where documents start and the last one ends, ``(documents + 1,)``; each is closed by a token.

    One pass over ``tokens``, some 16 million at a time. What follows the last ``end_of_text`` is a
    document too.
    """
    ends = [np.zeros(1, dtype=np.int64)]
    for low in range(0, len(tokens), _BLOCK):
        ends.append(np.flatnonzero(tokens[low : low + _BLOCK] == end_of_text) + (low + 1))
    bounds = np.concatenate(ends)
    return bounds if bounds[-1] == len(tokens) else np.append(bounds, len(tokens))
