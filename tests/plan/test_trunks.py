"""Questions that do not fit one trunk are spread over several."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plan.studies import MEMORY
from tests.plan.test_planner import TESTS, keys, planned
from trainonce.plan.jobs import Role
from trainonce.study.problems import StudyError
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import TrainSpec

THIRD = MEMORY.replace("id: memory", "id: third, lane: 2")
MORE = MEMORY.replace("id: memory", "id: more, lane: 1")


def room_for(tmp_path: Path, home: Path, corpus: Path, *questions: str) -> str:
    """The share that some questions change, and a little."""
    share = planned(tmp_path, home, corpus, *questions, allow_changed="90%").changed_share
    return f"{100 * share + 0.01:.2f}%"


def test_what_does_not_fit_has_a_further_trunk(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    enough = room_for(tmp_path, home, documents_file, MEMORY)
    found = planned(tmp_path, home, documents_file, MEMORY, MORE, TESTS, allow_changed=enough)
    own = [job for job in found.jobs if job.role is Role.OWN]
    assert [job.seed for job in own] == [1, 1, 2, 2]
    for job in own:
        assert isinstance(job.spec, TrainSpec)
        assert tuple(one.question for one in job.spec.treatments) == job.questions
        assert job.strategy is Strategy.MULTIPLEX
        assert "the first trunk has no room" in job.reason
    assert {job.questions for job in own} == {("more",), ("tests",)}
    assert found.run_equivalents == pytest.approx(3, abs=0.3)
    alone = planned(tmp_path, home, documents_file, MEMORY)
    assert keys(found, Role.TRUNK) == keys(alone, Role.TRUNK)


def test_a_further_trunk_is_shared_and_each_question_measured_on_its_own(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    enough = room_for(tmp_path, home, documents_file, MEMORY, MORE)
    asked = (MEMORY, MORE, TESTS, THIRD)
    found = planned(tmp_path, home, documents_file, *asked, allow_changed=enough)
    trunks = {job.key: job for job in found.jobs if job.role in (Role.TRUNK, Role.OWN)}
    assert len(trunks) == 4
    assert {job.questions for job in trunks.values() if job.role is Role.OWN} == {
        ("tests", "third")
    }
    for job in found.jobs:
        if job.role is Role.ANSWER and job.questions != ("aa",):
            (parent,) = job.parents
            assert job.questions[0] in {one.question for one in job.trained.treatments}
            further = job.questions[0] in ("tests", "third")
            assert trunks[parent].role is (Role.OWN if further else Role.TRUNK)


def test_one_that_must_be_in_the_trunk_comes_first(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    enough = room_for(tmp_path, home, documents_file, MEMORY)
    forced = MORE.replace("treatment:", "how: multiplex, treatment:")
    found = planned(tmp_path, home, documents_file, MEMORY, forced, allow_changed=enough)
    (further,) = {job.questions for job in found.jobs if job.role is Role.OWN}
    assert further == ("memory",)
    both = [MEMORY.replace("treatment:", "how: multiplex, treatment:"), forced]
    with pytest.raises(StudyError) as error:
        planned(tmp_path, home, documents_file, *both, allow_changed=enough, seeds="1")
    (problem,) = error.value.problems
    assert problem.field == "recipe.allow_changed"
