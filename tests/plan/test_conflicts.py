from __future__ import annotations

from pathlib import Path

import pytest

from tests.plan.test_strategies import how, planned, refused
from trainonce.plan.jobs import Reason, Role
from trainonce.study.schema import Strategy

OWN = "  - {id: NAME, treatment: {method: memorization, doses: [0, 2], canaries: 0, file: FILE}}\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = "".join(f'{{"text": "stone number {i} is by the river"}}\n' for i in range(6))
    for name in ("a.jsonl", "same.jsonl"):
        (tmp_path / name).write_text(rows)
    (tmp_path / "other.jsonl").write_text(rows.replace("stone", "paper"))
    return tmp_path


def own(name: str, file: str) -> str:
    return OWN.replace("NAME", name).replace("FILE", file)


def test_the_later_of_two_questions_about_the_same_items_has_a_run_of_its_own(
    files: Path, home: Path, documents_file: Path
) -> None:
    found = planned(files, home, documents_file, own("first", "a.jsonl"), own("b", "same.jsonl"))
    strategies = {one.question.id: one.strategy for one in found.questions}
    assert strategies["first"] is Strategy.MULTIPLEX
    assert strategies["b"] is Strategy.REPLICATE
    trunks = [job for job in found.jobs if job.role is Role.TRUNK]
    assert all({t.question for t in job.trained.treatments} == {"first"} for job in trunks)
    (run, *_) = [job for job in found.jobs if job.role is Role.OWN]
    assert run.code is Reason.CONFLICT
    assert "not in the trunk, where 'first' deals doses to the same items" in run.reason


@pytest.mark.parametrize("method", ["passages", "verbatim"])
def test_texts_are_the_same_items_whatever_is_asked_of_them(
    files: Path, home: Path, documents_file: Path, method: str
) -> None:
    asked = own("b", "same.jsonl").replace("memorization", method).replace(", canaries: 0", "")
    if method == "verbatim":
        asked = asked.replace("file:", "places: [end], prefixes: [1, 2, 3], target: 1, file:")
    found = planned(files, home, documents_file, own("first", "a.jsonl"), asked)
    strategies = {one.question.id: one.strategy for one in found.questions}
    assert strategies["b"] is Strategy.REPLICATE


def test_other_items_share_the_trunk(files: Path, home: Path, documents_file: Path) -> None:
    found = planned(files, home, documents_file, own("first", "a.jsonl"), own("b", "other.jsonl"))
    assert {one.strategy for one in found.questions} == {Strategy.MULTIPLEX}


def test_a_run_of_its_own_that_was_asked_for_is_no_conflict(
    files: Path, home: Path, documents_file: Path
) -> None:
    asked = how(own("b", "a.jsonl"), "replicate")
    found = planned(files, home, documents_file, own("first", "a.jsonl"), asked)
    assert all(job.code is not Reason.CONFLICT for job in found.jobs)


def test_two_that_are_forced_together_contradict_each_other(
    files: Path, home: Path, documents_file: Path
) -> None:
    forced = how(own("b", "a.jsonl"), "multiplex")
    said = refused(files, home, documents_file, own("first", "a.jsonl"), forced)
    assert "questions[1].how" in said
    assert "question 'first' deals doses to the same items" in said
    assert "`how: replicate`" in said


def test_a_model_beyond_this_machines_memory_names_the_recipe_or_the_question(
    files: Path, home: Path, documents_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = "  - {id: wide, treatment: {change: {model.width: 64}}}\n"
    assert planned(files, home, documents_file, own("first", "a.jsonl"), arm).jobs
    memory = {"bytes": 16 * 20_000}
    monkeypatch.setattr("trainonce.plan.base.whole_memory", lambda _device: memory["bytes"])
    said = refused(files, home, documents_file, own("first", "a.jsonl"), arm)
    assert "questions[1].treatment.change: found 'model.width 64'" in said
    assert "choose a smaller model, or share it" in said
    memory["bytes"] = 1_000
    said = refused(files, home, documents_file, own("first", "a.jsonl"))
    assert "recipe.model" in said
    assert "this machine has 0.0 GB" in said
