"""Reading through the overlay, beside a plain memory map and beside an HDF5 map of insertions.

    python benchmarks/stream.py [--quick] [--json]

Plain is what a hand-written loop does: a slice of the memory map for each row of a batch, copied
into the batch. Both sides give the batch in the base's own type, from a file that is in the page
cache. They take turns round by round, and the medians over rounds are compared. No two insertions
share a document, save where a row of the table says that each is inserted ten times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from trainonce.stream.base import Contiguous
from trainonce.stream.overlay import Overlay, Pool
from trainonce.stream.reading import read_rows
from trainonce.stream.runs import windows

WIDTH = 2048
SHORTEST, LONGEST = 48, 64
SLOTS = WIDTH // LONGEST
BASE = 100_000_000
VOCABULARY = 50_000
HDF5_QUICK, HDF5_FULL = 20_000, 1_000_000
Rows = npt.NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.quick)
    if options.json:
        json.dump(
            {key: found[key] for key in ("overlay_1m", "overlay_10m", "over_hdf5")}, sys.stdout
        )
        print()
        return
    table = Table("what", "found", "target")
    for name, key, form, target in ROWS_OF_THE_TABLE:
        table.add_row(name, format(found[key], form), target)
    Console().print(table)


ROWS_OF_THE_TABLE = (
    ("overlay over plain, 1M insertions, batches of 64", "overlay_1m", ".2f", "0.9"),
    ("the same, each document inserted ten times", "overlay_1m_tenfold", ".2f", "0.9"),
    ("the same as the first, batches of 8", "overlay_1m_small", ".2f", "0.9"),
    ("the same as the first, without numba", "overlay_1m_numpy", ".2f", ""),
    ("batches of 8, without numba", "overlay_1m_small_numpy", ".2f", ""),
    ("the same as the first, in int64, as training reads them", "overlay_1m_wide", ".2f", ""),
    ("overlay over plain, 10M insertions, as many a row", "overlay_10m", ".2f", "half of 1M's"),
    ("overlay, 1M insertions, rows a second", "rows_1m", ",.0f", ""),
    ("HDF5 map by sequence, rows a second", "rows_hdf5", ",.0f", ""),
    ("overlay over HDF5", "over_hdf5", ",.0f", "50"),
    ("insertions in the HDF5 map", "hdf5_insertions", ",", ""),
    ("bytes an insertion beside the tokens", "index_bytes", ".1f", "under 32"),
    ("seconds to add 1M insertions", "seconds_1m", ".2f", ""),
    ("seconds to the first batch of all, in which numba loads", "seconds_first", ".2f", ""),
    (
        "seconds to open 10^12 tokens, 10M insertions of 1M documents",
        "seconds_open",
        ".2f",
        "under 2",
    ),
)


def measure(folder: Path, quick: bool) -> dict[str, float]:
    rounds = 9 if quick else 41
    file = folder / "base.tokens"
    write_base(file, copies=1)
    base = np.memmap(file, dtype=np.uint16, mode="r")
    insertions = draw(1_000_000, len(base) // WIDTH)
    started = time.perf_counter()
    overlay = Overlay().add(*insertions)
    found = {"seconds_1m": time.perf_counter() - started}
    sides = {"plain": plain(base), "ours": through(base, overlay)}
    started = time.perf_counter()
    sides["ours"](insertions[0][:64])
    found["seconds_first"] = time.perf_counter() - started
    numpy_too = sides | {"numpy": in_numpy(base, overlay)}
    times = compare(numpy_too, len(base) // WIDTH, 64, rounds)
    small = compare(numpy_too, len(base) // WIDTH, 8, rounds)
    in_int64 = {"plain": plain_int64(base), "ours": through(base, overlay, np.int64)}
    wide = compare(in_int64, len(base) // WIDTH, 64, rounds)
    at, offsets, documents, pool = insertions
    tenfold = Overlay().add(at, offsets, documents // 10, pool)
    again = {"plain": plain(base), "ours": through(base, tenfold)}
    repeated = compare(again, len(base) // WIDTH, 64, rounds)
    found |= {
        "overlay_1m": times["plain"] / times["ours"],
        "overlay_1m_numpy": times["plain"] / times["numpy"],
        "overlay_1m_small": small["plain"] / small["ours"],
        "overlay_1m_small_numpy": small["plain"] / small["numpy"],
        "overlay_1m_wide": wide["plain"] / wide["ours"],
        "overlay_1m_tenfold": repeated["plain"] / repeated["ours"],
        "rows_1m": 1 / times["ours"],
        "index_bytes": overlay.index_bytes / len(overlay),
    }
    found |= beside_hdf5(folder, base, times["ours"], HDF5_QUICK if quick else HDF5_FULL)
    del overlay, insertions, sides, numpy_too, in_int64
    write_base(file, copies=10)
    base = np.memmap(file, dtype=np.uint16, mode="r")
    insertions = draw(10_000_000, len(base) // WIDTH)
    overlay = Overlay().add(*insertions)
    sides = {"plain": plain(base), "ours": through(base, overlay)}
    times = compare(sides, len(base) // WIDTH, 64, rounds)
    found["overlay_10m"] = times["plain"] / times["ours"]
    del overlay, base, sides
    file.unlink()
    found["seconds_open"] = open_huge(folder / "huge.tokens", insertions)
    return found


def write_base(file: Path, copies: int) -> None:
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, BASE, dtype=np.uint16)
    with file.open("wb") as opened:
        for _ in range(copies):
            opened.write(tokens.data)


def draw(count: int, rows: int) -> tuple[Rows, Rows, Rows, Pool]:
    """``count`` insertions of a document each at random slots of ``rows`` rows, in random order."""
    random = np.random.default_rng(count)
    lengths = random.integers(SHORTEST, LONGEST + 1, count)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    slots = distinct(random, rows * SLOTS, count)
    pool = Pool(random.integers(0, VOCABULARY, int(bounds[-1]), dtype=np.uint16), bounds)
    return slots // SLOTS, slots % SLOTS * LONGEST, np.arange(count), pool


def distinct(random: np.random.Generator, below: int, count: int) -> Rows:
    """``count`` different numbers in random order: one from each of ``count`` equal parts."""
    low = np.arange(count + 1) * (below / count)
    low = low.astype(np.int64)
    return random.permutation(low[:-1] + random.integers(0, np.diff(low)))


Side = Callable[[Rows], npt.NDArray[Any]]


def plain(base: npt.NDArray[np.uint16]) -> Side:
    def read(rows: Rows) -> npt.NDArray[np.uint16]:
        batch = np.empty((len(rows), WIDTH), dtype=base.dtype)
        for index, row in enumerate(rows.tolist()):
            batch[index] = base[row * WIDTH : (row + 1) * WIDTH]
        return batch

    return read


def plain_int64(base: npt.NDArray[np.uint16]) -> Side:
    read = plain(base)
    return lambda rows: read(rows).astype(np.int64)


def through(base: npt.NDArray[np.uint16], overlay: Overlay, dtype: type = np.uint16) -> Side:
    return lambda rows: read_rows(Contiguous(base), rows * WIDTH, WIDTH, overlay, rows, dtype)


def in_numpy(base: npt.NDArray[np.uint16], overlay: Overlay) -> Side:
    sequences = windows(base, WIDTH, step=WIDTH)

    def read(rows: Rows) -> npt.NDArray[np.uint16]:
        batch = sequences[rows].view(base.dtype).reshape(-1, WIDTH)
        overlay.apply(rows, batch)
        return batch

    return read


def compare(sides: dict[str, Side], rows: int, batch: int, rounds: int) -> dict[str, float]:
    """Seconds a row of each side: the median over rounds, in which they read the same rows.

    They take turns in going first, so that none always finds the rows in the processor's cache.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number, batches in enumerate(orders(rows, batch, rounds + 1)):
        own = dict.fromkeys(sides, 0.0)
        first = number % len(sides)
        for name in [*sides][first:] + [*sides][:first]:
            started = time.perf_counter()
            for chosen in batches:
                sides[name](chosen)
            own[name] += time.perf_counter() - started
        if number:  # the first round touches every page
            for name in sides:
                times[name].append(own[name] / batches.size)
    return {name: statistics.median(values) for name, values in times.items()}


def orders(rows: int, batch: int, rounds: int) -> Iterator[Rows]:
    """Batches of rows in random order, all rows in the first round and 16,384 in each other."""
    random = np.random.default_rng(1)
    for number in range(rounds):
        count = rows if number == 0 else min(rows, 16_384)
        yield random.permutation(rows)[: count // batch * batch].reshape(-1, batch)


def beside_hdf5(
    folder: Path, base: npt.NDArray[np.uint16], ours: float, count: int
) -> dict[str, float]:
    """The rate of a file with a group a sequence that has one data set an insertion.

    Each row has as many insertions as at 1M; a smaller map covers fewer rows, and these are read.
    """
    rows = len(base) // WIDTH * count // 1_000_000
    at, offsets, documents, pool = draw(count, rows)
    file = folder / "map.h5"
    with h5py.File(file, "w") as written:
        listed = zip(at.tolist(), offsets.tolist(), documents.tolist(), strict=True)
        for row, offset, document in listed:
            tokens = pool.tokens[pool.bounds[document] : pool.bounds[document + 1]]
            written.create_dataset(f"{row}/{offset}", data=tokens)
    chosen = np.random.default_rng(2).permutation(rows)[: min(rows, 2_000)]
    batch = np.empty(WIDTH, dtype=np.uint16)
    with h5py.File(file, "r") as opened:
        started = time.perf_counter()
        for row in chosen.tolist():
            batch[:] = base[row * WIDTH : (row + 1) * WIDTH]
            for offset, tokens in opened[str(row)].items():
                batch[int(offset) : int(offset) + len(tokens)] = tokens[:]
        seconds = (time.perf_counter() - started) / len(chosen)
    file.unlink()
    return {"rows_hdf5": 1 / seconds, "over_hdf5": seconds / ours, "hdf5_insertions": count}


def open_huge(file: Path, insertions: tuple[Rows, Rows, Rows, Pool]) -> float:
    """Seconds from nothing to the first batch of a sparse file of 10^12 tokens.

    Each document is inserted ten times.
    """
    tokens = 10**12
    with file.open("wb") as opened:
        opened.truncate(2 * tokens)
    _, offsets, documents, pool = insertions
    documents = documents // 10
    pool = Pool(
        pool.tokens[: pool.bounds[len(documents) // 10]], pool.bounds[: len(documents) // 10 + 1]
    )
    rows = distinct(np.random.default_rng(3), tokens // WIDTH, len(documents))
    started = time.perf_counter()
    base = np.memmap(file, dtype=np.uint16, mode="r")
    overlay = Overlay().add(rows, offsets, documents, pool)
    batch = through(base, overlay)(rows[:64])
    seconds = time.perf_counter() - started
    if np.count_nonzero(batch) < 64 * SHORTEST // 2:
        raise RuntimeError("the first batch has no insertions")
    return seconds


if __name__ == "__main__":
    main()
