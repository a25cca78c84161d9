"""Trials: a task trained and measured at one seed, as one job."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from trainonce.sites import Measurement
from trainonce.tasks.keys import adapter, spec_hash
from trainonce.tasks.registry import Task, TaskCall, tasks

RUN = "run"
"""The unit of a trial's measurements."""


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """All that determines what a task measures at one seed.

    Attributes:
        task: its name.
        version: its version.
        settings: its settings as plain data, with the methods in them and their versions.
        seed: of all that is random.
        packages: versions of the packages that its data comes from.
        threads: threads of the matrix products; other numbers give other last bits.
    """

    kind: Literal["trial"] = "trial"
    task: str
    version: int
    settings: dict[str, Any]
    seed: int
    packages: dict[str, str] = field(default_factory=dict)
    threads: int = 1

    @classmethod
    def of(cls, known: Task, settings: Any, seed: int) -> TrialSpec:
        """``known`` with ``settings``, an instance of its class."""
        return cls(
            task=known.name,
            version=known.version,
            settings=dict(known.adapter.dump_python(settings, mode="json")),
            seed=seed,
            packages={name: installed(name) for name in known.packages},
        )

    @cached_property
    def key(self) -> str:
        """The job's key."""
        return spec_hash(adapter(TrialSpec).dump_python(self, mode="json"))


def installed(package: str) -> str:
    """The version of a package; empty where it is not installed, which the task then says.

    ``python`` is the interpreter, whose standard library some tasks read.
    """
    if package == "python":
        return platform.python_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


class OutcomeError(ValueError):
    """What a task measured is not what it says that it measures."""


def run_trial(spec: TrialSpec) -> list[Measurement]:
    """Train and measure.

    Raises:
        OutcomeError: when its outcomes are others than it says.
    """
    known = tasks()[spec.task]
    tried: TaskCall = known.adapter.validate_python(spec.settings)
    found = tried(spec.seed)
    names = [outcome.name for outcome in known.outcomes]
    if sorted(found) != sorted(names):
        raise OutcomeError(f"task {spec.task} measures {names} and gave {sorted(found)}")
    return [
        Measurement(unit=RUN, kind="", dose=0, outcome=name, value=float(found[name]))
        for name in names
    ]
