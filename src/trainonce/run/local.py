"""The local executor: a pool of worker processes that takes the jobs of a plan in order."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from trainonce.plan.plan import Job, Plan
from trainonce.run.cache import JobCache
from trainonce.tasks.language import TrainSpec

_LOG_LINES = 15
_STOP_SECONDS = 25.0


class JobFailedError(RuntimeError):
    """A job that could not be finished; the message says which, why, and where the log is."""


@dataclass(frozen=True)
class Event:
    """Something to show: a job was reused, started, moved on or finished."""

    kind: str
    job: Job
    facts: Mapping[str, Any]


def carry_out(
    plan: Plan, *, workers: int | None = None, report: Callable[[Event], None] | None = None
) -> None:
    """Run the jobs of ``plan`` that are not finished; all of them are when this returns.

    Args:
        plan: what to run.
        workers: processes side by side; as many as cores and threads allow when left out.
        report: told what happens.

    Raises:
        JobFailedError: when a job fails; what is finished stays, and running again goes on.
    """
    say = report or (lambda _event: None)
    cache = JobCache(plan.home)
    open_jobs: dict[str, Job] = {}
    for job in plan.jobs:
        if cache.done(job.key):
            say(Event("reused", job, {}))
        else:
            open_jobs[job.key] = job
    if not open_jobs:
        return
    start = time.monotonic()
    before = spent_seconds(plan)
    pool = _Pool(plan.home, min(workers or _pool_size(plan), len(open_jobs)))
    try:
        while open_jobs:
            for job in _ready(open_jobs, pool.running):
                if not pool.start(job):
                    break
                say(Event("started", job, {}))
            key, event = pool.next_event()
            job = open_jobs[key]
            if event["event"] == "done":
                del open_jobs[key]
                _keep_seconds(plan, before + time.monotonic() - start)
            elif event["event"] == "failed":
                raise JobFailedError(f"{job.reason}: {event['error']}\nthe log: {pool.log(key)}")
            say(Event(event["event"], job, event))
    finally:
        pool.close()


def spent_seconds(plan: Plan) -> float:
    """Wall-clock seconds that this plan's jobs have taken so far, over all times it was started."""
    file = _seconds_file(plan)
    return float(json.loads(file.read_text())["seconds"]) if file.is_file() else 0.0


def _keep_seconds(plan: Plan, seconds: float) -> None:
    file = _seconds_file(plan)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps({"study": plan.study, "seconds": round(seconds, 3)}))
    temporary.replace(file)


def _seconds_file(plan: Plan) -> Path:
    return plan.home / "plans" / f"{plan.jobs_hash}.json"


def _ready(open_jobs: Mapping[str, Job], running: set[str]) -> list[Job]:
    return [
        job
        for key, job in open_jobs.items()
        if key not in running and not any(parent in open_jobs for parent in job.parents)
    ]


def _pool_size(plan: Plan) -> int:
    trains = [job.spec for job in plan.jobs if isinstance(job.spec, TrainSpec)]
    if any(spec.device != "cpu" for spec in trains):
        return 1
    return max(1, (os.cpu_count() or 1) // max(spec.threads for spec in trains))


class _Pool:
    """Worker processes, each with at most one job."""

    def __init__(self, home: Path, size: int) -> None:
        self._home = home
        self._size = size
        self._events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._workers: list[_Worker] = []

    @property
    def running(self) -> set[str]:
        return {worker.job.key for worker in self._workers if worker.job}

    def start(self, job: Job) -> bool:
        """Hand ``job`` to an idle worker; False when all are busy."""
        idle = next((worker for worker in self._workers if worker.job is None), None)
        if idle is None:
            if len(self._workers) == self._size:
                return False
            idle = _Worker(self._home, len(self._workers), self._events)
            self._workers.append(idle)
        idle.give(job)
        return True

    def next_event(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next event of a job."""
        worker, event = self._events.get()
        while event is None and worker.job is None:  # it ended between two jobs
            self._workers.remove(worker)
            worker, event = self._events.get()
        if event is None:
            return self._ended(worker)
        if event["event"] in ("done", "failed"):
            worker.job = None
        return str(event["key"]), event

    def log(self, key: str) -> Path:
        """The log of the worker that had the job last."""
        return next(worker.log for worker in self._workers if worker.last == key)

    def close(self) -> None:
        """Let every worker save and end."""
        for worker in self._workers:
            worker.close()
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in self._workers:
            worker.wait(deadline)

    def _ended(self, worker: _Worker) -> tuple[str, dict[str, Any]]:
        status = worker.process.wait()
        lines = worker.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        error = f"its process ended with status {status}\n" + "\n".join(lines)
        return worker.last, {"event": "failed", "key": worker.last, "error": error}


class _Worker:
    def __init__(
        self, home: Path, number: int, events: queue.Queue[tuple[_Worker, dict[str, Any] | None]]
    ) -> None:
        folder = home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        self.job: Job | None = None
        self.last = ""
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

    def give(self, job: Job) -> None:
        self.job, self.last = job, job.key
        spec = TypeAdapter(type(job.spec)).dump_python(job.spec, mode="json")
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # if it is gone, its end is the next event
            self.process.stdin.write(json.dumps({"key": job.key, "spec": spec}) + "\n")
            self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it may be gone already
            self.process.stdin.close()

    def wait(self, deadline: float) -> None:
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.returncode == 0 and not self.log.stat().st_size:
            self.log.unlink()

    def _listen(self, events: queue.Queue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            events.put((self, json.loads(line)))
        events.put((self, None))
