"""Finished jobs by key: a job's folder is either whole or absent."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainonce.sites import Measurement
from trainonce.stream.reserved import Decisions
from trainonce.tasks.specs.decisions import DecideSpec
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import AverageSpec, Fork, Model, StateSpec, TrainSpec
from trainonce.tasks.trial import TrialSpec
from trainonce.train.checkpoints import TENSORS, State, checksum, load, saving
from trainonce.train.loop import Trained
from trainonce.train.state import MODEL, decisions, model_weights

_RESULT = "result.json"
_ROWS = "measurements.parquet"
_WEIGHTS = "model.safetensors"
_LOSSES = "losses.npy"
_BY_SEQUENCE = "by_sequence.npy"
_DECIDED = "decided.safetensors"
_DECISION = "decision.json"
_DIVERGED = "diverged.json"

COLUMNS = {
    "job": pl.String,
    "step": pl.Int64,
    "seed": pl.Int64,
    "probe": pl.String,
    "question": pl.String,
    "unit": pl.String,
    "kind": pl.String,
    "dose": pl.Int64,
    "outcome": pl.String,
    "value": pl.Float64,
}


@dataclass(frozen=True)
class JobCache:
    """The jobs kept under a home folder."""

    home: Path

    def folder(self, key: str) -> Path:
        """Where a finished job is."""
        return self.home / "jobs" / key

    def work(self, key: str) -> Path:
        """Where a job keeps its checkpoints while it runs."""
        return self.home / "jobs" / f"{key}.work"

    def done(self, key: str) -> bool:
        """Whether the job is finished."""
        return (self.folder(key) / _RESULT).is_file()

    def finished(self, prefix: str = "") -> list[str]:
        """Keys of the finished jobs that begin with ``prefix``, the newest first."""
        found = [
            file
            for file in (self.home / "jobs").glob(f"*/{_RESULT}")
            if file.parent.name.startswith(prefix)
        ]
        found.sort(key=lambda file: file.stat().st_mtime, reverse=True)
        return [file.parent.name for file in found]

    def lock(self, key: str) -> filelock.FileLock:
        """Held while a process runs the job, so that no two do."""
        (self.home / "jobs").mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.home / "jobs" / f"{key}.lock")

    def result(self, key: str) -> dict[str, Any]:
        """Facts of a finished job: its spec, seconds, hardware."""
        return dict(json.loads((self.folder(key) / _RESULT).read_text(encoding="utf-8")))

    def rows(self, key: str) -> pl.DataFrame:
        """The measurements of a finished measure job."""
        return pl.read_parquet(self.folder(key) / _ROWS)

    def weights(self, key: str) -> dict[str, Tensor]:
        """The weights that a finished train or average job left.

        A fork's own folder holds what it changed; the rest is that of the state it began with.
        """
        own = load_file(self.folder(key) / _WEIGHTS)
        kept = self.result(key).get("unchanged")
        if kept is None:
            return own
        with safe_open(self.folder(kept["state"]) / TENSORS, framework="pt") as parent:
            same = {name: parent.get_tensor(f"{MODEL}{name}") for name in kept["names"]}
        return {**own, **same}

    def weights_of(self, spec: Model) -> dict[str, Tensor]:
        """The weights that a finished job left."""
        if isinstance(spec, StateSpec):
            return model_weights(self.state(spec))
        return self.weights(spec.key)

    def decided(self, spec: Model) -> dict[str, Decisions]:
        """What controllers decided in a finished job that left a model, by question."""
        if isinstance(spec, StateSpec):
            return decisions(self.state(spec))
        file = self.folder(spec.key) / _DECIDED
        found = load_file(file) if file.is_file() else {}
        return {name: tensor.numpy() for name, tensor in found.items()}

    def state(self, spec: StateSpec) -> State:
        """The state that a finished state job left.

        Raises:
            CheckpointError: when it is missing or damaged.
        """
        return load(self.folder(spec.key))

    def states(self, spec: TrainSpec) -> list[StateSpec]:
        """The finished state jobs of a run, the latest step first."""
        folders = (file.parent for file in self._on_the_way(spec, _RESULT))
        found = [int(folder.name.rpartition("@")[2]) for folder in folders]
        return [StateSpec(trained=spec, step=step) for step in sorted(found, reverse=True)]

    def variant(self, spec: TrainSpec) -> TrainSpec | None:
        """``spec`` as it was trained, also stacked or compiled; None when it was not."""
        if self.done(spec.key):
            return spec
        note = self._variants / f"{spec.name}.json"
        if not note.is_file():
            return None
        trained = replace(spec, **json.loads(note.read_text(encoding="utf-8")))
        return trained if self.done(trained.key) else None

    def _note(self, trained: TrainSpec) -> None:
        """Remember how a run was trained, for plans that ask for it as it is by itself."""
        if not trained.stack and not trained.compiled:
            return
        self._variants.mkdir(parents=True, exist_ok=True)
        temporary = self._variants / f".{trained.name}.{os.getpid()}.tmp"
        facts = {
            "stack": trained.stack,
            "threads": trained.threads,
            "compiled": trained.compiled,
        }
        temporary.write_text(json.dumps(facts), encoding="utf-8")
        temporary.replace(self._variants / f"{trained.name}.json")

    @property
    def _variants(self) -> Path:
        return self.home / "variants"

    def losses(self, key: str) -> npt.NDArray[np.float64]:
        """The loss before each update of a finished train job."""
        return np.asarray(np.load(self.folder(key) / _LOSSES, allow_pickle=False))

    def losses_by_sequence(self, key: str) -> npt.NDArray[np.float32]:
        """The loss of each sequence of a finished train job, ``(steps, batch)``.

        Raises:
            FileNotFoundError: for a job that an earlier version finished.
        """
        return np.asarray(np.load(self.folder(key) / _BY_SEQUENCE, allow_pickle=False))

    def losses_until(self, spec: TrainSpec, step: int) -> npt.NDArray[np.float64]:
        """The loss before each update up to ``step``, of a run that has kept its state there.

        One that is finished needs no state.
        """
        state = self.folder(StateSpec(trained=spec, step=step).key) / TENSORS
        if not state.is_file():
            return self.losses(spec.key)[:step]
        with safe_open(state, framework="pt") as kept:
            return np.asarray(kept.get_tensor("losses").numpy()[:step], dtype=np.float64)

    def decision(self, key: str) -> dict[str, Any]:
        """What a finished decide job says, see `trainonce.run.decide.run_decision`."""
        return dict(json.loads((self.folder(key) / _DECISION).read_text(encoding="utf-8")))

    def diverged(self, key: str) -> dict[str, Any] | None:
        """The ``step`` at which a train or state job diverged, and its ``error``; else None."""
        file = self.folder(key) / _DIVERGED
        if self.done(key) or not file.is_file():
            return None
        return dict(json.loads(file.read_text(encoding="utf-8")))

    def divergence(self, spec: TrainSpec) -> dict[str, Any] | None:
        """What `diverged` says of a run, or of the states on its way."""
        keys = [spec.key, *(f.parent.name for f in self._on_the_way(spec, _DIVERGED))]
        return next((facts for key in keys if (facts := self.diverged(key))), None)

    def keep_divergence(self, key: str, step: int, error: str) -> None:
        """Keep that a job diverged; it has no result, and may be tried again."""
        self.folder(key).mkdir(parents=True, exist_ok=True)
        temporary = self.folder(key) / f".{_DIVERGED}.{os.getpid()}.tmp"
        temporary.write_text(json.dumps({"step": step, "error": error}), encoding="utf-8")
        temporary.replace(self.folder(key) / _DIVERGED)

    def drop_work(self, key: str) -> None:
        """Drop the checkpoints of a job that nobody will go on with."""
        shutil.rmtree(self.work(key), ignore_errors=True)

    def forget_divergence(self, key: str) -> None:
        """Begin anew with a job that diverged."""
        (self.folder(key) / _DIVERGED).unlink(missing_ok=True)

    def _on_the_way(self, spec: TrainSpec, name: str) -> list[Path]:
        """The files of a name in the folders of a run's states."""
        return sorted((self.home / "jobs").glob(f"{spec.key}@*/{name}"))

    def finish_training(
        self,
        spec: TrainSpec,
        weights: dict[str, Tensor],
        trained: Trained,
        facts: dict[str, Any],
    ) -> None:
        """Keep a trained model and what its run leaves beside it; checkpoints go.

        Raises:
            SaveError: when it cannot be written; the checkpoints stay then.
        """
        changed = weights
        if spec.fork:
            same = self._unchanged(spec.fork, weights)
            changed = {name: tensor for name, tensor in weights.items() if name not in same}
            facts = {**facts, "unchanged": {"state": spec.fork.state.key, "names": same}}
        size = trained.losses.nbytes + trained.by_sequence.nbytes
        size += sum(tensor.nbytes for tensor in changed.values())
        with self._result(spec, facts, size) as folder:
            save_file(changed, folder / _WEIGHTS)
            np.save(folder / _LOSSES, trained.losses, allow_pickle=False)
            np.save(folder / _BY_SEQUENCE, trained.by_sequence, allow_pickle=False)
            if trained.decided:
                tensors = {name: torch.from_numpy(own) for name, own in trained.decided.items()}
                save_file(tensors, folder / _DECIDED)
        self._note(spec)

    def finish_average(
        self, spec: AverageSpec, weights: dict[str, Tensor], facts: dict[str, Any]
    ) -> None:
        """Keep an averaged model.

        Raises:
            SaveError: when it cannot be written.
        """
        size = sum(tensor.nbytes for tensor in weights.values())
        with self._result(spec, facts, size) as folder:
            save_file(weights, folder / _WEIGHTS)

    def finish_state(self, spec: StateSpec, checkpoint: Path, facts: dict[str, Any]) -> None:
        """Keep a checkpoint, whose bytes are not copied where the disk allows, as a state.

        Raises:
            SaveError: when it cannot be written.
        """
        size = sum(file.stat().st_size for file in checkpoint.iterdir())
        with self._result(spec, facts, size) as folder:
            for file in checkpoint.iterdir():
                try:
                    os.link(file, folder / file.name)
                except OSError:  # no hard links on this disk
                    shutil.copy2(file, folder / file.name)

    def finish_measuring(
        self, spec: MeasureSpec, rows: Sequence[Measurement], facts: dict[str, Any]
    ) -> None:
        """Keep the rows of a probe.

        Raises:
            SaveError: when they cannot be written.
        """
        own = {
            "job": spec.key,
            "step": spec.trained.train.steps if spec.step is None else spec.step,
            "seed": spec.trained.seed,
            "probe": spec.probe,
            "question": spec.treated.question if spec.treated else "",
        }
        self._finish_rows(spec, own, rows, facts)

    def finish_trial(
        self, spec: TrialSpec, rows: Sequence[Measurement], facts: dict[str, Any]
    ) -> None:
        """Keep what a task measured.

        Raises:
            SaveError: when it cannot be written.
        """
        own = {"job": spec.key, "step": 0, "seed": spec.seed, "probe": spec.task, "question": ""}
        self._finish_rows(spec, own, rows, facts)

    def _finish_rows(
        self,
        spec: Spec,
        own: Mapping[str, Any],
        rows: Sequence[Measurement],
        facts: dict[str, Any],
    ) -> None:
        frame = pl.DataFrame([{**own, **asdict(row)} for row in rows], schema=COLUMNS)
        table = io.BytesIO()
        frame.write_parquet(table)
        with self._result(spec, facts, len(table.getbuffer())) as folder:
            (folder / _ROWS).write_bytes(table.getbuffer())

    def finish_deciding(
        self, spec: DecideSpec, decision: dict[str, Any], facts: dict[str, Any]
    ) -> None:
        """Keep which arms go on.

        Raises:
            SaveError: when it cannot be written.
        """
        text = json.dumps(decision, indent=1)
        with self._result(spec, facts, len(text)) as folder:
            (folder / _DECISION).write_text(text, encoding="utf-8")

    def adopt(self, spec: Spec, folder: Path, result: dict[str, Any]) -> None:
        """Take the files of a job that was finished elsewhere, and what is known of it.

        ``folder`` is on the same disk, and becomes the job's.
        """
        (folder / _RESULT).write_text(json.dumps(result, indent=1), encoding="utf-8")
        for file in folder.iterdir():
            _flush(file)
        shutil.rmtree(self.folder(spec.key), ignore_errors=True)
        folder.replace(self.folder(spec.key))
        shutil.rmtree(self.work(spec.key), ignore_errors=True)
        if isinstance(spec, TrainSpec):
            self._note(spec)

    def _unchanged(self, fork: Fork, weights: dict[str, Tensor]) -> list[str]:
        """Names of the tensors that are bit by bit those of the state that a fork began with."""
        with safe_open(self.folder(fork.state.key) / TENSORS, framework="pt") as parent:
            known = set(parent.keys())
            return [
                name
                for name, tensor in weights.items()
                if f"{MODEL}{name}" in known and _equal(tensor, parent.get_tensor(f"{MODEL}{name}"))
            ]

    @contextmanager
    def _result(self, spec: Spec, facts: dict[str, Any], size: int) -> Iterator[Path]:
        """A fresh folder to write a result of ``size`` bytes to, which then becomes the job's."""
        folder = self.work(spec.key) / "result"
        shutil.rmtree(folder, ignore_errors=True)
        with saving(folder, size):
            folder.mkdir(parents=True)
            yield folder
            described = TypeAdapter(type(spec)).dump_python(spec, mode="json")
            sums = {file.name: checksum(file) for file in sorted(folder.iterdir())}
            text = json.dumps({"spec": described, "files": sums, **facts}, indent=1)
            (folder / _RESULT).write_text(text, encoding="utf-8")
            for file in folder.iterdir():
                _flush(file)
            shutil.rmtree(self.folder(spec.key), ignore_errors=True)
            folder.replace(self.folder(spec.key))
        shutil.rmtree(self.work(spec.key), ignore_errors=True)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
