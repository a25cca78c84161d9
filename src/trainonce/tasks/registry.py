"""How tasks become known: a decorator on the definition, found by a scan of the package.

A task is a small training problem as a whole, data, model, objective and probes in one: a data
class of settings, some of which hold methods (`trainonce.tasks.placing.At`), that is called with a
seed and says what came out.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeVar

from trainonce.methods.registered import Registered, prepared
from trainonce.methods.registry import Outcome

_Class = TypeVar("_Class", bound=type)
_registered: dict[str, Task] = {}


class TaskCall(Protocol):
    """A task with its settings."""

    def __call__(self, seed: int, /) -> Mapping[str, float]:
        """Train and measure: the value of each of the task's outcomes.

        Everything random is drawn from ``seed``; two calls give the same numbers.
        """


@dataclass(frozen=True, kw_only=True)
class Task(Registered):
    """A registered task and what others need to know of it."""

    outcomes: tuple[Outcome, ...]
    packages: tuple[str, ...]


def task(
    *,
    outcomes: tuple[Outcome, ...],
    version: int = 1,
    packages: tuple[str, ...] = (),
    name: str | None = None,
) -> Callable[[_Class], _Class]:
    """Register a frozen data class as a task.

    Args:
        outcomes: what it measures, the one that decides unless a question says otherwise first.
        version: raised when its results change, so that cached jobs are not reused.
        packages: names of the packages that its data comes from, whose versions its results
            depend on.
        name: as it stands in study files; the class name in snake case when left out.
    """

    def register(cls: _Class) -> _Class:
        known = prepared(cls, name, _registered, "task")
        _registered[known] = Task(
            name=known, cls=cls, version=version, outcomes=outcomes, packages=packages
        )
        return cls

    return register


@cache
def _scan() -> None:
    import trainonce.tasks.bundles as package

    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def tasks() -> dict[str, Task]:
    """All tasks by name."""
    _scan()
    return dict(sorted(_registered.items()))
