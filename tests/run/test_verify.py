"""Every damaged file is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.finished_jobs import FORK, MEASURE, STATE, TRUNK, finish
from trainonce.run.verify import verify

KEYS = [spec.key for spec in (TRUNK, STATE, FORK, MEASURE)]


def test_whole_jobs_are_whole(tmp_path: Path) -> None:
    assert verify(finish(tmp_path, TRUNK, STATE, FORK, MEASURE), KEYS) == {}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (TRUNK.key, "model.safetensors"),
        (TRUNK.key, "losses.npy"),
        (MEASURE.key, "measurements.parquet"),
    ],
)
def test_a_flipped_bit_and_a_lost_file_are_named(tmp_path: Path, key: str, name: str) -> None:
    cache = finish(tmp_path, TRUNK, STATE, FORK, MEASURE)
    file = cache.folder(key) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert verify(cache, KEYS) == {key: [f"{file} is damaged: its checksum does not match"]}
    file.unlink()
    assert verify(cache, KEYS) == {key: [f"{file} is missing"]}


def test_a_fork_is_no_better_than_the_state_that_holds_tensors_of_it(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK, STATE, FORK)
    file = cache.folder(STATE.key) / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    found = verify(cache, KEYS[:3])
    assert found.keys() == {STATE.key, FORK.key}
    assert found[FORK.key] == [f"{STATE.key}, which holds tensors of it, is damaged"]


def test_a_result_that_is_no_json_is_damage(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK)
    (cache.folder(TRUNK.key) / "result.json").write_text("{")
    (wrong,) = verify(cache, [TRUNK.key])[TRUNK.key]
    assert wrong.startswith(f"{cache.folder(TRUNK.key) / 'result.json'} cannot be read")
