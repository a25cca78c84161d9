"""Starting the processes that train one job together on this machine: torchrun's own launcher."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from pydantic import TypeAdapter

from trainonce.run.cache import JobCache
from trainonce.run.tracking import Tracking
from trainonce.tasks.specs.runs import StateSpec, TrainSpec
from trainonce.train.clock import Progress
from trainonce.train.guard import DivergedError
from trainonce.train.loop import StoppedError
from trainonce.train.settings import CheckpointSettings

RESTARTS = 3
_POLL_SECONDS = 0.1


class ProcessesError(RuntimeError):
    """The processes of a job could not be started, or did not bring it to its end."""


def launch(
    spec: TrainSpec | StateSpec,
    cache: JobCache,
    settings: CheckpointSettings,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    tracking: Tracking | None = None,
    noted: Mapping[str, Any] | None = None,
) -> None:
    """Train ``spec`` in the processes that it asks for, and wait for them.

    A process that dies ends the others; all start again from the last checkpoint, up to 3 times.
    They end when their standard input closes, so that none outlives this process.

    Args:
        spec: the job.
        cache: where its checkpoints and its result go.
        settings: when its state is saved.
        report: told how far it is.
        stop: asked again and again whether they are to save and end.
        tracking: what the first of them is tracked with.
        noted: what its result is to name.

    Raises:
        ProcessesError: saying what went wrong.
        DivergedError: when the run did.
        StoppedError: when ``stop`` said so.
    """
    run = spec.trained
    _refuse(run)
    assert run.processes is not None
    file = cache.work(spec.key) / "job.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    message = {
        "home": str(cache.home),
        "spec": TypeAdapter(type(spec)).dump_python(spec, mode="json"),
        "checkpoints": asdict(settings),
        "noted": noted,
        "tracking": TypeAdapter(Tracking | None).dump_python(tracking, mode="json"),
    }
    file.write_text(json.dumps(message), encoding="utf-8")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(run.processes.count), "--max-restarts", str(RESTARTS)),
            *("-m", "trainonce.run.rank", "--job", str(file)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={
            **os.environ,
            "OMP_NUM_THREADS": str(run.threads),
            # Else processes that start again read the addresses of those before (pytorch#135712).
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        },
        start_new_session=True,  # Ctrl-C is for the command, which tells us
    )
    failure = _follow(process, report, stop)
    if cache.done(spec.key):
        return
    if failure is not None and (facts := cache.diverged(spec.key)):
        raise DivergedError(facts["error"], facts["step"])
    if failure is not None:
        raise ProcessesError(failure)
    if stop():
        raise StoppedError("stopped; the processes saved their state")
    raise ProcessesError(
        f"one of the {run.processes.count} processes died, {RESTARTS + 1} times; what each of "
        "them said last is in the log. Running again goes on from the last checkpoint"
    )


def _refuse(spec: TrainSpec) -> None:
    """Say what is missing before anything is started."""
    assert spec.processes is not None
    count = spec.processes.count
    if importlib.util.find_spec("accelerate") is None:
        raise ProcessesError(
            f"training in {count} processes needs: pip install 'trainonce[distributed]'"
        )
    if spec.device == "cuda" and torch.cuda.device_count() < count:
        raise ProcessesError(
            f"recipe.processes.count is {count} and this machine has {torch.cuda.device_count()} "
            "GPUs; for several machines start torchrun yourself, see docs/distributed.md"
        )


def _follow(
    process: subprocess.Popen[str], report: Callable[[Progress], None], stop: Callable[[], bool]
) -> str | None:
    """Pass on what the first rank says until all have ended: the error that it told, if any."""
    assert process.stdin is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(process, lines), daemon=True).start()
    failure = None
    line: str | None = ""
    with process:
        while line is not None:
            if not process.stdin.closed and stop():
                process.stdin.close()
            try:
                line = lines.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            event: dict[str, Any] = json.loads(line) if line else {}
            kind = event.pop("event", None)
            if kind == "progress":
                report(Progress(**event))
            elif kind == "failed":
                failure = str(event["error"])
    return failure


def _listen(process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)
