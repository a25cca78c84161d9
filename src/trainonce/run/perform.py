"""One piece of work, from the message that describes it to the event that ends it."""

from __future__ import annotations

import json
import os
import platform
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from pydantic import TypeAdapter

from trainonce.run.execute import execute, execute_stacked
from trainonce.run.store import StoreWarning
from trainonce.run.tracking import Tracking
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.tasks.trial import TrialSpec
from trainonce.train.clock import Progress
from trainonce.train.loop import StoppedError
from trainonce.train.settings import CheckpointSettings

Event = dict[str, Any]


def perform(
    message: str, home: Path, tell: Callable[[Event], None], stop: Callable[[], bool]
) -> Event:
    """Do the work of ``message``, as any executor's process does it.

    Args:
        message: what `trainonce.run.executor.Work.message` gave.
        home: where corpora and jobs are kept.
        tell: told that it started, and how far it is.
        stop: asked again and again whether to save and stop.

    Returns:
        The event that ends it: ``done``; ``failed``, with the ``error``, whose traceback is on
        standard error; ``stopped``.
    """
    described = json.loads(message)
    key = described["key"]

    def event(name: str, **facts: Any) -> Event:
        return {"event": name, "key": key, "worker": os.getpid(), **facts}

    def report(progress: Progress) -> None:
        tell(event("progress", **vars(progress)))

    def warn(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, StoreWarning):  # the user's to mend; all others are for the log
            tell(event("warned", warning=str(message)))
        else:
            show(message, category, filename, lineno, file, line)

    show, warnings.showwarning = warnings.showwarning, warn
    try:
        specs = TypeAdapter(list[Spec]).validate_python(described["specs"])
        settings = TypeAdapter(CheckpointSettings).validate_python(described["checkpoints"])
        tracking = TypeAdapter(Tracking | None).validate_python(described.get("tracking"))
        noted = dict(described.get("noted") or {})
        tell(event("started", machine=platform.node()))
        keys = [spec.key for spec in specs]
        if keys != described["keys"]:
            raise ValueError(
                f"this job was planned as {', '.join(described['keys'])} and read as "
                f"{', '.join(keys)}: {platform.node()} has another version of trainonce or torch"
            )
        stack = [spec for spec in specs if isinstance(spec, TrainSpec) and spec.stack]
        if stack:
            if tracking:
                tell(event("warned", warning="runs that train as one stack are not tracked"))
            execute_stacked(stack, home, report, stop, settings, noted)
        else:
            if tracking and isinstance(specs[0], TrialSpec):
                tell(event("warned", warning="trials of a task are not tracked"))
            execute(specs[0], home, report, stop, settings, tracking, noted.get(key))
    except StoppedError:
        return event("stopped")
    except Exception as error:
        traceback.print_exc()
        return event("failed", error=f"{type(error).__name__}: {error}")
    finally:
        warnings.showwarning = show
    return event("done")
