"""Re-testing claims: the studies of many as one plan, and what became of each."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from trainonce.analysis.answering import answer
from trainonce.analysis.answers import Answers
from trainonce.papers.claims import EXPECTED, Claim
from trainonce.papers.looks import HELDOUT, Found, contrast, find, heldout
from trainonce.papers.results import Result, study_hash
from trainonce.papers.verdicts import decide
from trainonce.plan.jobs import Job
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.plan.trials import plan_trials
from trainonce.run.cache import JobCache
from trainonce.run.history import HomeHistory
from trainonce.run.recorded import carry_out_recorded
from trainonce.run.scheduler import Event
from trainonce.study.load import load_document
from trainonce.study.trials import is_over_task, load_trials
from trainonce.study.yaml_lines import Document
from trainonce.tasks.registry import tasks
from trainonce.tasks.trial import installed

_PROCESSOR = "processor_seconds"


def plan_claim(claim: Claim, home: Path, seeds: int | None = None) -> Plan:
    """The jobs that re-test a claim; nothing is trained.

    Args:
        claim: what is said.
        home: where corpora and jobs are kept.
        seeds: how many in place of the study's own.

    Raises:
        StudyError: when the claim's study is wrong, or does not decide it.
    """
    document = _with_seeds(claim.document, seeds)
    if is_over_task(document):
        planned = plan_trials(load_trials(document), home)
    else:
        cache = JobCache(home)
        definition = load_document(document)
        planned = plan(definition, home, None, cache.variant, HomeHistory(cache))
    claim.checked(tuple(one.question for one in planned.questions))
    return planned


def missing(claim: Claim) -> tuple[str, ...]:
    """Packages that the data of a claim's task come from and that are not installed."""
    known = tasks().get((claim.document.value.get("recipe") or {}).get("task", ""))
    return tuple(name for name in known.packages if not installed(name)) if known else ()


def plan_papers(claims: Iterable[Claim], home: Path, seeds: int | None = None) -> dict[str, Plan]:
    """The jobs that re-test claims by paper: one study, however many directions it decides.

    Args:
        claims: what is said.
        home: where corpora and jobs are kept.
        seeds: how many in place of each study's own.

    Raises:
        StudyError: when a study is wrong, or does not decide a claim.
    """
    plans: dict[str, Plan] = {}
    for claim in claims:
        if claim.paper not in plans:
            plans[claim.paper] = plan_claim(claim, home, seeds)
        claim.checked(tuple(one.question for one in plans[claim.paper].questions))
    return plans


def carried_out(plans: Mapping[str, Plan]) -> list[Plan]:
    """The plans as they are carried out: all studies over tasks as one, then each other by itself.

    The latter weigh insertions and forks of one trunk against each other.

    Args:
        plans: by paper; of one home.
    """
    small = {name: one for name, one in plans.items() if one.over_task}
    large = [one for one in plans.values() if not one.over_task]
    return [together(small), *large] if small else large


def _with_seeds(document: Document, seeds: int | None) -> Document:
    if seeds is None:
        return document
    recipe = {**(document.value.get("recipe") or {}), "seeds": seeds}
    return replace(document, value={**document.value, "recipe": recipe})


def together(plans: Mapping[str, Plan]) -> Plan:
    """The studies of many papers as one: jobs that several need are in it once.

    Costs are in seeds of the recipe that a job belongs to, so that they are those of its own study.

    Args:
        plans: by the paper's id; of one home.
    """
    jobs: dict[str, Job] = {}
    for name, one in plans.items():
        for job in one.jobs:
            known = jobs.get(job.key)
            asked = tuple(f"{name}/{question}" for question in job.questions)
            jobs[job.key] = (
                replace(known, questions=(*known.questions, *asked))
                if known
                else replace(job, questions=asked)
            )
    first = next(iter(plans.values()))
    return Plan(
        study=f"{len(plans)} claims re-tested",
        file=first.file,
        home=first.home,
        jobs=tuple(jobs.values()),
        questions=tuple(
            replace(planned, question=replace(planned.question, id=f"{name}/{planned.question.id}"))
            for name, one in plans.items()
            for planned in one.questions
        ),
        seeds=tuple(dict.fromkeys(seed for one in plans.values() for seed in one.seeds)),
        tokens=0,
        changed_share=0.0,
        allow_changed=0.0,
        one_run_a_question=sum(one.one_run_a_question for one in plans.values()),
    )


def reproduce(
    claims: Sequence[Claim],
    home: Path,
    *,
    seeds: int | None = None,
    workers: int | None = None,
    report: Callable[[Event], None] | None = None,
    found: Callable[[Claim, Result], None] = lambda _claim, _result: None,
) -> list[Result]:
    """Re-test claims; jobs that are finished are not run again.

    Args:
        claims: what to re-test.
        home: where corpora and jobs are kept.
        seeds: how many in place of each study's own.
        workers: processes side by side.
        report: told what happens to jobs.
        found: told each result.

    Raises:
        StudyError: when a claim's study is wrong.
        JobFailedError: when a job fails; running again goes on from there.
    """
    plans = plan_papers(claims, home, seeds)
    for one in carried_out(plans):
        carry_out_recorded(one, workers=workers, report=report)
    answers = {name: answer(one) for name, one in plans.items()}
    results = []
    for claim in claims:
        planned = plans[claim.paper]
        results.append(result_of(claim, planned, answers[claim.paper]))
        found(claim, results[-1])
    return results


def result_of(claim: Claim, planned: Plan, answers: Answers) -> Result:
    """What became of a claim whose jobs are all finished."""
    cache = JobCache(planned.home)
    facts = [cache.result(job.key) for job in planned.jobs if cache.done(job.key)]
    decided = _decided(claim, answers)
    premises = [find(name, answers) for name in claim.premise]
    # runs that read a corpus are known by their wall-clock time alone
    clock = _PROCESSOR if all(_PROCESSOR in one for one in facts) else "seconds"
    return Result(
        id=claim.id,
        verdict=decide(claim.holds, decided, premises),
        decided=decided,
        others=_others(claim, answers),
        seeds=planned.seeds,
        seconds=round(sum(float(one[clock]) for one in facts), 1),
        clock="processor" if clock == _PROCESSOR else "wall",
        budget=claim.budget,
        study=study_hash(claim),
        plan=planned.hash,
        versions={
            "trainonce": version("trainonce"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        machine=answers.hardware,
        date=max(str(one["finished"])[:10] for one in facts),
    )


def _decided(claim: Claim, answers: Answers) -> Found:
    """What was found of the effect that decides."""
    if claim.smallest is None:
        return find(claim.decides, answers)
    direction = EXPECTED[claim.holds]
    if claim.decides == HELDOUT:
        return heldout(direction, claim.smallest, answers)
    sides = [find(name, answers) for name in claim.against]
    return contrast(find(claim.decides, answers), sides, direction, claim.smallest, answers)


def _others(claim: Claim, answers: Answers) -> tuple[Found, ...]:
    """What else the claim looks at; of a paper with one claim, all other answers too."""
    sides = (claim.decides, *claim.against) if claim.against else ()
    rest = [one.question for one in answers.answers if claim.alone]
    names = dict.fromkeys((*claim.premise, *sides, *rest))
    if not claim.against:
        names.pop(claim.decides, None)
    return tuple(find(name, answers) for name in names)
