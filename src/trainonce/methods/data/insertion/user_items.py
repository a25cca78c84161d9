"""A user's own items: rows of a JSONL file checked against a data class, all of them or a part.

Errors name file and line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from trainonce.methods.data.insertion.doses import check_at_least
from trainonce.sites import SettingError
from trainonce.stream.corpora import CorpusError, json_lines
from trainonce.stream.stream import TokenStream

_Row = TypeVar("_Row")
_Made = TypeVar("_Made")

_MARKS = 2  # end-of-text tokens around every copy


class ItemsError(ValueError):
    """A file of items that cannot be used; the message names file, line and field."""


class UnfitError(ValueError):
    """One item that no sequence of this run can hold, or that is too short to be asked for."""


def own_items(
    path: Path,
    row: type[_Row],
    take: int | None,
    stream: TokenStream,
    make: Callable[[_Row], _Made],
) -> tuple[list[tuple[int, _Made]], TokenStream]:
    """What ``make`` makes of each item of a JSONL file, or of ``take`` of them drawn at random.

    The draw is one of (seed, question), and of items that fit: what `make` refuses is passed over.
    Without ``take`` all items are meant, and one that does not fit is an error.

    Args:
        path: a JSONL file, plain or ``.gz``.
        row: the pydantic data class of a line.
        take: how many items, all when None.
        stream: keyed to the question.
        make: makes an item of a row; raises `UnfitError` where it does not fit.

    Returns:
        The items with their numbers in the file, from 0 and ascending; and the stream, which knows
        how many were passed over.

    Raises:
        ItemsError: when the file is missing or empty, or a line or an item cannot be used.
        SettingError: when fewer than ``take`` items fit.
    """
    rows = _numbered(path, row)
    if take is None:
        return [(index, _fitting(path, *one, make)) for index, one in enumerate(rows)], stream
    found: dict[int, _Made] = {}
    unfit: list[str] = []
    for index in stream.random("items of the file").permutation(len(rows)).tolist():
        line, value = rows[index]
        try:
            found[index] = make(value)
        except UnfitError as error:
            unfit.append(f"line {line}: {error}")
        if len(found) == take:
            break
    else:
        why = f"; {len(unfit)} do not fit, such as {unfit[0]}" if unfit else ""
        raise SettingError("take", f"{path} has {len(found)} items that can be taken{why}")
    left_out = MappingProxyType({**stream.left_out, stream.question: len(unfit)})
    return sorted(found.items()), replace(stream, left_out=left_out)


def read_rows(path: Path, row: type[_Row]) -> list[_Row]:
    """The rows of a JSONL file (plain or ``.gz``) as instances of the pydantic data class ``row``.

    Raises:
        ItemsError: when the file is missing or empty, or a line does not fit.
    """
    return [value for _, value in _numbered(path, row)]


def check_fits(tokens: int, stream: TokenStream) -> None:
    """Refuse an item of so many tokens that no sequence can hold.

    Raises:
        UnfitError: when there is no room for it between its end-of-text marks.
    """
    if tokens + _MARKS > stream.sequence:
        raise UnfitError(
            f"{tokens + _MARKS} tokens with its two end-of-text marks, and a sequence has "
            f"{stream.sequence} (`recipe.data.sequence`)"
        )


def check_take(take: int | None, file: Path | None) -> None:
    """Refuse a part of a file that is not there, or an empty one.

    Raises:
        SettingError: naming ``take``.
    """
    if take is None:
        return
    check_at_least(1, take=take)
    if file is None:
        raise SettingError("take", "draws items of a file of your own: name it by `file`")


def check_answer(answer: int, choices: list[str]) -> None:
    """Refuse a right answer that is none of the choices.

    Raises:
        ValueError: saying how choices are counted.
    """
    if answer >= len(choices):
        raise ValueError(
            f"answer {answer} is past the last of {len(choices)} choices, which are counted from 0"
        )


def _numbered(path: Path, row: type[_Row]) -> list[tuple[int, _Row]]:
    """Lines that are not blank, each with its number in the file, from 1."""
    if not path.is_file():
        raise ItemsError(f"there is no file {path}")
    adapter = TypeAdapter(row)
    rows = []
    try:
        for number, value in json_lines(path):
            try:
                rows.append((number, adapter.validate_python(value)))
            except ValidationError as error:
                raise ItemsError(f"{path}:{number}: {_first(error)}") from None
    except CorpusError as error:
        raise ItemsError(str(error)) from None
    if not rows:
        raise ItemsError(f"{path} holds no items")
    return rows


def _fitting(path: Path, line: int, value: _Row, make: Callable[[_Row], _Made]) -> _Made:
    try:
        return make(value)
    except UnfitError as error:
        raise ItemsError(
            f"{path}:{line}: {error}; change that, take the line out, or write `take: N`, which "
            "draws N items among those that fit"
        ) from None


def _first(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{field}: {said}" if field else said
