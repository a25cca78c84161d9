"""The scheduler: hands the jobs of a plan to an executor, in order, until all are finished."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainonce.plan.cost import Prediction, makespan, predict
from trainonce.plan.jobs import Job
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache
from trainonce.run.execute import Noted
from trainonce.run.executor import Executor, Work
from trainonce.run.fates import Kind, fates
from trainonce.run.history import HomeHistory
from trainonce.run.pool import Pool
from trainonce.run.tracking import Tracking, refuse_missing
from trainonce.study.trackers import Tracker

RETRIES = 2


class JobFailedError(RuntimeError):
    """A job that could not be finished; the message says which, why, and where the log is."""


@dataclass(frozen=True)
class Event:
    """Something to show: a job was reused or started, moved on, crashed, failed or finished.

    Or it will not be finished: ``skipped``, since an arm was stopped or diverged, or ``diverged``
    itself; the facts say ``why``.
    """

    kind: str
    job: Job
    facts: Mapping[str, Any]


def carry_out(
    plan: Plan,
    *,
    workers: int | None = None,
    ray: str | None = None,
    retries: int = RETRIES,
    report: Callable[[Event], None] | None = None,
    trackers: Sequence[Tracker] = (),
) -> None:
    """Run the jobs of ``plan`` that are not finished; all of them are settled when this returns.

    Settled is what is finished; an arm that diverged; and what is left out since the arm that it
    trains was stopped or diverged.

    Args:
        plan: what to run.
        workers: processes side by side; as many as cores, threads and memory allow when left out.
        ray: the Ray cluster to run on: its address, ``auto`` for the one that runs already, or
            ``local`` to start one here; None for a pool of this machine's processes.
        retries: how often a job whose process dies is begun again, from the state that it saved
            last. A job that raises an exception would do so again, and ends the study.
        report: told what happens.
        trackers: that runs are tracked with, beside those that the study names.

    Raises:
        TrackerError: when a tracker is not installed.
        JobFailedError: when a job fails, or crashes more than ``retries`` times; what is finished
            stays, and running again goes on.
        ExecutorError: when the jobs cannot be begun where they were to run.
    """
    say = report or (lambda _event: None)
    wanted = (*plan.tracking, *trackers)
    refuse_missing(wanted)
    cache = JobCache(plan.home)
    HomeHistory(cache).remember(plan)
    open_jobs: dict[str, Job] = {}
    for job in plan.jobs:
        if cache.done(job.key):
            say(Event("reused", job, {}))
        else:
            open_jobs[job.key] = job
    _leave_out(plan, cache, open_jobs, say)
    if not open_jobs:
        return
    start = time.monotonic()
    before = spent_seconds(plan)
    prediction = predict(plan, workers)
    promised = _promise(plan, open_jobs, prediction) if ray is None else None
    noted = {
        job.key: {"plan": plan.hash, "promised_seconds": prediction.jobs.get(job.key)}
        for job in plan.jobs
    }
    crashes: Counter[str] = Counter()
    tracking = Tracking.of(plan.study, wanted, plan.home, plan.hash) if wanted else None
    size = min(prediction.workers, len(open_jobs)) if ray is None else workers
    pool = _executor(plan, size, ray, tracking)
    try:
        while open_jobs:
            for work in _ready(plan, open_jobs, pool.running, noted):
                if not pool.start(work):
                    break
            key, event = pool.next_event()
            at = _still(open_jobs, key)
            if again := event["event"] == "crashed" and crashes[key] < retries:
                crashes[key] += 1
                event = {**event, "retry": crashes[key], "retries": retries}
            if event["event"] == "failed" and _is_outcome(plan, cache, at):
                event = {**event, "event": "done"}
            for job in at:
                if event["event"] != "done" or cache.done(job.key):
                    say(Event(event["event"], job, event))
            if event["event"] == "done":
                for job in at:
                    if cache.done(job.key):
                        del open_jobs[job.key]
                if any(job.kind == "decide" or job.key in open_jobs for job in at):
                    _leave_out(plan, cache, open_jobs, say)
                _keep_seconds(plan, before + time.monotonic() - start, promised)
            elif event["event"] in ("failed", "crashed") and not again:
                reason = at[0].reason
                raise JobFailedError(f"{reason}: {event['error']}\nthe log: {pool.log(key)}")
    finally:
        pool.close()


def _executor(
    plan: Plan, workers: int | None, ray: str | None, tracking: Tracking | None
) -> Executor:
    if ray is None:
        return Pool(plan.home, workers or 1, plan.checkpoints, tracking)
    from trainonce.run.ray_pool import RayPool

    return RayPool(plan.home, workers, plan.checkpoints, ray, tracking)


def spent_seconds(plan: Plan) -> float:
    """Wall-clock seconds that this plan's jobs have taken so far, over all times it was started."""
    return float(_kept(plan).get("seconds", 0.0))


def promised_seconds(plan: Plan) -> float | None:
    """What the jobs that were open when this plan was first started were to take.

    None where nobody had measured the machine then, on a cluster, and where nothing was open.
    """
    found = _kept(plan).get("promised_seconds")
    return None if found is None else float(found)


def _promise(plan: Plan, open_jobs: Mapping[str, Job], prediction: Prediction) -> float | None:
    """A plan that was stopped and goes on keeps the promise that it began with."""
    if _kept(plan):
        return promised_seconds(plan)
    if prediction.seconds is None:
        return None
    return makespan(tuple(open_jobs.values()), prediction.jobs, prediction.workers)


def _kept(plan: Plan) -> dict[str, Any]:
    file = _seconds_file(plan)
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def _keep_seconds(plan: Plan, seconds: float, promised: float | None) -> None:
    file = _seconds_file(plan)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    facts = {"study": plan.study, "seconds": round(seconds, 3), "promised_seconds": promised}
    temporary.write_text(json.dumps(facts))
    temporary.replace(file)


def _seconds_file(plan: Plan) -> Path:
    return plan.home / "plans" / f"{plan.jobs_hash}.json"


def _ready(
    plan: Plan, open_jobs: Mapping[str, Job], running: Set[str], noted: Mapping[str, Noted]
) -> list[Work]:
    """What can be begun, in the plan's order; a stack always as a whole."""
    ready: dict[str, Work] = {}
    for job in open_jobs.values():
        key = job.stack or job.key
        if key in running or any(other in open_jobs for other in job.after):
            continue
        whole = tuple(one for one in plan.jobs if one.stack == key) if job.stack else (job,)
        ready.setdefault(key, Work(key, whole, {one.key: noted[one.key] for one in whole}))
    return list(ready.values())


def _leave_out(
    plan: Plan, cache: JobCache, open_jobs: dict[str, Job], say: Callable[[Event], None]
) -> None:
    """Take out of ``open_jobs`` what diverged or is not wanted any more, and say so."""
    for key, fate in fates(plan, cache).items():
        if key in open_jobs and fate.kind in (Kind.DIVERGED, Kind.SKIPPED):
            cache.drop_work(key)
            say(Event(fate.kind.value, open_jobs.pop(key), {"why": fate.why}))


def _is_outcome(plan: Plan, cache: JobCache, at: Sequence[Job]) -> bool:
    """Whether work failed because arms diverged, and for no other reason."""
    found = fates(plan, cache)
    return all(found[job.key].kind in (Kind.DONE, Kind.DIVERGED) for job in at)


def _still(open_jobs: Mapping[str, Job], key: str) -> list[Job]:
    """The open jobs that are done by the work of ``key``."""
    return [job for job in open_jobs.values() if key in (job.stack, job.key)]
