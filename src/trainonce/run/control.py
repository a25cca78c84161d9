"""Stop the process that runs a study on this machine, and start one that goes on."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

from trainonce.run.status import StudyStatus


class ControlError(RuntimeError):
    """A study that cannot be stopped or gone on with from here; the message says why."""


def stop(study: StudyStatus) -> None:
    """Ask the process that runs a study to save its state and end.

    A process is only ever asked when the ledger has just heard of it on this machine and its own
    command line says that it is ``trainonce run``: numbers of processes are given out again, and a
    study may run inside a notebook that holds more than the study.

    Raises:
        ControlError: when nothing was asked.
    """
    if study.state != "running":
        raise ControlError(f"nothing runs this study: it is {study.state}")
    if study.machine != platform.node():
        raise ControlError(f"it runs on {study.machine}, and can be stopped only there")
    if not _runs_studies(study.process):
        raise ControlError(
            f"process {study.process} is not a `trainonce run`: stop the study in the program "
            "that runs it"
        )
    try:
        os.kill(study.process, signal.SIGTERM)
    except OSError as error:
        raise ControlError(f"process {study.process} was not reached: {error.strerror}") from None


def go_on(file: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start ``trainonce run FILE`` as a process of its own, which stays when we end.

    Args:
        file: the study file.
        log: where what it says is written.

    Raises:
        ControlError: when it cannot be started.
    """
    if not file.is_file():
        raise ControlError(f"the study file {file} is not there any more")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "trainonce", "run", "--", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise ControlError(f"it could not be started: {error}") from None


def _runs_studies(process: int) -> bool:
    words = _command(process)
    named = any(Path(word).name == "trainonce" for word in words)
    return named and "run" in words


def _command(process: int) -> list[str]:
    """The words of a process's command line, none when there is no such process."""
    file = Path(f"/proc/{process}/cmdline")
    if Path("/proc/self").exists():
        try:
            return file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []
    asked = subprocess.run(
        ["ps", "-o", "command=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return asked.stdout.split()
