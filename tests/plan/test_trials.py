from __future__ import annotations

from pathlib import Path

import pytest

from trainonce.plan.jobs import Reason
from trainonce.plan.plan import Plan
from trainonce.plan.trials import plan_trials
from trainonce.study.trials import load_trials
from trainonce.study.yaml_lines import parse
from trainonce.tasks.trial import TrialSpec

STUDY = """\
study: Two questions of one base
recipe: {task: images, seeds: [3, 5], steps: 5}
questions:
  - {id: wider, treatment: {change: {width: 32}}}
  - {id: longer, treatment: {change: {steps: [10, 20]}}}
  - {id: elsewhere, treatment: {change: {width: 32, steps: 10}, against: {steps: 10}}}
"""


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    return plan_trials(load_trials(parse(file)), tmp_path / "home")


def test_what_several_questions_need_is_tried_once(planned: Plan) -> None:
    assert len({job.key for job in planned.jobs}) == len(planned.jobs) == 2 * 5
    assert planned.run_equivalents == pytest.approx(5)
    assert planned.one_run_a_question == 2 + 3 + 2
    base = [job for job in planned.jobs if job.label == "the recipe"]
    assert [job.questions for job in base] == [("wider", "longer")] * 2
    assert {job.code for job in base} == {Reason.SHARED}
    ten = [job for job in planned.jobs if job.label == "steps 10"]
    assert [job.questions for job in ten] == [("longer", "elsewhere")] * 2


def test_arms_are_measured_seed_by_seed(planned: Plan) -> None:
    for question in planned.questions:
        for arm in question.arms:
            specs = [planned.job(key).spec for key in arm.measured]
            assert [spec.seed for spec in specs if isinstance(spec, TrialSpec)] == [3, 5]
            assert specs[0].key != specs[1].key


def test_a_plan_of_trials_can_be_saved(planned: Plan, tmp_path: Path) -> None:
    planned.save(tmp_path / "plan.json")
    found = Plan.read(tmp_path / "plan.json", planned.home)
    assert found.jobs == planned.jobs
    assert found.hash == planned.hash
    assert found.questions == planned.questions
