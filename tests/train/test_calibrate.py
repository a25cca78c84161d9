from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from trainonce.models.decoder import Decoder, DecoderSettings
from trainonce.train.calibrate import (
    Timing,
    Way,
    calibrate,
    choose,
    remember,
    remembered,
)
from trainonce.train.measured import machine
from trainonce.train.rehearsal import (
    REFERENCES,
    Reference,
    Shape,
    Timed,
    batched,
    one_after_another,
    shape_of,
)
from trainonce.train.rehearsal_pool import RehearsalError, RehearsalPool

CPU = torch.device("cpu")
SMALL = Timing(
    work=1e5, alone=1.0, side_by_side=1.1, workers=2, batched={4: 2.0, 16: 4.0, 64: 16.0}
)
LARGE = Timing(work=1e8, alone=10.0, side_by_side=11.0, workers=2, batched={4: 44.0})


def shape(work: float) -> Shape:
    return Shape(rows=1, parameters=int(work), matrices=1)


def test_seconds_follow_from_what_was_timed() -> None:
    assert SMALL.seconds(Way.SEQUENTIAL, 5) == pytest.approx(5.0)
    assert SMALL.seconds(Way.POOL, 5) == pytest.approx(3 * 1.1)  # two processes, three rounds
    assert SMALL.seconds(Way.BATCHED, 16) == pytest.approx(4.0)
    # 8 lies half-way between 4 and 16 in its logarithm; a replica's share there is 0.5 and 0.25
    assert SMALL.seconds(Way.BATCHED, 8) == pytest.approx(8 * 0.375)
    # 2 lies half-way between 1, which is a run alone, and 4
    assert SMALL.seconds(Way.BATCHED, 2) == pytest.approx(2 * 0.75)
    assert SMALL.seconds(Way.BATCHED, 640) == pytest.approx(640 * 0.25)


def test_the_choice_is_the_fastest_way_of_the_nearest_shape(tmp_path: Path) -> None:
    remember(tmp_path, CPU, {"small": SMALL, "large": LARGE})
    assert choose(shape(3e4), 16, CPU, tmp_path) is Way.BATCHED
    assert choose(shape(3e4), 2, CPU, tmp_path) is Way.POOL
    assert choose(shape(5e7), 16, CPU, tmp_path) is Way.POOL
    assert choose(shape(5e7), 1, CPU, tmp_path) is Way.SEQUENTIAL
    between = math.sqrt(SMALL.work * LARGE.work)
    assert choose(shape(0.9 * between), 16, CPU, tmp_path) is Way.BATCHED
    assert choose(shape(1.1 * between), 16, CPU, tmp_path) is Way.POOL


def test_a_slow_pool_and_a_slow_stack_leave_one_after_another(tmp_path: Path) -> None:
    slow = Timing(work=1e5, alone=1.0, side_by_side=3.0, workers=2, batched={4: 4.4})
    remember(tmp_path, CPU, {"slow": slow})
    for runs in (2, 4, 64):
        assert choose(shape(1e5), runs, CPU, tmp_path) is Way.SEQUENTIAL


def test_without_a_calibration_the_choice_needs_no_measurement(tmp_path: Path) -> None:
    assert choose(shape(1e5), 8, CPU, tmp_path) is Way.POOL
    assert choose(shape(1e5), 1, CPU, tmp_path) is Way.SEQUENTIAL


def test_what_is_remembered_holds_for_this_machine_and_torch(tmp_path: Path) -> None:
    remember(tmp_path, CPU, {"small": SMALL})
    assert remembered(tmp_path, CPU) == {"small": SMALL}
    assert torch.__version__ in machine(CPU)
    file = tmp_path / "replicas.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({"another machine": known[machine(CPU)]}))
    assert remembered(tmp_path, CPU) == {}
    remember(tmp_path, CPU, {"large": LARGE})
    assert set(json.loads(file.read_text())) == {"another machine", machine(CPU)}


def test_a_calibration_times_the_three_ways_and_leaves_the_threads_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a real process, which imports torch: that takes its seconds."""
    for module in ("calibrate", "rehearsal_pool"):
        monkeypatch.setattr(f"trainonce.train.{module}.cores", lambda: 1)
    threads = torch.get_num_threads()
    told: list[str] = []
    mlp = REFERENCES["mlp"]
    found = calibrate(CPU, tell=told.append, references=[mlp], counts=(3, 2), rounds=1)["mlp"]
    assert torch.get_num_threads() == threads
    assert len(told) == 1
    assert "MLP" in told[0]
    assert found.work == mlp.shape.work
    assert found.workers == 1
    assert list(found.batched) == [2, 3]
    assert min(found.alone, found.side_by_side, *found.batched.values()) > 0


@pytest.mark.parametrize(("stacked", "counts"), [(0.9, [2, 16, 64]), (1.3, [2, 16])])
def test_ways_take_turns_and_a_large_stack_that_cannot_pay_is_left_out(
    monkeypatch: pytest.MonkeyPatch, stacked: float, counts: list[int]
) -> None:
    """Seconds are given here: a run alone takes 1 a step, each of a pool of two as long."""
    turns: list[str] = []

    def takes(name: str, seconds: float) -> Timed:
        def train(steps: int) -> float:
            turns.append(name)
            return seconds * steps

        return train

    class TwoProcesses(RehearsalPool):
        def __init__(self, size: int, device: torch.device) -> None:
            self.size = 2
            self._processes = []

        def side_by_side(self, reference: Reference, runs: int) -> Timed:
            return takes("pool", 1.0)

    module = "trainonce.train.calibrate"
    monkeypatch.setattr(f"{module}.RehearsalPool", TwoProcesses)
    monkeypatch.setattr(f"{module}.one_after_another", lambda *_: takes("alone", 1.0))
    monkeypatch.setattr(
        f"{module}.batched", lambda _, runs, __: takes(str(runs), stacked * runs / 2)
    )
    mlp = REFERENCES["mlp"]
    found = calibrate(CPU, references=[mlp], counts=(64, 2, 16), rounds=2)["mlp"]
    assert list(found.batched) == counts
    assert found.best(16) is (Way.BATCHED if stacked < 1 else Way.POOL)
    last_of_each_turn = ["alone", "pool", "2", "16"] * 2
    small = [turn for turn in turns if turn != "64"]
    assert small[-8:] == last_of_each_turn


def test_a_process_that_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with RehearsalPool(1, CPU) as pool, pytest.raises(RehearsalError, match="ended with status 1"):
        pool.side_by_side(REFERENCES["mlp"], 1)


@pytest.mark.parametrize("name", ["mlp", "decoder-64"])
def test_rehearsals_train_the_same_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacked and alone, the rehearsed runs have the same losses: the same work is timed."""
    reference = REFERENCES[name]
    alone: list[torch.Tensor] = []
    together: list[torch.Tensor] = []
    cross_entropy = nn.functional.cross_entropy

    def hear(*arguments: torch.Tensor, **options: str) -> torch.Tensor:
        found: torch.Tensor = cross_entropy(*arguments, **options)  # type: ignore[arg-type]
        (together if options else alone).append(found.detach())
        return found

    monkeypatch.setattr(nn.functional, "cross_entropy", hear)
    assert one_after_another(reference, 2, CPU)(2) > 0
    assert batched(reference, 2, CPU)(2) > 0
    found = torch.stack([losses.view(2, -1).mean(1) for losses in together]).T.flatten()
    torch.testing.assert_close(found, torch.stack(alone))


def test_the_shape_of_a_model_needs_no_weights() -> None:
    with torch.device("meta"):
        decoder = Decoder(DecoderSettings(width=16, layers=1, heads=2, hidden=32), 50)
    found = shape_of(decoder, rows=10)
    # tied embeddings once; query, key, value, out; gate, up, down
    assert found == Shape(rows=10, parameters=50 * 16 + 4 * 16 * 16 + 3 * 16 * 32, matrices=8)
    assert found.work == 10 * found.parameters / 8
    with pytest.raises(ValueError, match="LayerNorm has no matrix"):
        shape_of(nn.LayerNorm(3), rows=1)
