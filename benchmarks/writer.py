"""Writing tokens and indexing those of others, tokens a second; and reading rows from pieces.

    python benchmarks/writer.py [--quick] [--json]

The standard library's sources are tokenized by a byte-level BPE of 1,024 tokens, in processes with
one thread of the tokenizers library and with one a core, which take turns. The tokens are then
written as a flat file of 100 million, indexed, and read in random order: 64 rows of 2,048 tokens
at a time, from the pieces that 10 % of held-out documents leave, and from one array. Medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from trainonce.stream.base import Base, Contiguous, Pieces
from trainonce.stream.corpora import CorpusSource, documents
from trainonce.stream.foreign.index import PIECES, write_index
from trainonce.stream.foreign.shards import Foreign, find_foreign
from trainonce.stream.tokenizers import load_tokenizer, train_bpe
from trainonce.stream.writer import write_tokens

WIDTH, BATCH, VOCABULARY = 2048, 64, 1024
STDLIB = CorpusSource(name="stdlib")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        print(write(options.write))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.quick)
    if options.json:
        json.dump(found, sys.stdout)
        print()
        return
    table = Table("what", "found")
    for name, value in found.items():
        table.add_row(name, f"{value:,.3g}" if value < 1000 else f"{value:,.0f}")
    Console().print(table)


def measure(folder: Path, quick: bool) -> dict[str, float]:
    train_bpe(documents(STDLIB), VOCABULARY).save(folder / "tokenizer.json")
    rounds, cores = (3, 9)[not quick], os.cpu_count() or 1
    rates: dict[int, list[float]] = {1: [], cores: []}
    for number in range(rounds):
        for threads, measured in rates.items():
            work = folder / f"{threads}-{number}"
            measured.append(in_a_process(work, folder, threads))
    found = {"tokens/s, 1 thread": statistics.median(rates[1])}
    found[f"tokens/s, {cores} threads"] = statistics.median(rates[cores])
    return found | index_and_read(folder, rounds)


def in_a_process(work: Path, folder: Path, threads: int) -> float:
    """The threads of the library are set when it is loaded."""
    work.mkdir()
    (work / "tokenizer.json").symlink_to(folder / "tokenizer.json")
    done = subprocess.run(
        [sys.executable, __file__, "--write", str(work)],
        env={**os.environ, "RAYON_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return float(done.stdout)


def write(work: Path) -> float:
    tokenizer, texts = load_tokenizer(work / "tokenizer.json"), list(documents(STDLIB))
    start = time.perf_counter()
    facts = write_tokens(work, texts, tokenizer, 0.1, lambda _done: None)
    return float(sum(facts["tokens"].values()) / (time.perf_counter() - start))


def index_and_read(folder: Path, rounds: int) -> dict[str, float]:
    tokens = np.fromfile(folder / "1-0" / "train.tokens", dtype=np.uint16)
    end = load_tokenizer(folder / "tokenizer.json").end_of_text
    several = np.tile(tokens, 100_000_000 // len(tokens))
    # no two documents alike: a counter stands at the start of each
    starts = np.flatnonzero(several[:-2] == end) + 1
    several[starts] = 1 + np.arange(len(starts)) % 1000
    (folder / "flat").mkdir()
    several.tofile(folder / "flat" / "part.npy")
    foreign = find_foreign(CorpusSource(name=str(folder / "flat"), end=end))
    assert isinstance(foreign, Foreign)
    seconds = timed(
        lambda: write_index(
            folder / "index", foreign.open("uint16"), VOCABULARY, end, 0.1, lambda _done: None
        )
    )
    (array,) = (shard.tokens for shard in foreign.open("uint16"))
    pieces = Pieces(
        [array], *np.asarray(np.load(folder / "index" / PIECES, mmap_mode="r")), np.dtype("u2")
    )
    draw = np.random.default_rng(0)
    rows = draw.integers(0, len(pieces) - WIDTH, (200, BATCH))
    read: dict[str, list[float]] = {"pieces": [], "one array": []}
    bases: dict[str, Base] = {"pieces": pieces, "one array": Contiguous(array)}
    for _ in range(rounds):
        for name, base in bases.items():
            read[name].append(rows.size / timed(lambda b=base: [b.take(r, WIDTH) for r in rows]))
    medians = {f"rows/s from {name}": statistics.median(rates) for name, rates in read.items()}
    return {
        "indexing, tokens/s": len(array) / seconds,
        "indexing, documents/s": len(starts) / seconds,
        **medians,
        "pieces over one array": medians["rows/s from pieces"] / medians["rows/s from one array"],
        "pieces a row": 1 + (len(pieces.firsts) - 2) * WIDTH / len(pieces),
    }


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
