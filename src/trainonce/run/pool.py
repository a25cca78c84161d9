"""A pool of worker processes on this machine, each with at most one job."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from trainonce.run.executor import Work
from trainonce.run.tracking import Tracking
from trainonce.train.settings import CheckpointSettings

_LOG_LINES = 15
_STOP_SECONDS = 25.0


class Pool:
    """The local executor: worker processes, each at one piece of work at most."""

    def __init__(
        self,
        home: Path,
        size: int,
        checkpoints: CheckpointSettings,
        tracking: Tracking | None = None,
    ) -> None:
        self._home = home
        self._size = size
        self._checkpoints = checkpoints
        self._tracking = tracking
        self._numbers = itertools.count()
        self._events: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
        self._workers: list[Worker] = []
        self._logs: dict[str, Path] = {}

    @property
    def running(self) -> set[str]:
        """Keys of the work that workers are at."""
        return {worker.work.key for worker in self._workers if worker.work}

    def start(self, work: Work) -> bool:
        """Hand ``work`` to an idle worker; False when all are busy."""
        idle = next((worker for worker in self._workers if worker.work is None), None)
        if idle is None:
            if len(self._workers) == self._size:
                return False
            idle = self._hire()
        self._give(idle, work)
        return True

    def _give(self, worker: Worker, work: Work) -> None:
        self._logs[work.key] = worker.log
        worker.give(work, work.message(self._checkpoints, self._tracking))

    def _hire(self) -> Worker:
        worker = Worker(self._home, next(self._numbers), self._events)
        self._workers.append(worker)
        return worker

    def next_event(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next event of a piece of work."""
        while True:
            worker, event = self._events.get()
            if event is None and worker.between_jobs:
                self._replace(worker)
            elif event is None:
                return self._ended(worker)
            else:
                if event["event"] == "started":
                    worker.started = True
                elif event["event"] in ("done", "failed"):
                    worker.work, worker.finished = None, worker.finished + 1
                return str(event["key"]), event

    def _replace(self, worker: Worker) -> None:
        """A worker that ended between two jobs did no harm: another one takes what comes next."""
        self._dismiss(worker)
        if worker.work is not None:
            self._give(self._hire(), worker.work)

    def _dismiss(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.close()

    def log(self, key: str) -> Path:
        """The log of the worker that had this work last."""
        return self._logs[key]

    def close(self) -> None:
        """Let every worker save and end; an interruption ends them at once."""
        deadline = time.monotonic() + _STOP_SECONDS
        try:
            for worker in self._workers:
                worker.close()
            for worker in self._workers:
                worker.wait(deadline)
        except BaseException:
            for worker in self._workers:
                worker.process.kill()
            raise

    def _ended(self, worker: Worker) -> tuple[str, dict[str, Any]]:
        assert worker.work is not None
        self._dismiss(worker)
        status = worker.process.wait()
        lines = worker.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        error = "\n".join([f"its process {_end(status)}", *lines])
        key = worker.work.key
        return key, {"event": "crashed" if status < 0 else "failed", "key": key, "error": error}


def _end(status: int) -> str:
    """How a process ended, and what that usually means."""
    if status >= 0:
        return f"ended with status {status}{_MEANINGS.get(status, '')}"
    return f"was ended by {signal.Signals(-status).name}{_MEANINGS.get(status, '')}"


_MEANINGS = {
    128 + signal.SIGTERM: ": it was told to stop, and saved its state; run again to go on",
    -signal.SIGKILL: ", which the system sends when memory runs out",
    -signal.SIGBUS: ": a data file that it reads was cut short, or the disk is full",
}


class Worker:
    """One worker process, and a thread that listens to it."""

    def __init__(
        self, home: Path, number: int, events: queue.Queue[tuple[Worker, dict[str, Any] | None]]
    ) -> None:
        folder = home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        self.work: Work | None = None
        self.started = False
        self.finished = 0
        self.log = folder / f"worker-{os.getpid()}-{number}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trainonce.run.worker", str(home)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
            )
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    @property
    def between_jobs(self) -> bool:
        """Whether it is at no job, having shown with another that it can be."""
        return self.work is None or (self.finished > 0 and not self.started)

    def give(self, work: Work, message: str) -> None:
        """Hand it a piece of work."""
        self.work, self.started = work, False
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # if it is gone, its end is the next event
            self.process.stdin.write(message + "\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Tell it to save and end."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it may be gone already
            self.process.stdin.close()

    def wait(self, deadline: float) -> None:
        """Wait for its end until ``deadline``, and end it then."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.returncode == 0 and not self.log.stat().st_size:
            self.log.unlink()

    def _listen(self, events: queue.Queue[tuple[Worker, dict[str, Any] | None]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            events.put((self, json.loads(line)))
        events.put((self, None))
