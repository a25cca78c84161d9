"""What is wrong with a study, said so that a user can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

Place = tuple[str | int, ...]
"""The keys and indices that lead to a value in a study file."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: the study file.
        line: counted from 1.
        field: the value's place, such as ``questions[0].treatment.doses``.
        found: what stands there.
        right: what would be right.
    """

    file: Path
    line: int
    field: str
    found: str
    right: str

    def __str__(self) -> str:
        found = f"found {self.found}; " if self.found else ""
        return f"{self.file}:{self.line}: {self.field}: {found}{self.right}"


class StudyError(ValueError):
    """A study that cannot be used, with everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that ``name`` was probably meant to be, and at all of them."""
    names = list(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    listed = f"one of {', '.join(names)}"
    return f"did you mean {close[0]!r}? ({listed})" if close else listed


def dotted(place: Place) -> str:
    """A place as people write it."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"
