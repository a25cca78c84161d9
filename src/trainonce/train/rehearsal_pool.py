"""A pool of one-thread processes that rehearse training side by side.

The processes start once and wait for orders as lines of JSON, as the executor's workers do, so
that their start is no part of what is timed. They end when their standard input closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from types import TracebackType
from typing import Any

import torch

from trainonce.train.rehearsal import REFERENCES, Reference, Timed, one_after_another

_MOST_WORKERS = {"cpu": 16, "cuda": 4}
_END_SECONDS = 10.0


class RehearsalError(RuntimeError):
    """A process of the pool that ended early."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers(device: torch.device) -> int:
    """How many processes a rehearsal takes: one a core, at most 16, or 4 that share a GPU."""
    return min(cores(), _MOST_WORKERS[device.type])


class RehearsalPool:
    """One-thread processes for one device; a context manager that ends them.

    Attributes:
        size: how many.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "trainonce.train.rehearsal_pool", str(device)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for _ in range(size)
        ]

    def __enter__(self) -> RehearsalPool:
        """The pool itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes, however the block ended."""
        for process in self._processes:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def side_by_side(self, reference: Reference, runs: int) -> Timed:
        """``runs`` separate runs, shared out among the processes; ready when this returns."""
        shares = [runs // self.size + (number < runs % self.size) for number in range(self.size)]
        busy = [p for p, share in zip(self._processes, shares, strict=True) if share]
        for process, share in zip(busy, shares, strict=False):
            _tell(process, {"reference": reference.name, "runs": share})
        self._await(busy)

        def train(steps: int) -> float:
            start = time.perf_counter()
            for process in busy:
                _tell(process, {"steps": steps})
            self._await(busy)
            return time.perf_counter() - start

        return train

    def _await(self, processes: list[subprocess.Popen[str]]) -> None:
        for process in processes:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RehearsalError(
                    f"a rehearsing process ended with status {process.wait()}; "
                    "what it said is on standard error"
                )


def _tell(process: subprocess.Popen[str], order: dict[str, Any]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # its end is found when its answer is awaited
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()


def main() -> None:
    """Rehearse until standard input closes."""
    torch.set_num_threads(1)
    device = torch.device(sys.argv[1])
    train: Timed | None = None
    for line in sys.stdin:
        order = json.loads(line)
        if "reference" in order:
            train = one_after_another(REFERENCES[order["reference"]], order["runs"], device)
        elif train is not None:
            train(order["steps"])
        print("done", flush=True)


if __name__ == "__main__":
    main()
