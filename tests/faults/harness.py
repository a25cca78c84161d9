"""Real processes that die at a chosen moment.

Each child is forked from a server that has imported everything, so that a start costs milliseconds.
The product knows nothing of this: a child patches itself, runs the job, and kills itself (SIGKILL)
at its phase, which is as sudden as a kill from outside and always at the same place.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from trainonce.methods.registry import methods
from trainonce.models.decoder import Decoder
from trainonce.run import cache, execute, worker
from trainonce.tasks import language
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train import checkpoints
from trainonce.train.settings import CheckpointSettings

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "pytest",
        "torch._dynamo",  # which an optimizer imports at its first step
        "trainonce.run.execute",
        "trainonce.run.pool",
        *(known.cls.__module__ for known in methods().values()),
    ]
)

EVERY = CheckpointSettings(steps=5)
Patch = Callable[[pytest.MonkeyPatch], None]


def die() -> None:
    """End as suddenly as a process can."""
    os.kill(os.getpid(), signal.SIGKILL)


def _dies_at_call(number: int, function: Any, when: Callable[..., bool] = lambda *_: True) -> Any:
    """``function``, but its call of that number, among those that ``when`` holds for, kills."""
    left = number

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        if when(*arguments):
            left -= 1
            if not left:
                die()
        return function(*arguments, **named)

    return wrapped


def _dies_half_written(number: int, write: Callable[..., Any], path_at: int) -> Any:
    """``write``, but its call of that number leaves half a file and kills."""
    left = number

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        result = write(*arguments, **named)
        if not left:
            path = Path(arguments[path_at])
            os.truncate(path, path.stat().st_size // 2)
            die()
        return result

    return wrapped


def _step(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.optim.AdamW, "step", _dies_at_call(18, torch.optim.AdamW.step))


def _tensors(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoints, "save_file", _dies_half_written(3, safetensors.torch.save_file, 1))


def _manifest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoints, "checksum", _dies_at_call(5, checkpoints.checksum))


def _rename(patch: pytest.MonkeyPatch) -> None:
    def is_checkpoint(path: Path, *_: Path) -> bool:
        return path.name.startswith(".step-")

    patch.setattr(Path, "replace", _dies_at_call(3, Path.replace, is_checkpoint))


def _flush(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoints, "_flush", _dies_at_call(3, checkpoints._flush, Path.is_dir))


def _dropping(patch: pytest.MonkeyPatch) -> None:
    remove = shutil.rmtree

    def half_removed(path: Path, **named: Any) -> None:
        if path.name.startswith("step-") and path.is_dir():
            (path / "state.safetensors").unlink()
            die()
        remove(path, **named)

    patch.setattr(shutil, "rmtree", half_removed)


def _result(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cache, "save_file", _dies_half_written(1, safetensors.torch.save_file, 1))


def _result_rename(patch: pytest.MonkeyPatch) -> None:
    def is_result(path: Path, *_: Path) -> bool:
        return path.name == "result"

    patch.setattr(Path, "replace", _dies_at_call(1, Path.replace, is_result))


def _cleaning(patch: pytest.MonkeyPatch) -> None:
    def is_work(path: Path, *_: Any) -> bool:
        return path.name.endswith(".work")

    patch.setattr(shutil, "rmtree", _dies_at_call(1, shutil.rmtree, is_work))


def _measuring(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Decoder, "forward", _dies_at_call(1, Decoder.forward))


def _rows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Path, "write_bytes", _dies_half_written(1, Path.write_bytes, 0))


TRAINING: dict[str, Patch] = {
    "mid-step": _step,
    "mid-save": _tensors,
    "before the manifest": _manifest,
    "before the rename": _rename,
    "between the rename and the flush of the folder": _flush,
    "while an old checkpoint is dropped": _dropping,
    "while the result is written": _result,
    "before the result's rename": _result_rename,
    "before the checkpoints of a finished job go": _cleaning,
}
MEASURING: dict[str, Patch] = {
    "mid-measurement": _measuring,
    "while the rows are written": _rows,
    "before the result's rename": _result_rename,
}


def _limited_at_call(number: int, function: Any) -> Any:
    """``function``, but from its call of that number on no file may have over 1,000 bytes."""
    left = number

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        return function(*arguments, **named)

    return wrapped


def _checkpoint_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoints, "save_file", _limited_at_call(2, safetensors.torch.save_file))


def _result_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cache, "save_file", _limited_at_call(1, safetensors.torch.save_file))


LIMITS: dict[str, Patch] = {"checkpoint": _checkpoint_limit, "result": _result_limit}


def run(spec: Spec, home: Path, patch: Patch | None = None) -> tuple[int, str]:
    """Run a job in a process of its own: its exit code, and the error that it ended with."""
    receive, send = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=_run, args=(spec, home, patch, send))
    child.start()
    send.close()
    try:
        error = str(receive.recv())
    except EOFError:  # killed before it could say anything
        error = ""
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode, error


def _run(spec: Spec, home: Path, patch: Patch | None, send: Connection) -> None:
    if patch is not None:
        patch(pytest.MonkeyPatch())
    try:
        execute.execute(spec, home, lambda _progress: None, lambda: False, EVERY)
    except Exception as error:
        send.send(f"{type(error).__name__}: {error}")
        sys.exit(1)
    send.send("")


def race(spec: TrainSpec, home: Path, processes: int) -> list[int]:
    """Let processes run one job at the same time: their exit codes. Each start is a line."""
    children = [CONTEXT.Process(target=_race, args=(spec, home)) for _ in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    return [child.exitcode or 0 for child in children]


def _race(spec: TrainSpec, home: Path) -> None:
    train = language.run_training

    def counted(*arguments: Any, **named: Any) -> Any:
        with (home / "starts").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return train(*arguments, **named)

    pytest.MonkeyPatch().setattr(execute, "run_training", counted)
    execute.execute(spec, home, lambda _progress: None, lambda: False, EVERY)


def start_worker(home: Path) -> tuple[Any, Connection, Connection]:
    """A real worker whose model takes its time: the process, what it reads, what it says."""
    read, tell = CONTEXT.Pipe(duplex=False)
    hear, write = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=_worker, args=(home, read, write))
    child.start()
    read.close()
    write.close()
    return child, tell, hear


def _worker(home: Path, read: Connection, write: Connection) -> None:
    os.dup2(read.fileno(), 0)
    os.dup2(write.fileno(), 1)
    read.close()
    write.close()
    sys.stdin = os.fdopen(0)
    sys.argv = ["worker", str(home)]
    forward = Decoder.forward

    def slow(self: Decoder, tokens_BT: torch.Tensor) -> torch.Tensor:
        (home / "in the model").touch()
        time.sleep(0.3)
        return forward(self, tokens_BT)

    pytest.MonkeyPatch().setattr(Decoder, "forward", slow)
    worker.main()
