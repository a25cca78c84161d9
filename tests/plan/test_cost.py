from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.plan.studies import HEAD
from trainonce.models.build import shape
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.cost import makespan, operations_a_second, predict, step_operations
from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.report.sentences import machine_sentence
from trainonce.study.load import load
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import TrainSpec, stacked
from trainonce.train.calibrate import Timing, remember
from trainonce.train.rehearsal import REFERENCES, Shape
from trainonce.train.settings import TrainSettings

SHAPE = DecoderSettings(width=32, layers=2, heads=2, tied=True)
STUDY = (
    f"{HEAD}  - {{{{id: memory, treatment: {{{{method: memorization, doses: [0, 2], passages: 0, "
    "canaries: 2}}}}\n"
)


@pytest.fixture
def model() -> torch.nn.Module:
    with torch.device("meta"):
        return shape(SHAPE, 100)


@pytest.fixture
def planned(tmp_path: Path, documents_file: Path) -> Plan:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(corpus=documents_file))
    return plan(load(file), tmp_path / "home")


def test_operations_are_six_a_parameter_and_token_and_attention(model: torch.nn.Module) -> None:
    """6 N D, and for queries times keys and scores times values 12 L T width a token."""
    batch, tokens = 3, 8
    matrices = sum(p.numel() for p in model.parameters() if p.ndim > 1)
    expected = 6 * matrices * batch * tokens + 12 * 2 * tokens * 32 * batch * tokens
    assert step_operations(model, batch, tokens) == expected


@pytest.mark.parametrize("tied", [True, False])
def test_the_formula_of_our_decoder_is_what_torch_counts(tied: bool) -> None:
    settings = DecoderSettings(width=32, layers=3, heads=4, kv_heads=2, tied=tied)
    with torch.device("meta"):
        model = shape(settings, 100)
        tokens = torch.zeros(1, 24, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(tokens)
    assert step_operations(model, 5, 24) == 3 * 5 * counter.get_total_flops()


def test_a_rate_lies_between_those_of_the_references_around_it() -> None:
    timings = {
        name: Timing(
            work=reference.shape.work,
            alone=seconds,
            side_by_side=2 * seconds,
            workers=2,
            batched={},
        )
        for (name, reference), seconds in zip(REFERENCES.items(), (1e-3, 2e-3, 4e-3), strict=True)
    }
    works = sorted(timing.work for timing in timings.values())
    middle = math.sqrt(works[0] * works[1])

    def rate(work: float, *, beside: bool = False) -> float:
        own = Shape(rows=1, parameters=round(work), matrices=1)
        return operations_a_second(timings, own, beside=beside)

    low, high = rate(works[0]), rate(works[1])
    assert min(low, high) < rate(middle) < max(low, high)
    assert rate(works[0] / 100) == pytest.approx(low, rel=1e-4)
    assert rate(works[-1] * 100) == pytest.approx(rate(works[-1]), rel=1e-4)
    assert rate(middle, beside=True) == pytest.approx(rate(middle) / 2)
    with pytest.raises(ValueError, match="none of the reference shapes"):
        operations_a_second({}, Shape(rows=1, parameters=1, matrices=1), beside=True)


def job(spec: TrainSpec, *parents: str) -> Job:
    return Job(
        spec=spec,
        role=Role.TRUNK,
        strategy=Strategy.MULTIPLEX,
        questions=(),
        parents=parents,
        run_equivalents=1.0,
        reason="a test",
    )


def test_the_makespan_is_that_of_the_executor() -> None:
    train = TrainSettings(steps=9, batch=2)
    specs = [
        TrainSpec(corpus="c", sequence=8, model="nano", train=train, seed=seed) for seed in range(4)
    ]
    jobs = [job(spec) for spec in specs]
    seconds = dict(zip((one.key for one in jobs), (4.0, 1.0, 2.0, 3.0), strict=True))
    assert makespan(tuple(jobs), seconds, 1) == 10
    assert makespan(tuple(jobs), seconds, 2) == 6  # 4; 1, 2, 3
    chain = (jobs[0], job(specs[1], jobs[0].key), jobs[2], jobs[3])
    assert makespan(chain, seconds, 2) == 5  # 4, 1; 2 and 3 wait for no one
    assert makespan((jobs[0], job(specs[1], jobs[0].key)), seconds, 2) == 5
    together = tuple(job(spec) for spec in stacked(specs, 1))
    equal = dict.fromkeys((one.key for one in together), 1.0)
    assert makespan(together, equal, 2) == 4  # one piece of work


def test_a_plan_tells_its_time_once_the_machine_is_known(planned: Plan) -> None:
    before = predict(planned, workers=2)
    assert before.seconds is None
    assert "run `trainonce doctor` once" in machine_sentence(before)
    timings = {
        "decoder-64": Timing(
            work=REFERENCES["decoder-64"].shape.work,
            alone=0.01,
            side_by_side=0.02,
            workers=2,
            batched={4: 0.02},
        )
    }
    remember(planned.home, torch.device("cpu"), timings)
    found = predict(planned, workers=2)
    reference = REFERENCES["decoder-64"].shape
    rate = 6 * reference.rows * reference.parameters / 0.02
    assert found.operations == before.operations
    assert sum(found.jobs.values()) == pytest.approx(found.operations / rate)
    assert found.seconds is not None
    assert found.operations / rate / 2 <= found.seconds * (1 + 1e-9) < found.operations / rate
    assert predict(planned, workers=1).seconds == pytest.approx(sum(found.jobs.values()) / 2)
    assert machine_sentence(found).startswith(f"About {found.seconds:.0f} s with 2 processes: ")
    assert dataclasses.asdict(found) == found.to_json()


def test_memory_bounds_the_processes(planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    memory = predict(planned).memory
    monkeypatch.setattr("trainonce.plan.cost.free_memory", lambda: 3 * (memory + 400_000_000))
    assert predict(planned).workers == 3
    monkeypatch.setattr("trainonce.plan.cost.free_memory", lambda: 0)
    assert predict(planned).workers == 1
    monkeypatch.setattr("trainonce.plan.cost.free_memory", lambda: None)
    assert predict(planned).workers == 8
