"""Checkpoints: safetensors and JSON, written aside and renamed, so either whole or absent."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_MANIFEST = "manifest.json"
TENSORS = "state.safetensors"
"""The file of a checkpoint that holds its tensors."""

_FACTS = "state.json"


_TIMES_THE_COST = 20


class CheckpointError(ValueError):
    """A checkpoint that is damaged; the message names the file."""


class SaveError(OSError):
    """A state that could not be written; the message says why, and what would help."""


@dataclass(frozen=True)
class State:
    """All that a run needs to go on: tensors by name, and plain facts such as the step."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save(folder: Path, state: State) -> None:
    """Write ``state`` to ``folder``, which appears whole or not at all.

    Raises:
        SaveError: when the disk is full or cannot be written; nothing is left behind.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with saving(temporary, sum(tensor.nbytes for tensor in state.tensors.values())):
        _write(temporary, state)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
        _flush(folder.parent)


@contextlib.contextmanager
def saving(folder: Path, size: int) -> Iterator[None]:
    """Write ``size`` bytes to ``folder`` inside this; when that fails, what is there goes.

    Raises:
        SaveError: naming the folder, what went wrong, and what would help.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        place = next(path for path in folder.parents if path.exists())
        free = shutil.disk_usage(place).free
        raise SaveError(
            f"cannot write {folder}: {error}; {size / 1e6:.1f} MB are needed and "
            f"{free / 1e6:.1f} MB are free there. Free some space, or move the cache to a larger "
            "disk and name it in TRAINONCE_HOME; the state saved before stays, and running again "
            "goes on from it"
        ) from error


def _write(temporary: Path, state: State) -> None:
    temporary.mkdir(parents=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in state.tensors.items()}
    save_file(tensors, temporary / TENSORS)
    (temporary / _FACTS).write_text(json.dumps(dict(state.facts), sort_keys=True))
    sums = {name: checksum(temporary / name) for name in (TENSORS, _FACTS)}
    (temporary / _MANIFEST).write_text(json.dumps(sums, sort_keys=True))
    for name in (TENSORS, _FACTS, _MANIFEST):
        _flush(temporary / name)


def load(folder: Path) -> State:
    """Read what `save` wrote.

    Raises:
        CheckpointError: when a file is missing or does not have the checksum it was written with.
    """
    try:
        sums = json.loads((folder / _MANIFEST).read_text())
        for name, expected in sums.items():
            if checksum(folder / name) != expected:
                raise CheckpointError(f"{folder / name} is damaged: its checksum does not match")
        return State(load_file(folder / TENSORS), json.loads((folder / _FACTS).read_text()))
    except CheckpointError:
        raise
    except (OSError, ValueError, AttributeError) as error:  # missing, or no longer JSON
        raise CheckpointError(f"{folder} is no whole checkpoint: {error}") from error


def is_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` is one that `save` wrote, whole or not."""
    return (folder / _MANIFEST).is_file() or (folder / TENSORS).is_file()


def peek(folder: Path) -> dict[str, Any]:
    """The facts of a checkpoint, without its tensors and without looking for damage.

    Raises:
        CheckpointError: when they cannot be read.
    """
    try:
        return dict(json.loads((folder / _FACTS).read_text()))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is no whole checkpoint: {error}") from error


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: where they are.
        keep: how many are kept, the newest ones.
        seconds: between two of them, where ``steps`` is None.
        steps: between two of them.
        facts: written into each: whose they are.
    """

    folder: Path
    keep: int = 2
    seconds: float = 15.0
    steps: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def due(self, step: int, seconds: float, cost: float = 0.0) -> bool:
        """Whether to save after ``step`` steps.

        Where the interval is one of seconds, saving takes no more than a twentieth of the run.

        Args:
            step: steps done.
            seconds: since the last checkpoint.
            cost: seconds that saving it took.
        """
        if self.steps is not None:
            return step % self.steps == 0
        return seconds > max(self.seconds, _TIMES_THE_COST * cost)

    def save(self, step: int, state: State) -> None:
        """Save the state after ``step`` updates and drop what is older than needed.

        Raises:
            SaveError: as `save`; the older ones stay.
        """
        state = State(state.tensors, {**self.facts, **state.facts})
        save(self.folder / f"step-{step:09d}", state)
        for old in self.folders()[: -self.keep]:
            shutil.rmtree(old)

    def newest(self) -> State | None:
        """The newest whole state; a damaged one is named in a warning and passed over."""
        for folder in reversed(self.folders()):
            try:
                return load(folder)
            except CheckpointError as error:
                warnings.warn(f"{error}; using the checkpoint before it", stacklevel=2)
        return None

    def folders(self) -> list[Path]:
        """The checkpoints, the newest last."""
        return sorted(self.folder.glob("step-*"))


def content(folder: Path) -> str:
    """A hash of all that a checkpoint holds: the one of its manifest, which has one a file.

    Raises:
        OSError: when there is no manifest.
    """
    return checksum(folder / _MANIFEST)


def checksum(path: Path) -> str:
    """The XXH3 hash of a file's bytes, 128 bits."""
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
