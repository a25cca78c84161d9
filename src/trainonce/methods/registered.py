"""What is known by a name, methods and tasks alike: a data class whose fields are its settings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ConfigDict, TypeAdapter


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A registered data class.

    Attributes:
        name: as it stands in study files.
        cls: the data class.
        version: raised when its results change.
    """

    name: str
    cls: type
    version: int

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def settings(self) -> Mapping[str, dataclasses.Field[Any]]:
        """Its settings: the fields of its data class."""
        return {field.name: field for field in dataclasses.fields(self.cls)}

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Reads its settings from plain data and writes them; made once, as that takes a while."""
        return TypeAdapter(self.cls)


def prepared(cls: type, name: str | None, known: Mapping[str, Registered], kind: str) -> str:
    """Make ``cls`` refuse settings that it does not have, and return what it is to be known by.

    Args:
        cls: a data class.
        name: what it is to be known by; the class name in snake case when None.
        known: what is registered already.
        kind: what such classes are, in an error.

    Raises:
        TypeError: when it is no data class.
        ValueError: when a class of another module has this name.
    """
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__name__} must be a data class: its fields are its settings")
    name = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    other = known.get(name)
    if other and other.cls.__module__ != cls.__module__:
        raise ValueError(f"two {kind}s are named {name!r}: {other.cls} and {cls}")
    cls.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return name
