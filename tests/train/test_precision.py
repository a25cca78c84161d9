from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from trainonce.train import precision
from trainonce.train.precision import Precision, fastest, resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("rough", "expected"), [(0.5, "bfloat16"), (0.9, "float32"), (40, "float32")]
)
def test_bfloat16_is_taken_only_where_it_clearly_pays(
    monkeypatch: pytest.MonkeyPatch, rough: float, expected: str
) -> None:
    seconds = {torch.float32: 1.0, torch.bfloat16: rough}
    monkeypatch.setattr(precision, "_seconds", lambda dtype, _device: seconds[dtype])
    assert fastest(CPU) == expected


def test_the_probe_runs_once_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve("auto", CPU, tmp_path)
    assert json.loads((tmp_path / "precision.json").read_text())
    monkeypatch.setattr(precision, "fastest", lambda _device: pytest.fail("probed again"))
    assert resolve("auto", CPU, tmp_path) == first


def test_a_named_precision_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve("bfloat16", CPU, tmp_path) is Precision.BFLOAT16


def test_a_busy_machine_does_not_change_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most timings are disturbed, at random and by far more than the two differ."""
    draw = random.Random(3)
    true = {torch.float32: 1.0, torch.bfloat16: 1.1}

    def seconds(dtype: torch.dtype, _device: torch.device) -> float:
        return true[dtype] * (1 if draw.random() < 0.3 else draw.uniform(2, 100))

    monkeypatch.setattr(precision, "_seconds", seconds)
    assert [fastest(CPU) for _ in range(50)] == [Precision.FLOAT32] * 50
