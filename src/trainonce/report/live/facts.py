"""What a page shows, as facts by name: a page is written from them, and told those that change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainonce.analysis.answers import Answer
from trainonce.analysis.verdicts import Verdict
from trainonce.plan.plan import Plan
from trainonce.report.branches import Branch, branches
from trainonce.report.html import typeset
from trainonce.report.live.curves import Drawn, Run
from trainonce.report.picture import ways
from trainonce.report.sentences import sentence
from trainonce.report.times import duration
from trainonce.run.status import DEAD_SECONDS, JobStatus, StudyStatus
from trainonce.run.tables import DONE
from trainonce.study.schema import AA
from trainonce.tasks.specs.runs import StateSpec

Fact = str | int | float | bool
Facts = dict[str, Fact]

OPEN = ("waiting", "running", "dead", "failed")
"""States of a job that is still to be done; in any other one, nothing more is done for it."""

SLOTS = 8
"""Jobs that are shown as running."""


@dataclass(frozen=True)
class Seen:
    """A page at one moment.

    Attributes:
        structure: changes when the page has to be written anew.
        facts: what it shows.
    """

    structure: str
    facts: Facts


@dataclass(frozen=True, kw_only=True)
class Line:
    """A job's line in the list of all jobs."""

    key: str
    kind: str
    reason: str
    run_equivalents: float


def changed(before: Mapping[str, Fact], now: Facts) -> Facts:
    """The facts that are new or other than before."""
    return {name: fact for name, fact in now.items() if before.get(name) != fact}


def study_facts(study: StudyStatus | None, jobs: Sequence[JobStatus]) -> Facts:
    """State, progress and cost of the whole study, and what runs now."""
    settled = sum(job.state not in OPEN for job in jobs)
    state = study.state if study else "not begun"
    cost = sum(job.run_equivalents for job in jobs)
    spent = sum(job.run_equivalents for job in jobs if job.state in DONE)
    facts: Facts = {
        "study.state": state.replace(" ", "-"),
        "study.word": state.capitalize(),
        "study.when": _when(study) if study else "",
        "study.done": settled,
        "study.jobs": f"{settled} of {len(jobs)} jobs",
        "study.cost": f"{spent:.2f} of {cost:.2f} run-equivalents",
    }
    at_it = [job for job in jobs if job.state == "running"]
    for slot in range(SLOTS):
        job = at_it[slot] if slot < len(at_it) else None
        facts |= {
            f"now.{slot}.hidden": job is None,
            f"now.{slot}.name": job.reason.partition(":")[0] if job else "",
            f"now.{slot}.note": _how_far(job) if job else "",
            f"now.{slot}.share": round((job.step or 0) / (job.steps or 1), 3) if job else 0,
        }
    more = len(at_it) - SLOTS
    facts["now.more"] = f"and {more} more" if more > 0 else "" if at_it else "No job runs now."
    return facts


def told(study: StudyStatus | None, jobs: Sequence[JobStatus], answered: int, asked: int) -> str:
    """The sentence that is read to those who do not see the page; it changes with a job."""
    settled = sum(job.state not in OPEN for job in jobs)
    running = sum(job.state == "running" for job in jobs)
    failed = sum(job.state == "failed" for job in jobs)
    text = f"{(study.state if study else 'not begun').capitalize()}: {settled} of {len(jobs)} jobs"
    text += f" done, {running} running" + (f", {failed} failed" if failed else "")
    return text + (f"; {answered} of {asked} questions answered." if asked else ".")


def job_facts(jobs: Iterable[JobStatus]) -> Facts:
    """State and progress of each job, by its place in the list."""
    facts: Facts = {}
    for number, job in enumerate(jobs):
        facts[f"job.{number}.state"] = job.state
        facts[f"job.{number}.note"] = _how_far(job)
    return facts


def branch_facts(plan: Plan, jobs: Mapping[str, JobStatus]) -> Facts:
    """How far each line of the plan's picture is drawn."""
    reached = steps_reached(plan, jobs)
    facts: Facts = {f"branch.{n}.way": way for n, way in enumerate(ways(plan, reached))}
    for number, branch in enumerate(branches(plan)):
        states = {jobs[job.key].state for job in (*branch.jobs, *branch.measured)}
        facts[f"branch.{number}.state"] = _together(states)
    return facts


def steps_reached(plan: Plan, jobs: Mapping[str, JobStatus]) -> dict[str, float]:
    """The step that each branch has come to, the mean over its seeds."""
    return {branch.name: _reached(branch, jobs) for branch in branches(plan)}


def answer_facts(
    plan: Plan, answers: Mapping[str, Answer], left: Mapping[str, int], problem: str
) -> Facts:
    """Each question's answer, or how many jobs it waits for.

    Args:
        plan: of the study.
        answers: those that there are, by question.
        left: how many jobs a question waits for.
        problem: why answers that could be there are not.
    """
    facts: Facts = {}
    provisional = any(p.question.id not in answers for p in plan.questions if p.question.id != AA)
    for number, planned in enumerate(plan.questions):
        name = planned.question.id
        answer = answers.get(name)
        if answer is None:
            jobs = left[name]
            waits = f"waits for {jobs} more job{'s' * (jobs != 1)}" if jobs else problem
            shown = ("waiting", "Not yet", "", waits or "is being computed")
        else:
            verdict = answer.verdict
            shown = (verdict.value.replace(" ", "-"), verdict.value.capitalize(), "", "")
            note = _PROVISIONAL if provisional and name != AA else ""
            if note and verdict is Verdict.CANNOT_TELL:
                note += " So this may still become a yes."
            shown = (*shown[:2], typeset(sentence(answer)), note)
        for part, text in zip(("state", "verdict", "sentence", "note"), shown, strict=True):
            facts[f"answer.{number}.{part}"] = text
    return facts


def curve_facts(runs: Sequence[Run], drawn: Drawn) -> Facts:
    """The lines of the losses and the numbers at their axes."""
    facts: Facts = {"curves.hidden": not drawn.points}
    for number, run in enumerate(runs):
        facts[f"curve.{number}.points"] = drawn.points.get(run.key, "")
        facts[f"curve.{number}.hidden"] = run.key not in drawn.points
        facts[f"curve.{number}.latest"] = drawn.latest.get(run.key, "")
    facts |= {f"curves.loss.{number}": loss for number, loss in enumerate(drawn.losses)}
    return facts | {f"curves.step.{number}": step for number, step in enumerate(drawn.steps)}


_PROVISIONAL = "Other questions wait: the corrected p is an upper bound until they are answered."


def _when(study: StudyStatus) -> str:
    where = f"on {study.machine}, process {study.process}"
    if study.state == "dead":
        return f"not heard of for {duration(study.silent or 0.0)}, {where}"
    if study.state == "running":
        return f"for {duration(study.elapsed)} {where}"
    return f"after {duration(study.elapsed)} {where}"


def _how_far(job: JobStatus) -> str:
    if job.state in ("running", "dead") and job.step is not None:
        steps = f"step {job.step:,} of {job.steps or 0:,}"
        loss = f", loss {job.loss:.3f}" if job.loss is not None else ""
        silent = job.silent or 0.0
        if job.state == "dead" or silent > DEAD_SECONDS:
            return f"{steps}, not heard of for {duration(silent)}"
        left = f", {duration(job.seconds_left)} left" if job.seconds_left is not None else ""
        return f"{steps}{loss}{left}"
    if job.state not in OPEN and job.seconds is not None:
        return duration(job.seconds)
    if job.state == "waiting" and job.predicted_seconds is not None:
        return f"will take about {duration(job.predicted_seconds)}"
    return ""


def _together(states: set[str]) -> str:
    """The state of jobs as one: the worst, then the liveliest."""
    for state in ("failed", "dead", "running"):
        if state in states:
            return state
    if not states & set(OPEN):
        return "finished"
    return "waiting" if states == {"waiting"} else "begun"


def _reached(branch: Branch, jobs: Mapping[str, JobStatus]) -> float:
    by_seed: dict[int, float] = {}
    for job in branch.jobs:
        if job.kind not in ("train", "state"):
            continue
        now = jobs[job.key]
        step = float(_end(job.spec, branch)) if now.state in DONE else float(now.step or 0)
        by_seed[job.seed] = max(by_seed.get(job.seed, branch.begin), step)
    return sum(by_seed.values()) / len(by_seed) if by_seed else 0.0


def _end(spec: object, branch: Branch) -> int:
    return spec.step if isinstance(spec, StateSpec) else branch.end
