"""How methods become known: a decorator on the definition, found by a scan of the packages."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from trainonce.methods.registered import Registered, prepared
from trainonce.sites import Family, Site

ENTRY_POINTS = "trainonce.methods"
LATER: Mapping[str, bool] = {"later": True}
"""Metadata of a setting that came after a method's first release, with a default that does what was
done before: where it says that, it is left out of a job's key, so that finished jobs are found."""
MADE: Mapping[str, bool] = {"made": True}
"""Metadata of a setting of the items that a treatment makes itself, which means nothing beside a
``file`` of the user's own: a study with both is refused."""
COPIES = "copies of each item"
"""What doses count, unless a method says otherwise."""

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
        detects: whether it is a score to tell items that were inserted from those that were not; an
            answer then says how well it does.
        over: for a change of each unit, such as by unlearning, the doses whose units' mean change
            it is; empty for what is compared between doses. A change does not decide a question.
    """

    name: str
    says: str
    direction: int
    smallest: float
    spread: float
    low: float | None = None
    high: float | None = None
    detects: bool = False
    over: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Method(Registered):
    """A registered method and what others need to know of it."""

    site: Site
    paper: str | None
    probe: str | None
    outcomes: tuple[Outcome, ...]
    exclusive: tuple[str, ...] = ()
    dose: str = COPIES
    family: Family | None = None
    limit: Mapping[str, Any] | None = None
    needs: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    stacks: bool = False
    exempt: Mapping[str, str] = field(default_factory=dict)
    forgotten: int | None = None

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """In plain data a method is its name."""
        return core_schema.no_info_plain_validator_function(
            _named,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda known: known.name
            ),
        )


def method(
    *,
    site: Site,
    paper: str | None = None,
    version: int = 1,
    probe: str | None = None,
    outcomes: tuple[Outcome, ...] = (),
    exclusive: tuple[str, ...] = (),
    dose: str = COPIES,
    name: str | None = None,
    family: Family | None = None,
    limit: Mapping[str, Any] | None = None,
    needs: tuple[str, ...] = (),
    conflicts: tuple[str, ...] = (),
    stacks: bool = False,
    exempt: Mapping[str, str] | None = None,
    forgotten: int | None = None,
) -> Callable[[_Class], _Class]:
    """Register a frozen data class as a method.

    Args:
        site: where it acts.
        paper: arXiv id of its source.
        version: raised when its results change, so that cached jobs are not reused.
        probe: for an item treatment, the name of the probe that measures its items.
        outcomes: for a probe, what it measures.
        exclusive: for an item treatment, settings that name its items. Two questions in which one
            has the same content (for a path that of the file) never share a run: each would deal
            its own doses to the same items.
        dose: for an item treatment, what its doses count.
        name: as it stands in study files; the class name in snake case when left out.
        family: how it is called, where methods of its site are called in several ways.
        limit: settings at which it does nothing: what it is given stays as it is, or the result
            equals that of the plain method of its family. None where it has no such case.
        needs: names of extras that it imports.
        conflicts: names of methods that it cannot be together with in one run.
        stacks: for an optimizer, whether runs that it trains may be stacked.
        exempt: parts of its site's contract that cannot hold for it, by name, each with the reason.
        forgotten: for an item treatment, the dose of items that are to be forgotten again. Scores
            of membership are then to tell these alone from dose 0, and what they tell has leaked.
    """

    def register(cls: _Class) -> _Class:
        known = prepared(cls, name, _registered, "method")
        _registered[known] = Method(
            name=known,
            site=site,
            cls=cls,
            paper=paper,
            version=version,
            probe=probe,
            outcomes=outcomes,
            exclusive=exclusive,
            dose=dose,
            family=family,
            limit=limit,
            needs=needs,
            conflicts=conflicts,
            stacks=stacks,
            exempt=exempt or {},
            forgotten=forgotten,
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


def _named(value: Any) -> Method:
    known = value if isinstance(value, Method) else methods().get(value)
    if known is None:
        raise ValueError(f"there is no method {value!r}")
    return known


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
