"""One pass over foreign tokens: which documents are trained on, and copies of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from trainonce.stream.corpora import CorpusError
from trainonce.stream.foreign.shards import Shard
from trainonce.stream.journal import JOURNAL, GrowingFiles
from trainonce.stream.splits import split_of
from trainonce.stream.writer import save_bounds, token_type

PIECES = "train.pieces.npy"
COPIED = ("source", "heldout")
_FILES = (*(f"{name}.{kind}" for name in COPIED for kind in ("tokens", "lengths")), "runs", "seen")
_GROUP_TOKENS = 1 << 24
_HASH_BYTES = 16

LEFTOVERS = (JOURNAL, *(f"{name}.lengths" for name in COPIED), "runs", "seen")
"""Files that only this pass needs."""


def write_index(
    folder: Path,
    shards: Sequence[Shard],
    vocabulary: int,
    end_of_text: int,
    heldout: float,
    tell: Callable[[int], None],
) -> dict[str, Any]:
    """Index training documents and copy the others into ``folder``, going on from a commit there.

    Neighbouring training documents become one piece: where it starts, and which token of all it is.
    The others are copied, the same one once. A document's split is told by the hash of its tokens
    as 32-bit numbers, less the token that closes it.

    Args:
        folder: where; what an earlier call with the same arguments left there is gone on from.
        shards: the tokens.
        vocabulary: size of the tokenizer.
        end_of_text: the token that ends documents.
        heldout: see `trainonce.stream.splits.split_of`.
        tell: told how many tokens are done.

    Returns:
        Type of the copied tokens, size of the vocabulary, counts of each split, and how many
        documents are not closed by ``end_of_text``.

    Raises:
        CorpusError: when a token is not in the vocabulary.
    """
    dtype = token_type(vocabulary)
    counts = {"shard": 0, "document": 0, "documents": 0, "unclosed": 0}
    with GrowingFiles(folder, _FILES) as files:
        counts |= files.facts
        hashes = (folder / "seen").read_bytes()
        seen = {hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES)}
        before = sum(len(shard.tokens) for shard in shards[: counts["shard"]])
        for number in range(counts["shard"], len(shards)):
            shard = shards[number]
            bounds = shard.bounds(end_of_text)
            for low, high in _groups(bounds, counts["document"]):
                group = _Group.of(shard, bounds[low : high + 1], vocabulary, end_of_text)
                names = [split_of(hashed.hex(), heldout) for hashed in group.hashes]
                trained = np.array([name == "train" for name in names])
                files.append("runs", _runs(number, group.bounds, trained).tobytes())
                for place in np.flatnonzero(~trained).tolist():
                    if group.hashes[place] not in seen:
                        seen.add(group.hashes[place])
                        files.append("seen", group.hashes[place])
                        tokens = np.append(group.document(place), end_of_text).astype(dtype)
                        files.append(f"{names[place]}.tokens", tokens.tobytes())
                        size = len(tokens).to_bytes(8, "little")
                        files.append(f"{names[place]}.lengths", size)
                counts["shard"], counts["document"] = number, high
                counts["documents"] += int(trained.sum())
                counts["unclosed"] += group.unclosed
                files.commit(**counts)
                tell(before + int(bounds[high]))
            counts["document"] = 0
            before += len(shard.tokens)
    trained_tokens = _save_pieces(folder)
    copied = {name: save_bounds(folder, name) for name in COPIED}
    return {
        "dtype": dtype.name,
        "vocabulary": vocabulary,
        "documents": {"train": counts["documents"], **{n: c for n, (c, _) in copied.items()}},
        "tokens": {"train": trained_tokens, **{n: t for n, (_, t) in copied.items()}},
        "unclosed": counts["unclosed"],
    }


class _Group:
    """Neighbouring documents, those without tokens left out.

    Attributes:
        bounds: in the shard, ``(documents + 1,)``.
        hashes: of each document.
        unclosed: how many do not end with the end-of-text token.
    """

    def __init__(
        self, bounds: npt.NDArray[np.int64], tokens: npt.NDArray[np.uint32], end: int
    ) -> None:
        self.bounds = bounds
        self._tokens = tokens
        self._starts = bounds[:-1] - bounds[0]
        closed = tokens[bounds[1:] - bounds[0] - 1] == end
        self._stops = bounds[1:] - bounds[0] - closed
        self.unclosed = int((~closed).sum())
        data = tokens.view(np.uint8).data
        self.hashes = [
            xxhash.xxh3_128_digest(data[4 * start : 4 * stop])
            for start, stop in zip(self._starts.tolist(), self._stops.tolist(), strict=True)
        ]

    @classmethod
    def of(
        cls, shard: Shard, bounds: npt.NDArray[np.int64], vocabulary: int, end_of_text: int
    ) -> _Group:
        """The documents of ``shard`` between ``bounds``, all of whose tokens must be known."""
        tokens = shard.tokens[bounds[0] : bounds[-1]]
        lowest, highest = int(tokens.min()), int(tokens.max())
        if lowest < 0 or highest >= vocabulary:
            wrong = lowest if lowest < 0 else highest
            raise CorpusError(
                f"{shard.name} holds the token {wrong}, and the tokenizer has {vocabulary}; "
                "is it the one that wrote these tokens (and is `dtype` right)?"
            )
        return cls(np.unique(bounds), tokens.astype("<u4"), end_of_text)

    def document(self, number: int) -> npt.NDArray[np.uint32]:
        """The tokens of a document, less the one that closes it."""
        return self._tokens[self._starts[number] : self._stops[number]]


def _groups(bounds: npt.NDArray[np.int64], low: int) -> Iterator[tuple[int, int]]:
    """Documents ``low:high`` of some 16 million tokens together, or one that is longer."""
    while low < len(bounds) - 1:
        high = int(bounds.searchsorted(bounds[low] + _GROUP_TOKENS, side="right")) - 1
        high = max(high, int(bounds.searchsorted(bounds[low], side="right")))
        if high > len(bounds) - 1:
            return  # documents without tokens at the end
        yield low, high
        low = high


def _runs(
    number: int, bounds: npt.NDArray[np.int64], trained: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Runs of training documents as rows of shard, start and stop: ``(runs, 3)``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], trained, [False]])))
    starts, stops = bounds[edges[::2]], bounds[edges[1::2]]
    return np.stack([np.full(len(starts), number), starts, stops], axis=1).astype("<i8")


def _save_pieces(folder: Path) -> int:
    """Save number, start and first token of each piece, and at last of what comes after."""
    runs = np.fromfile(folder / "runs", dtype="<i8").reshape(-1, 3)
    pieces = np.zeros((3, len(runs) + 1), dtype=np.int64)
    pieces[:2, :-1] = runs[:, :2].T
    np.cumsum(runs[:, 2] - runs[:, 1], out=pieces[2, 1:])
    np.save(folder / PIECES, pieces)
    return int(pieces[2, -1])
