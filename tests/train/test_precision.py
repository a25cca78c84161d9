from __future__ import annotations

import json
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
