"""What a plan takes on this machine: operations, seconds and memory, before anything trains.

Operations are counted on a model without memory. Seconds come from the rates that `trainonce
doctor` measured here with reference shapes, so there are none before it has.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainonce.models.build import parameters, shape
from trainonce.models.decoder import Decoder
from trainonce.plan.jobs import Job
from trainonce.plan.memory import WEIGHT_BYTES, a_pass, run_memory
from trainonce.plan.plan import Plan
from trainonce.stream.corpus import Corpus
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec
from trainonce.train.calibrate import Timing, Way, remembered
from trainonce.train.rehearsal import REFERENCES, Shape, shape_of

BACKWARD = 2
"""Operations of a backward pass, in forward passes."""

_PROCESS_BYTES = 400_000_000  # a Python process that has imported torch


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a plan takes on this machine.

    Attributes:
        operations: floating-point operations of all jobs.
        seconds: wall-clock time with ``workers`` processes; None before `trainonce doctor` has
            measured this machine.
        jobs: seconds of each job by key, for a process that runs it beside the others.
        memory: bytes that one process takes at most, torch itself aside; an upper bound, since
            fused attention keeps less than what is counted.
        workers: processes side by side.
    """

    operations: float
    seconds: float | None
    jobs: Mapping[str, float]
    memory: int
    workers: int

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def predict(plan: Plan, workers: int | None = None) -> Prediction:
    """What ``plan`` takes here.

    Args:
        plan: what is to be run.
        workers: processes side by side; as many as cores, threads and free memory allow when left
            out.
    """
    if plan.over_task:
        size = workers or os.cpu_count() or 1
        return Prediction(operations=0.0, seconds=None, jobs={}, memory=0, workers=size)
    base = plan.jobs[0].trained
    vocabulary = Corpus(plan.home / "corpora" / base.corpus).tokenizer.size
    with torch.device("meta"):
        model = shape(base.model, vocabulary)
    train = base.train
    step = step_operations(model, train.batch, base.sequence)
    one = step * train.steps * len(plan.seeds)  # a run-equivalent: the recipe at each seed
    timings = remembered(plan.home, torch.device(base.device))
    operations = one * sum(job.run_equivalents for job in plan.jobs)
    memory = max(
        *(run_memory(spec, vocabulary) for spec in _shapes(plan)),
        *(_averaging_memory(spec, vocabulary) for spec in _averages(plan)),
        0,
    )
    size = workers or _workers(plan, memory)
    if not timings:
        return Prediction(operations=operations, seconds=None, jobs={}, memory=memory, workers=size)
    own = shape_of(model, train.batch * base.sequence)
    beside = size > 1
    rate = operations_a_second(timings, own, beside=beside)
    shares = _stack_shares(plan, timings, own)
    seconds = {
        job.key: job.run_equivalents * one / rate * shares.get(job.stack or "", 1.0)
        for job in plan.jobs
    }
    total = makespan(plan.jobs, seconds, size)
    return Prediction(
        operations=operations, seconds=total, jobs=seconds, memory=memory, workers=size
    )


def _shapes(plan: Plan) -> list[TrainSpec]:
    """A run of each shape that takes a memory of its own."""
    runs = _trained(plan)
    return list({(run.model, run.train.accumulate): run for run in runs}.values())


def _trained(plan: Plan) -> list[TrainSpec]:
    """The run of each job that trains, to its end or to a state."""
    return [job.trained for job in plan.jobs if job.kind != "measure"]


def _averages(plan: Plan) -> list[AverageSpec]:
    return [job.spec for job in plan.jobs if isinstance(job.spec, AverageSpec)]


def _averaging_memory(average: AverageSpec, vocabulary: int) -> int:
    """All models of an average at once; its own weights, and the model that they are loaded to."""
    with torch.device("meta"):
        model = shape(average.trained.model, vocabulary)
    return (len(average.models) + 2) * WEIGHT_BYTES * parameters(model)


def step_operations(model: nn.Module, batch: int, sequence: int) -> int:
    """Operations of one update on ``batch`` sequences: a pass through ``model``, and back.

    Args:
        model: token ids ``(B, T)`` to logits; on the meta device nothing is computed.
        batch: sequences.
        sequence: tokens of each.
    """
    return _forward_operations(model, sequence) * (1 + BACKWARD) * batch


def _forward_operations(model: nn.Module, sequence: int) -> int:
    """Of our decoder by its formula, as torch's counter takes a second to load."""
    if isinstance(model, Decoder):
        return model.operations(sequence)
    with FlopCounterMode(display=False) as counter:
        a_pass(model, 1, sequence)
    return int(counter.get_total_flops())


def operations_a_second(timings: Mapping[str, Timing], own: Shape, *, beside: bool) -> float:
    """The rate at which a process trains a model of shape ``own``.

    Between the reference shapes it is interpolated over the logarithm of the size of the matrix
    products; beyond them it stays what it is there.

    Args:
        timings: what was measured here, by reference.
        own: the shape.
        beside: whether other processes train beside it, one a core, or it has all cores.
    """
    known = sorted(
        (math.log(timing.work), _reference_operations(name) / _seconds(timing, beside))
        for name, timing in timings.items()
        if name in REFERENCES
    )
    if not known:
        raise ValueError("none of the reference shapes was measured")
    works, rates = zip(*known, strict=True)
    at = math.log(own.work)
    for (low, slower), (high, faster) in itertools.pairwise(known):
        if low <= at <= high:
            return float(slower + (faster - slower) * (at - low) / (high - low))
    return float(rates[0] if at < works[0] else rates[-1])


def _seconds(timing: Timing, beside: bool) -> float:
    return timing.side_by_side if beside else timing.alone


def _reference_operations(name: str) -> float:
    """Multiply-adds count twice, and a backward pass as two forward ones."""
    own = REFERENCES[name].shape
    return 2.0 * own.rows * own.parameters * (1 + BACKWARD)


def _stack_shares(plan: Plan, timings: Mapping[str, Timing], own: Shape) -> dict[str, float]:
    """How long a run takes in its stack, in times that it takes by itself."""
    nearest = min(timings.values(), key=lambda timing: abs(math.log(timing.work / own.work)))
    stacks: dict[str, int] = {}
    for job in plan.jobs:
        if job.stack:
            stacks[job.stack] = stacks.get(job.stack, 0) + 1
    return {
        stack: nearest.seconds(Way.BATCHED, runs) / (runs * nearest.alone)
        for stack, runs in stacks.items()
    }


def makespan(jobs: tuple[Job, ...], seconds: Mapping[str, float], workers: int) -> float:
    """Wall-clock time of ``jobs`` on so many processes, each taking the first job that can begin.

    The jobs of a stack are one piece of work.
    """
    waiting: dict[str, list[Job]] = {}
    for job in jobs:
        waiting.setdefault(job.stack or job.key, []).append(job)
    left = {job.key for job in jobs}
    running: list[tuple[float, str, list[Job]]] = []
    now = 0.0
    while waiting or running:
        for name, piece in list(waiting.items()):
            ready = not any(parent in left for job in piece for parent in job.after)
            if ready and len(running) < workers:
                end = now + sum(seconds[job.key] for job in piece)
                heapq.heappush(running, (end, name, waiting.pop(name)))
        now, _, finished = heapq.heappop(running)
        left -= {job.key for job in finished}
    return now


def _workers(plan: Plan, memory: int) -> int:
    """As many as cores, threads and free memory allow; one a GPU."""
    trains = _trained(plan)
    if any(spec.device != "cpu" for spec in trains):
        return 1
    together = max(spec.processes.count if spec.processes else 1 for spec in trains)
    fit = (os.cpu_count() or 1) // (together * max(spec.threads for spec in trains))
    free = free_memory()
    if free is not None:
        fit = min(fit, free // (together * (memory + _PROCESS_BYTES)))
    return max(1, fit)


def free_memory() -> int | None:
    """Bytes of memory that programs may still take here; None where nobody says."""
    return _told("MemAvailable")


def whole_memory(device: torch.device) -> int | None:
    """Bytes of memory that the machine, or its GPU, has; None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return _told("MemTotal")


def _told(name: str) -> int | None:
    facts = Path("/proc/meminfo")
    if not facts.is_file():
        return None
    for line in facts.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
