"""Files of the user's own that a treatment names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainonce.methods.registry import Method
from trainonce.study.problems import Place, Problem
from trainonce.study.yaml_lines import Document


def settings_beside(
    document: Document, place: Place, known: Method, settings: dict[str, Any]
) -> Iterator[Problem]:
    """What a study says of items that are not made, as the user brings their own."""
    if settings.get("file") is None:
        return
    for name, value in settings.items():
        if name in known.settings and known.settings[name].metadata.get("made"):
            yield document.problem(
                (*place, "treatment", name),
                value,
                "is about items that are made where no `file` is given: leave it out; "
                "`take: N` draws N items of the file",
            )


def from_folder(treatment: Any, folder: Path) -> Any:
    """Read relative paths from the study's own folder."""
    moved = {
        field.name: (folder / value.expanduser()).resolve()
        for field in dataclasses.fields(treatment)
        if isinstance(value := getattr(treatment, field.name), Path)
    }
    return dataclasses.replace(treatment, **moved)


def missing_files(document: Document, place: Place, treatment: Any) -> Iterator[Problem]:
    """Each file that a treatment names and that is not there."""
    for field in dataclasses.fields(treatment):
        value = getattr(treatment, field.name)
        if isinstance(value, Path) and not value.is_file():
            at = (*place, "treatment", field.name)
            yield document.problem(at, str(value), "there is no such file")
