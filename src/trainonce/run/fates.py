"""What has become of a plan's jobs, from what the cache holds and nothing else.

A job is left out when a decision stopped the arms that it trains, or when what it is made from was
left out or has diverged. Nothing is deleted: a plan without the decision goes on from the states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from trainonce.plan.jobs import Gate, Job
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache
from trainonce.tasks.specs.decisions import DecideSpec
from trainonce.tasks.specs.runs import StateSpec, TrainSpec


class Kind(StrEnum):
    """What can become of a job."""

    OPEN = "open"
    DONE = "done"
    SKIPPED = "skipped"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Fate:
    """What became of a job, and why where it has no result."""

    kind: Kind
    why: str = ""


def fates(plan: Plan, cache: JobCache) -> dict[str, Fate]:
    """What has become of each job, by key."""
    found: dict[str, Fate] = {}
    for job in plan.jobs:
        found[job.key] = _fate(job, found, cache)
    return found


def spent(job: Job, cache: JobCache) -> float:
    """What a job cost, in run-equivalents.

    One that was left out cost nothing, and a run that diverged the steps up to there.
    """
    if cache.done(job.key):
        return job.run_equivalents
    facts = cache.diverged(job.key)
    if facts is None or not isinstance(job.spec, TrainSpec | StateSpec):
        return 0.0
    states = [int(key.rpartition("@")[2]) for key in job.parents if "@" in key]
    begins = max(states, default=0)
    ends = job.spec.step if isinstance(job.spec, StateSpec) else job.spec.train.steps
    return job.run_equivalents * (int(facts["step"]) - begins) / (ends - begins)


def _fate(job: Job, found: Mapping[str, Fate], cache: JobCache) -> Fate:
    if cache.done(job.key):
        return Fate(Kind.DONE)
    if job.may_diverge and (facts := cache.diverged(job.key)):
        return Fate(Kind.DIVERGED, f"{job.label} diverged at step {facts['step']}")
    if not isinstance(job.spec, DecideSpec):  # which looks at the arms that are left
        for parent in job.parents:
            if found[parent].kind in (Kind.SKIPPED, Kind.DIVERGED):
                return Fate(Kind.SKIPPED, found[parent].why)
    closed = [_closed(job, gate, found, cache) for gate in job.gates]
    if closed and all(closed):
        return Fate(Kind.SKIPPED, closed[0])
    return Fate(Kind.OPEN)


def _closed(job: Job, gate: Gate, found: Mapping[str, Fate], cache: JobCache) -> str:
    """Why a gate is closed; empty while it is open or undecided."""
    if found[gate.decision].kind is not Kind.DONE:
        return ""
    decision = cache.decision(gate.decision)
    step = decision["stopped"].get(str(gate.arm))
    if step is None:
        return ""
    return f"{job.label} was stopped after step {step} of {decision['steps']}"
