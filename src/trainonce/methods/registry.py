"""How methods become known: a decorator on the definition, found by a scan of the packages."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import ConfigDict

from trainonce.sites import Family, Site

ENTRY_POINTS = "trainonce.methods"

_Class = TypeVar("_Class", bound=type)
_registered: dict[str, Method] = {}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a probe measures of a unit, and what a question needs to know of it.

    Attributes:
        name: as it stands in the study file.
        says: the quantity in words, with its unit.
        direction: +1 where a treatment is expected to raise it, -1 where to lower it.
        smallest: the smallest effect of interest, unless a question names its own.
        spread: standard deviation between units that plans assume before any data.
        low: its least possible value, or None.
        high: its greatest possible value, or None.
    """

    name: str
    says: str
    direction: int
    smallest: float
    spread: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """A registered method and what others need to know of it."""

    name: str
    site: Site
    cls: type
    paper: str | None
    version: int
    probe: str | None
    outcomes: tuple[Outcome, ...]
    family: Family | None = None

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def settings(self) -> Mapping[str, dataclasses.Field[Any]]:
        """Its settings: the fields of its data class."""
        return {field.name: field for field in dataclasses.fields(self.cls)}


def method(
    *,
    site: Site,
    paper: str | None = None,
    version: int = 1,
    probe: str | None = None,
    outcomes: tuple[Outcome, ...] = (),
    name: str | None = None,
    family: Family | None = None,
) -> Callable[[_Class], _Class]:
    """Register a frozen data class as a method.

    Args:
        site: where it acts.
        paper: arXiv id of its source.
        version: raised when its results change, so that cached jobs are not reused.
        probe: for an item treatment, the name of the probe that measures its items.
        outcomes: for a probe, what it measures.
        name: as it stands in study files; the class name in snake case when left out.
        family: of an objective.
    """

    def register(cls: _Class) -> _Class:
        if not dataclasses.is_dataclass(cls):
            raise TypeError(f"{cls.__name__} must be a data class: its fields are its settings")
        known = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        other = _registered.get(known)
        if other and other.cls.__module__ != cls.__module__:
            raise ValueError(f"two methods are named {known!r}: {other.cls} and {cls}")
        cls.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
        _registered[known] = Method(
            name=known,
            site=site,
            cls=cls,
            paper=paper,
            version=version,
            probe=probe,
            outcomes=outcomes,
            family=family,
        )
        return cls

    return register


@cache
def _scan() -> None:
    import trainonce.methods as package

    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()


def methods(site: Site | None = None) -> dict[str, Method]:
    """All methods by name, those of ``site`` alone when one is given; other packages' included."""
    _scan()
    return {
        name: known
        for name, known in sorted(_registered.items())
        if site is None or known.site is site
    }


def probe_of(treatment: Method) -> Method:
    """The probe that measures the items of ``treatment``."""
    if treatment.probe is None:
        raise ValueError(f"{treatment.name} is no item treatment")
    return methods(Site.PROBE)[treatment.probe]


def exported(package: str, attribute: str) -> type:
    """The class that ``from trainonce.methods.<site> import Class`` means.

    Raises:
        AttributeError: when no method of that site has this class name.
    """
    for known in methods().values():
        if known.cls.__name__ == attribute and known.cls.__module__.startswith(f"{package}."):
            return known.cls
    raise AttributeError(f"module {package!r} has no attribute {attribute!r}")
