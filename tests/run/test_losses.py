"""The losses of a run are known as far as it has saved them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.run.finished_jobs import STATE, TRUNK, finish
from trainonce.run.cache import JobCache
from trainonce.run.losses import saved_losses
from trainonce.train.checkpoints import TENSORS, Checkpoints, State

LOSSES = torch.tensor([9.0, 8.0, 7.0, 6.0, 0.0, 0.0], dtype=torch.float64)


def save(cache: JobCache, name: str, step: int, losses: torch.Tensor, **facts: object) -> Path:
    checkpoints = Checkpoints(cache.work(name) / "checkpoints")
    checkpoints.save(step, State({"losses": losses}, {"step": step, **facts}))
    return checkpoints.folders()[-1]


def test_a_finished_run_has_all_of_them(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK)
    assert len(saved_losses(cache, TRUNK.key)) == 10
    (cache.folder(TRUNK.key) / "losses.npy").unlink()
    assert len(saved_losses(cache, TRUNK.key)) == 0


def test_a_run_under_way_has_those_of_its_latest_state(tmp_path: Path) -> None:
    cache = JobCache(tmp_path)
    assert len(saved_losses(cache, TRUNK.key)) == 0
    save(cache, TRUNK.key, 2, LOSSES)
    save(cache, STATE.key, 4, LOSSES)
    assert saved_losses(cache, TRUNK.key).tolist() == [9, 8]
    assert saved_losses(cache, TRUNK.key, [STATE.key]).tolist() == [9, 8, 7, 6]


def test_a_stacked_run_has_its_own_column(tmp_path: Path) -> None:
    cache = JobCache(tmp_path)
    save(cache, "stack", 3, torch.stack([LOSSES, LOSSES + 1], 1), stack=["other", TRUNK.key])
    assert saved_losses(cache, TRUNK.key, ["stack"]).tolist() == [10, 9, 8]
    assert len(saved_losses(cache, "not of it", ["stack"])) == 0


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    cache = JobCache(tmp_path)
    (save(cache, TRUNK.key, 3, LOSSES) / TENSORS).write_bytes(b"torn")
    assert saved_losses(cache, TRUNK.key).dtype == np.float64
    (cache.work(TRUNK.key) / "checkpoints" / "step-000000009").mkdir()
    assert len(saved_losses(cache, TRUNK.key)) == 0
