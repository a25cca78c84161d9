"""A user's own items: JSONL rows checked against a data class, errors with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from trainonce.stream.corpora import CorpusError, json_lines

_Row = TypeVar("_Row")


class ItemsError(ValueError):
    """A file of items that cannot be used; the message names file, line and field."""


def read_rows(path: Path, row: type[_Row]) -> list[_Row]:
    """The rows of a JSONL file (plain or ``.gz``) as instances of the pydantic data class ``row``.

    Raises:
        ItemsError: when the file is missing or empty, or a line does not fit.
    """
    if not path.is_file():
        raise ItemsError(f"there is no file {path}")
    adapter = TypeAdapter(row)
    rows = []
    try:
        for number, value in json_lines(path):
            try:
                rows.append(adapter.validate_python(value))
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(str(part) for part in first["loc"]) or "the line"
                raise ItemsError(f"{path}:{number}: {field}: {first['msg']}") from None
    except CorpusError as error:
        raise ItemsError(str(error)) from None
    if not rows:
        raise ItemsError(f"{path} holds no items")
    return rows
