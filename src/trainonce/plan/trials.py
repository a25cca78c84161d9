"""Plans of studies over a task: a trial for each arm and seed, those that are alike but once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainonce.plan.jobs import Job, Reason, Role
from trainonce.plan.plan import Plan
from trainonce.plan.planned import PlannedArm, PlannedQuestion
from trainonce.plan.power import detectable_difference
from trainonce.study.questions import TrialArm, TrialQuestion
from trainonce.study.schema import Strategy
from trainonce.study.trials import TrialStudy
from trainonce.tasks.trial import TrialSpec


def plan_trials(study: TrialStudy, home: Path) -> Plan:
    """Plan a study over a task. One run-equivalent is the recipe, tried at each seed."""
    jobs: dict[str, Job] = {}
    for question in study.questions:
        for arm in (question.base, *question.arms):
            for spec in _specs(study, arm):
                known = jobs.get(spec.key)
                asked = (*known.questions, question.id) if known else (question.id,)
                jobs[spec.key] = _job(study, arm, spec, tuple(dict.fromkeys(asked)))
    arms = [len(question.arms) for question in study.questions]
    return Plan(
        study=study.title,
        file=study.document.file,
        home=home,
        jobs=tuple(sorted(jobs.values(), key=lambda job: job.role is not Role.TRUNK)),
        questions=tuple(_planned(study, question) for question in study.questions),
        seeds=study.seeds,
        tokens=0,
        changed_share=0.0,
        allow_changed=0.0,
        one_run_a_question=float(sum(1 + count for count in arms)),
        text=study.document.text,
    )


def _specs(study: TrialStudy, arm: TrialArm) -> Iterator[TrialSpec]:
    settings = study.task.adapter.validate_python(arm.settings)
    for seed in study.seeds:
        yield TrialSpec.of(study.task, settings, seed)


def _job(study: TrialStudy, arm: TrialArm, spec: TrialSpec, asked: tuple[str, ...]) -> Job:
    base = arm.settings == study.base
    label = "the recipe" if base else arm.label
    shared = len(asked) > 1
    serves = f", for {len(asked)} questions at once" if shared else ""
    return Job(
        spec=spec,
        role=Role.TRUNK if base else Role.ARM,
        strategy=Strategy.REPLICATE,
        questions=asked,
        parents=(),
        run_equivalents=1 / len(study.seeds),
        code=Reason.SHARED if shared else Reason.NEW,
        reason=f"{study.task.name} with {label}, seed {spec.seed}{serves}",
        label=label,
    )


def _planned(study: TrialStudy, question: TrialQuestion) -> PlannedQuestion:
    outcome, pairs = question.outcome, len(study.seeds)
    return PlannedQuestion(
        question=question,
        strategy=Strategy.REPLICATE,
        detectable_effect=detectable_difference(pairs, outcome.spread, len(study.questions)),
        units=pairs,
        assumptions=(
            f"trials of one seed draw the same data, split and order in task {study.task.name}, "
            "and are compared seed by seed",
            "differences are normally distributed over seeds, with a standard deviation of "
            f"{outcome.spread:g} in {outcome.name} (assumed, for the detectable effect only)",
        ),
        arms=tuple(
            PlannedArm(label=arm.label, measured=tuple(spec.key for spec in _specs(study, arm)))
            for arm in (question.base, *question.arms)
        ),
    )
