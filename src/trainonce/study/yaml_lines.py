"""YAML, safe-loaded, with the line of every value kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainonce.study.problems import Place, Problem, StudyError, dotted

_MOST_VALUES = 100_000
_PLAIN_TAGS = tuple(
    f"tag:yaml.org,2002:{name}"
    for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
)


@dataclass(frozen=True)
class Document:
    """A parsed YAML file.

    Attributes:
        file: where it came from.
        value: plain data: dictionaries, lists, strings, numbers, booleans, None.
        lines: the line (counted from 1) of the value at each place.
        key_lines: the line of the key at each place.
        text: the file itself.
    """

    file: Path
    value: Any
    lines: dict[Place, int]
    key_lines: dict[Place, int]
    text: str = ""

    def below(self, name: str) -> Document:
        """What stands under a key of the file, as a document of its own with the file's lines."""
        value = self.value[name]
        return Document(
            file=self.file,
            value=value,
            lines={place[1:]: line for place, line in self.lines.items() if place[:1] == (name,)},
            key_lines={
                place[1:]: line for place, line in self.key_lines.items() if place[:1] == (name,)
            },
            text=yaml.safe_dump(value, sort_keys=False, allow_unicode=True),
        )

    def overlaid(self, name: str, keys: Document) -> Document:
        """The same document with other values of some keys under ``name``, each with its line.

        Args:
            name: a key of the document.
            keys: what replaces keys of the same name there, each as a whole, or stands beside them.
        """
        value = {**self.value, name: {**(self.value.get(name) or {}), **keys.value}}

        def lines(old: dict[Place, int], new: dict[Place, int]) -> dict[Place, int]:
            kept = {
                place: line
                for place, line in old.items()
                if place[:1] != (name,) or place[1:2] == () or place[1] not in keys.value
            }
            return {**kept, **{(name, *place): line for place, line in new.items() if place}}

        return Document(
            file=self.file,
            value=value,
            lines=lines(self.lines, keys.lines),
            key_lines=lines(self.key_lines, keys.key_lines),
            text=yaml.safe_dump(value, sort_keys=False, allow_unicode=True),
        )

    def problem(self, place: Place, found: object, right: str) -> Problem:
        """A problem with the value at ``place``, or with what is missing below it."""
        known = place
        while known and known not in self.key_lines:
            known = known[:-1]
        line = self.key_lines.get(known, 1)
        shown = "" if found is None else _short(found)
        return Problem(self.file, line, dotted(place), shown, right)


def parse(file: Path, text: str | None = None) -> Document:
    """Read a YAML file; nothing in it is executed and no object is made but plain data.

    Args:
        file: the file.
        text: what it held, in place of what it holds now.

    Raises:
        StudyError: when the file cannot be read, is no YAML, has a key twice, or is no mapping.
    """
    try:
        text = file.read_text(encoding="utf-8") if text is None else text
    except OSError as error:
        raise StudyError([Problem(file, 1, "the file", "", f"{error.strerror}")]) from None
    except UnicodeDecodeError:
        raise StudyError([Problem(file, 1, "the file", "", "must be UTF-8 text")]) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        what = getattr(error, "problem", None) or str(error)
        raise StudyError([Problem(file, line, "the file", "", f"is not YAML: {what}")]) from None
    if not isinstance(root, yaml.MappingNode):
        raise StudyError(
            [Problem(file, 1, "the file", "", "must have the keys study, recipe and questions")]
        )
    reader = _Reader(file)
    value = reader.read(root, (), root.start_mark.line + 1)
    if reader.problems:
        raise StudyError(reader.problems)
    return Document(file, value, reader.lines, reader.key_lines, text)


class _Reader:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: dict[Place, int] = {}
        self.key_lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, place: Place, key_line: int) -> Any:
        if len(self.lines) > _MOST_VALUES:
            raise StudyError(
                [Problem(self.file, key_line, dotted(place), "", f"over {_MOST_VALUES} values")]
            )
        self.lines[place] = node.start_mark.line + 1
        self.key_lines[place] = key_line
        if node.tag not in _PLAIN_TAGS:
            right = f"is tagged {node.tag!r}, and a study file holds plain values only"
            self.problems.append(Problem(self.file, key_line, dotted(place), "", right))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.read(child, (*place, index), child.start_mark.line + 1)
                for index, child in enumerate(node.value)
            ]
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            what = getattr(error, "problem", None) or str(error)
            self.problems.append(
                Problem(self.file, node.start_mark.line + 1, dotted(place), "", str(what))
            )
            return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(getattr(key_node, "value", ""))
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key in values:
                first = self.key_lines.get((*place, key))
                right = f"stands twice, first on line {first}" if first else "must be a plain key"
                self.problems.append(Problem(self.file, line, dotted((*place, key)), "", right))
                continue
            values[key] = self.read(value_node, (*place, key), line)
        return values


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
