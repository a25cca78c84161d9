"""A worker process: job specs come in as lines of JSON, and events go out as such.

It ends when its standard input closes, so that no worker outlives the command that started it,
however that one ended. A training run then saves its state first.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO

_GRACE_SECONDS = 20.0


def main() -> None:
    """Work until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which tells us
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not end up between the events
    home = Path(sys.argv[1])
    jobs: queue.Queue[str | None] = queue.Queue()
    closing = threading.Event()
    threading.Thread(target=_listen, args=(jobs, closing), daemon=True).start()
    while (line := jobs.get()) is not None:
        _work(json.loads(line), home, events, closing)


def _listen(jobs: queue.Queue[str | None], closing: threading.Event) -> None:
    for line in sys.stdin:
        jobs.put(line)
    closing.set()
    jobs.put(None)
    last_resort = threading.Timer(_GRACE_SECONDS, os._exit, [1])
    last_resort.daemon = True
    last_resort.start()


def _work(message: dict[str, Any], home: Path, events: TextIO, closing: threading.Event) -> None:
    from pydantic import TypeAdapter

    from trainonce.run.execute import execute
    from trainonce.tasks.language import Spec
    from trainonce.train.loop import Progress, StoppedError

    def tell(event: str, **facts: Any) -> None:
        if not closing.is_set():
            print(json.dumps({"event": event, "key": key, **facts}), file=events, flush=True)

    def report(progress: Progress) -> None:
        tell("progress", **vars(progress))

    key = message["key"]
    try:
        spec: Spec = TypeAdapter(Spec).validate_python(message["spec"])
        execute(spec, home, report, closing.is_set)
    except StoppedError:
        return
    except Exception as error:
        traceback.print_exc()
        tell("failed", error=f"{type(error).__name__}: {error}")
    else:
        tell("done")


if __name__ == "__main__":
    main()
