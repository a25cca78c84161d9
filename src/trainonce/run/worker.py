"""A worker process: work comes in as lines of JSON, and events go out as such.

A line holds the spec of one job, or those of a stack, which train as one.

It ends when its standard input closes, so that no worker outlives the command that started it,
however that one ended, and when it is told to (SIGTERM). A training run then saves its state first,
a measurement stops at its next pass through the model, and what has not begun is left at once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

_GRACE_SECONDS = 20.0
_TERMINATED = 128 + signal.SIGTERM


def main() -> None:
    """Work until standard input closes."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not end up between the events
    home = Path(sys.argv[1])
    jobs: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    closing, working, told = threading.Event(), threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        if not working.is_set():  # nothing has begun, so there is nothing to save
            os._exit(_TERMINATED if told.is_set() else 0)
        jobs.put(None)
        last_resort = threading.Timer(_GRACE_SECONDS, os._exit, [1])
        last_resort.daemon = True
        last_resort.start()

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        told.set()
        close()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which tells us
    signal.signal(signal.SIGTERM, terminate)
    threading.Thread(target=_listen, args=(jobs, close), daemon=True).start()
    while (line := jobs.get()) is not None and not closing.is_set():
        _work(line, home, events, closing, working)
    if told.is_set():
        sys.exit(_TERMINATED)


def _listen(jobs: queue.SimpleQueue[str | None], close: Callable[[], None]) -> None:
    for line in sys.stdin:
        jobs.put(line)
    close()


def _work(
    message: str,
    home: Path,
    events: TextIO,
    closing: threading.Event,
    working: threading.Event,
) -> None:
    from trainonce.run.perform import perform

    def tell(event: dict[str, Any]) -> None:
        if not closing.is_set():
            print(json.dumps(event), file=events, flush=True)

    working.set()
    try:
        tell(perform(message, home, tell, closing.is_set))
    finally:
        working.clear()


if __name__ == "__main__":
    main()
