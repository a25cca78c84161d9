from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainonce.train.checkpoints import CheckpointError, Checkpoints, State, load, save


def state(step: int) -> State:
    return State(
        {"weight": torch.full((3,), float(step)), "count": torch.tensor(step)}, {"step": step}
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path / "one", state(4))
    loaded = load(tmp_path / "one")
    assert loaded.facts == {"step": 4}
    assert torch.equal(loaded.tensors["weight"], torch.full((3,), 4.0))
    assert loaded.tensors["count"].dtype == torch.int64


@pytest.mark.parametrize("file", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_a_damaged_newest_checkpoint_is_named_and_passed_over(
    tmp_path: Path, file: str, harm: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, state(10))
    checkpoints.save(20, state(20))
    victim = tmp_path / "step-000000020" / file
    data = victim.read_bytes()
    if harm == "remove":
        victim.unlink()
    elif harm == "truncate":
        victim.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        victim.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
    with pytest.raises(CheckpointError, match="step-000000020"):
        load(tmp_path / "step-000000020")
    with pytest.warns(UserWarning, match=r"step-000000020.*using the checkpoint before it"):
        newest = checkpoints.newest()
    assert newest is not None
    assert newest.facts["step"] == 10


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000003", "step-000000004"]


def test_a_save_that_was_cut_off_is_not_seen(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    save(tmp_path / "other", state(2))
    (tmp_path / "other").rename(tmp_path / ".step-000000002.tmp")
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.facts["step"] == 1


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).newest() is None


def test_saving_takes_no_more_than_a_twentieth_of_the_time(tmp_path: Path) -> None:
    by_time = Checkpoints(tmp_path, seconds=15.0)
    assert not by_time.due(step=7, seconds=14.0)
    assert by_time.due(step=7, seconds=16.0, cost=0.5)
    assert not by_time.due(step=7, seconds=16.0, cost=2.0)
    assert by_time.due(step=7, seconds=41.0, cost=2.0)
    by_step = Checkpoints(tmp_path, steps=10)
    assert by_step.due(step=20, seconds=0.0, cost=100.0)
    assert not by_step.due(step=21, seconds=1e9)
