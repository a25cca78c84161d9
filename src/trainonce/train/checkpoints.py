"""Checkpoints: safetensors and JSON, written aside and renamed, so either whole or absent."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
from safetensors.torch import load_file, save_file
from torch import Tensor

_MANIFEST = "manifest.json"
_TENSORS = "state.safetensors"
_FACTS = "state.json"


class CheckpointError(ValueError):
    """A checkpoint that is damaged; the message names the file."""


@dataclass(frozen=True)
class State:
    """All that a run needs to go on: tensors by name, and plain facts such as the step."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save(folder: Path, state: State) -> None:
    """Write ``state`` to ``folder``, which appears whole or not at all."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in state.tensors.items()}
    save_file(tensors, temporary / _TENSORS)
    (temporary / _FACTS).write_text(json.dumps(dict(state.facts), sort_keys=True))
    sums = {name: _checksum(temporary / name) for name in (_TENSORS, _FACTS)}
    (temporary / _MANIFEST).write_text(json.dumps(sums, sort_keys=True))
    for name in (_TENSORS, _FACTS, _MANIFEST):
        _flush(temporary / name)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    _flush(folder.parent)


def load(folder: Path) -> State:
    """Read what `save` wrote.

    Raises:
        CheckpointError: when a file is missing or does not have the checksum it was written with.
    """
    try:
        sums = json.loads((folder / _MANIFEST).read_text())
        for name, expected in sums.items():
            if _checksum(folder / name) != expected:
                raise CheckpointError(f"{folder / name} is damaged: its checksum does not match")
        return State(load_file(folder / _TENSORS), json.loads((folder / _FACTS).read_text()))
    except CheckpointError:
        raise
    except (OSError, ValueError, AttributeError) as error:  # missing, or no longer JSON
        raise CheckpointError(f"{folder} is no whole checkpoint: {error}") from error


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, one every ``seconds``, of which the newest ``keep`` are kept."""

    folder: Path
    keep: int = 2
    seconds: float = 15.0

    def save(self, step: int, state: State) -> None:
        """Save the state after ``step`` updates and drop what is older than needed."""
        save(self.folder / f"step-{step:09d}", state)
        for old in self._folders()[: -self.keep]:
            shutil.rmtree(old)

    def newest(self) -> State | None:
        """The newest whole state; a damaged one is named in a warning and passed over."""
        for folder in reversed(self._folders()):
            try:
                return load(folder)
            except CheckpointError as error:
                warnings.warn(f"{error}; using the checkpoint before it", stacklevel=2)
        return None

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            yield chunk


def _flush(path: Path) -> None:
    """Make sure that a file's bytes, or a folder's names, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some systems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
