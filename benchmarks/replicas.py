"""K runs of one shape: one after another, stacked in one process, and in a pool of processes.

    python benchmarks/replicas.py            a table; some minutes
    python benchmarks/replicas.py --quick    without the larger decoder; under a minute
    python benchmarks/replicas.py --json     one document on standard output

All three ways do the same updates (forward, backward, clipping, AdamW) on the same fixed batch, in
interleaved rounds; what is printed are medians. One after another and stacked use all cores, the
pool one thread a process and one process a core. The start of the pool's processes is left out: the
executor starts its workers once a study. The choice is that of `trainonce.train.calibrate`, from
what `trainonce doctor` remembered, or measured first where nothing is remembered.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from dataclasses import asdict, dataclass

import torch

from trainonce.stream.home import home
from trainonce.train.calibrate import (
    COUNTS,
    Calibration,
    Way,
    calibrate,
    machine,
    remember,
    remembered,
)
from trainonce.train.rehearsal import REFERENCES, Reference, batched, one_after_another
from trainonce.train.rehearsal_pool import RehearsalPool, cores, workers

ROUND_SECONDS = 0.25
MOST_TIMES = 6


@dataclass(frozen=True, kw_only=True)
class Row:
    """Medians of one shape, device and number of runs.

    Attributes:
        rounds: turns that were timed; fewer than asked for where a turn takes very long.
        seconds: a step of all runs, by way.
        over_batched: wall time one after another over stacked.
        over_pool: wall time one after another over pool.
        choice: the way that the calibration chooses.
        speedup: wall time one after another over the choice.
        lost: by what share the choice is slower than the fastest way.
    """

    device: str
    shape: str
    runs: int
    rounds: int
    seconds: dict[str, float]
    over_batched: float
    over_pool: float
    choice: str
    speedup: float
    lost: float


def measure(
    reference: Reference,
    runs: int,
    device: torch.device,
    pool: RehearsalPool,
    calibration: Calibration,
    rounds: int,
) -> Row:
    """Time the three ways in turns."""
    ways = {
        Way.SEQUENTIAL: one_after_another(reference, runs, device),
        Way.BATCHED: batched(reference, runs, device),
        Way.POOL: pool.side_by_side(reference, runs),
    }
    for train in ways.values():
        train(1)
    steps = max(1, math.ceil(ROUND_SECONDS / ways[Way.SEQUENTIAL](1)))
    turns: list[dict[Way, float]] = []
    end = time.monotonic() + rounds * ROUND_SECONDS * MOST_TIMES
    while len(turns) < rounds and (not turns or time.monotonic() < end):
        turns.append({way: train(steps) / steps for way, train in ways.items()})
    seconds = {way.value: statistics.median(turn[way] for turn in turns) for way in ways}

    def over(way: Way) -> float:
        return statistics.median(turn[Way.SEQUENTIAL] / turn[way] for turn in turns)

    choice = calibration[reference.name].best(runs)
    return Row(
        device=device.type,
        shape=reference.name,
        runs=runs,
        rounds=len(turns),
        seconds=seconds,
        over_batched=over(Way.BATCHED),
        over_pool=over(Way.POOL),
        choice=choice.value,
        speedup=over(choice),
        lost=seconds[choice.value] / min(seconds.values()) - 1,
    )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure_all(quick: bool) -> list[Row]:
    """Every shape and count, on the CPU and on a GPU where there is one."""
    references = [one for one in REFERENCES.values() if not (quick and one.name == "decoder-128")]
    rows: list[Row] = []
    for name in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        device = torch.device(name)
        calibration = remembered(home(), device)
        if not calibration:
            calibration = calibrate(device, tell=say, references=references)
            if not quick:
                remember(home(), device, calibration)
        with RehearsalPool(workers(device), device) as pool:
            for reference in references:
                for runs in COUNTS:
                    say(f"{name}: {reference.name}, {runs} runs")
                    rounds = 3 if quick else 7
                    rows.append(measure(reference, runs, device, pool, calibration, rounds))
    return rows


def table(rows: list[Row]) -> str:
    head = f"{'device':7}{'shape':13}{'K':>4}{'over batched':>14}{'over pool':>11}"
    lines = [head + f"  {'choice':11}{'speedup':>8}{'lost':>7}"]
    lines += [
        f"{row.device:7}{row.shape:13}{row.runs:4}{row.over_batched:14.2f}{row.over_pool:11.2f}"
        f"  {row.choice:11}{row.speedup:8.2f}{row.lost:7.1%}"
        for row in rows
    ]
    return "\n".join(lines)


def document(rows: list[Row]) -> dict[str, object]:
    """The choice's speedup for the MLP on the CPU by K, and everything else below."""
    first = {f"k{row.runs}": round(row.speedup, 3) for row in rows[: len(COUNTS)]}
    return {
        **first,
        "headline": f"{rows[0].shape} on {rows[0].device}",
        "threads": {"sequential": cores(), "batched": cores(), "pool": 1},
        "pool_processes": workers(torch.device("cpu")),
        "machine": machine(torch.device("cpu")),
        "rows": [asdict(row) for row in rows],
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="under a minute")
    options.add_argument("--json", action="store_true", help="one document on standard output")
    chosen = options.parse_args()
    torch.set_num_threads(cores())
    rows = measure_all(chosen.quick)
    if chosen.json:
        print(json.dumps(document(rows), indent=1))
        return
    print(f"{machine(torch.device('cpu'))}; one after another and batched: {cores()} threads,")
    print(
        f"pool: {workers(torch.device('cpu'))} processes of one thread. Wall time one after another"
    )
    print("over each way, and over the choice; lost: the choice against the fastest way.\n")
    print(table(rows))


if __name__ == "__main__":
    main()
