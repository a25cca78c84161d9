"""What pydantic finds wrong, in our words and at the place that the user has to mend."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trainonce.sites import SettingError
from trainonce.study.problems import Place, Problem, nearest
from trainonce.study.yaml_lines import Document


def problem_of(
    document: Document, details: ErrorDetails, schema: type, base: Place = ()
) -> Problem:
    """A pydantic error in our words, at the place that the user has to mend."""
    place: Place = (*base, *details["loc"])
    kind, found = details["type"], details["input"]
    inner = details.get("ctx", {}).get("error")
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known_keys(schema, details["loc"][:-1])
        parent = "the file" if len(place) == 1 else str(place[-2])
        right = f"{parent} has no such key; {nearest(str(place[-1]), known)}"
        return document.problem(place, place[-1], right)
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return document.problem(place, None, "is missing")
    if isinstance(inner, SettingError):
        place = (*place, inner.field)
        value = found.get(inner.field) if isinstance(found, dict) else found
        shown = _value_at(document.value, place, value)
        return document.problem(place, shown, str(inner))
    right = str(inner) if inner is not None else details["msg"]
    while place and place not in document.lines:
        place = place[:-1]  # a place inside a validator is none that the user wrote
    return document.problem(place, found, right[:1].lower() + right[1:])


def _value_at(value: Any, place: Place, otherwise: Any) -> Any:
    for part in place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return otherwise if not isinstance(otherwise, dict) else None
    return value


def _known_keys(schema: Any, place: Place) -> list[str]:
    """The keys that the schema has at ``place``."""
    for part in place:
        if typing.get_origin(schema) is dict:
            schema = typing.get_args(schema)[1]
        elif isinstance(part, str):
            model = _model_in(schema)
            schema = model.model_fields[part].annotation if model else None
        else:
            schema = next(iter(typing.get_args(schema)), None)
    model = _model_in(schema)
    if model is not None:
        return [field.alias or name for name, field in model.model_fields.items()]
    if dataclasses.is_dataclass(schema):
        return [field.name for field in dataclasses.fields(schema)]
    return []


def _model_in(schema: Any) -> type[BaseModel] | None:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema
    if typing.get_origin(schema) in (typing.Annotated, typing.Union, types.UnionType):
        for argument in typing.get_args(schema):
            if (model := _model_in(argument)) is not None:
                return model
    return None
