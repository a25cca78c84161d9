"""Writing the tokens of documents, a part at a time, from where a killed writer stopped.

Threads of the tokenizers library encode a batch of documents side by side, one a core
(``RAYON_NUM_THREADS`` sets another number); how many there are changes no token and no order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainonce.stream.journal import JOURNAL, GrowingFiles
from trainonce.stream.splits import SPLITS, split_of
from trainonce.stream.tokenizers import FastTokenizer

_PART_CHARACTERS = 16_000_000
_BATCH_CHARACTERS = 1_000_000

LEFTOVERS = (JOURNAL, *(f"{name}.lengths" for name in SPLITS))
"""Files that only the writer needs."""


def token_type(vocabulary: int) -> np.dtype[Any]:
    """Two bytes a token where that is enough."""
    return np.dtype(np.uint16 if vocabulary <= 2**16 else np.uint32)


def write_tokens(
    folder: Path,
    texts: Iterable[str],
    tokenizer: FastTokenizer,
    heldout: float,
    tell: Callable[[int], None],
) -> dict[str, Any]:
    """Write the tokens and bounds of each split into ``folder``, going on from its last commit.

    Args:
        folder: where; what an earlier call with the same arguments left there is gone on from.
        texts: the documents, in the same order at each call; those that are done are read over.
        tokenizer: each document is closed by its end-of-text token.
        heldout: see `trainonce.stream.splits.split_of`.
        tell: told how many documents are done.

    Returns:
        Type of the tokens, size of the vocabulary, and counts of each split.
    """
    dtype = token_type(tokenizer.size)
    names = [f"{name}.{kind}" for name in SPLITS for kind in ("tokens", "lengths")]
    with GrowingFiles(folder, names) as files:
        done = int(files.facts.get("documents", 0))
        tell(done)
        for part in _groups(islice(texts, done, None), _PART_CHARACTERS):
            for batch in _groups(part, _BATCH_CHARACTERS):
                for text, tokens in zip(batch, tokenizer.encode_batch(batch), strict=True):
                    name = split_of(text, heldout)
                    ids = np.array([*tokens, tokenizer.end_of_text], dtype=dtype)
                    files.append(f"{name}.tokens", ids.tobytes())
                    files.append(f"{name}.lengths", len(ids).to_bytes(8, "little"))
                done += len(batch)
                tell(done)
            files.commit(documents=done)
    counts = {name: save_bounds(folder, name) for name in SPLITS}
    return {
        "dtype": dtype.name,
        "vocabulary": tokenizer.size,
        "documents": {name: documents for name, (documents, _) in counts.items()},
        "tokens": {name: tokens for name, (_, tokens) in counts.items()},
    }


def save_bounds(folder: Path, name: str) -> tuple[int, int]:
    """Sum up the lengths of a split's documents to where they start and end.

    Returns:
        How many documents there are, and how many tokens.
    """
    lengths: npt.NDArray[np.int64] = np.fromfile(folder / f"{name}.lengths", dtype="<i8")
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(folder / f"{name}.bounds.npy", bounds)
    return len(lengths), int(bounds[-1])


def _groups(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Documents in groups of at least ``characters``, but for the last; one pass, in order."""
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= characters:
            yield group
            group, size = [], 0
    if group:
        yield group
