"""Finished jobs by key: a job's folder is either whole or absent."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainonce.sites import Measurement
from trainonce.tasks.language import MeasureSpec, Spec, TrainSpec
from trainonce.train.checkpoints import checksum, saving

_RESULT = "result.json"
_ROWS = "measurements.parquet"
_WEIGHTS = "model.safetensors"
_LOSSES = "losses.npy"

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
        """The weights that a finished train job left."""
        return load_file(self.folder(key) / _WEIGHTS)

    def losses(self, key: str) -> npt.NDArray[np.float64]:
        """The loss before each update of a finished train job."""
        return np.asarray(np.load(self.folder(key) / _LOSSES, allow_pickle=False))

    def finish_training(
        self,
        spec: TrainSpec,
        weights: dict[str, Tensor],
        losses: npt.NDArray[np.float64],
        facts: dict[str, Any],
    ) -> None:
        """Keep a trained model; its checkpoints go.

        Raises:
            SaveError: when it cannot be written; the checkpoints stay then.
        """
        size = losses.nbytes + sum(tensor.nbytes for tensor in weights.values())
        with self._result(spec, facts, size) as folder:
            save_file(weights, folder / _WEIGHTS)
            np.save(folder / _LOSSES, losses, allow_pickle=False)

    def finish_measuring(
        self, spec: MeasureSpec, rows: Sequence[Measurement], facts: dict[str, Any]
    ) -> None:
        """Keep the rows of a probe.

        Raises:
            SaveError: when they cannot be written.
        """
        own = {
            "job": spec.key,
            "step": spec.trained.train.steps,
            "seed": spec.trained.seed,
            "probe": spec.probe,
            "question": spec.treated.question if spec.treated else "",
        }
        frame = pl.DataFrame([{**own, **asdict(row)} for row in rows], schema=COLUMNS)
        table = io.BytesIO()
        frame.write_parquet(table)
        with self._result(spec, facts, len(table.getbuffer())) as folder:
            (folder / _ROWS).write_bytes(table.getbuffer())

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


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
