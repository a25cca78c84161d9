"""What carries work out, wherever it does: the side that the scheduler sees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from trainonce.plan.jobs import Job
from trainonce.run.execute import Noted
from trainonce.run.tracking import Tracking
from trainonce.train.settings import CheckpointSettings


class ExecutorError(RuntimeError):
    """No job can be begun; the message says what is missing and what mends it."""


@dataclass(frozen=True)
class Work:
    """What one process does at a time: a job, or the jobs of a stack, which train as one.

    Attributes:
        key: that of the job, or of the stack.
        jobs: one, or all jobs of the stack.
        noted: what their results are to name, by key: the plan that wanted them, and the seconds
            that it promised. Other plans may want them too, so that this is no part of a key.
    """

    key: str
    jobs: tuple[Job, ...]
    noted: Mapping[str, Noted] = field(default_factory=dict)

    def message(self, checkpoints: CheckpointSettings, tracking: Tracking | None = None) -> str:
        """One line of JSON, for `trainonce.run.perform.perform` in another process.

        Args:
            checkpoints: when runs save their state; no result depends on it.
            tracking: what runs are tracked with; nor on this.
        """
        specs = [
            TypeAdapter(type(job.spec)).dump_python(job.spec, mode="json") for job in self.jobs
        ]
        return json.dumps(
            {
                "key": self.key,
                "keys": [job.key for job in self.jobs],
                "specs": specs,
                "noted": self.noted,
                "checkpoints": asdict(checkpoints),
                "tracking": TypeAdapter(Tracking | None).dump_python(tracking, mode="json"),
            }
        )


class Executor(Protocol):
    """Processes that take work: those of this machine, or of a Ray cluster.

    An event is a dict whose ``event`` is one of

    - ``started``: a process has the work in hand;
    - ``progress``: how far a training run is;
    - ``warned``: a warning that is the user's to mend;
    - ``done``;
    - ``failed``: an exception, named by ``error``, which a second try would meet again;
    - ``crashed``: the process is gone, and ``error`` says how.

    After the last three, ``done``, ``failed`` and ``crashed``, the work is no longer running.
    """

    @property
    def running(self) -> Set[str]:
        """Keys of the work that was taken and has not ended."""

    def start(self, work: Work) -> bool:
        """Take ``work``; False when nothing more can be taken now.

        Raises:
            ExecutorError: when it never could be.
        """

    def next_event(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next event: the key of its work, and what happened."""

    def log(self, key: str) -> Path:
        """Where the process that had this work last wrote what it had to say."""

    def close(self) -> None:
        """Let all work save its state and end; an interruption ends it at once."""
