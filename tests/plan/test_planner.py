from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.plan.studies import HEAD, MEMORY
from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.plan.power import detectable_effect
from trainonce.study.load import load
from trainonce.study.problems import Problem, StudyError
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.settings import CheckpointSettings, Parallel, ProcessSettings

TESTS = (
    "  - {id: tests, treatment: {method: contamination, doses: [0, 4], items: 4, prompt: 8, "
    "answer: 4}}\n"
)


def planned(tmp_path: Path, home: Path, corpus: Path, *questions: str, **changes: str) -> Plan:
    text = HEAD.format(corpus=corpus) + "".join(questions)
    for old, new in changes.items():
        assert old in text
        text = text.replace(f"{old}: {HEAD_VALUES[old]}", f"{old}: {new}")
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return plan(load(file), home)


HEAD_VALUES = {
    "sequence": "64",
    "batch": "4",
    "allow_changed": "20%",
    "length": "160 steps",
    "seeds": "[1, 2]",
}


def keys(found: Plan, role: Role) -> set[str]:
    return {job.key for job in found.jobs if job.role is role}


def test_two_questions_cost_one_run_and_not_two(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, MEMORY, TESTS)
    document = found.to_json()
    assert 1.0 < document["run_equivalents"] < 1.3
    assert document["one_run_a_question"] > 2
    one = planned(tmp_path, home, documents_file, MEMORY)
    assert one.one_run_a_question == pytest.approx(one.run_equivalents)
    assert document["run_equivalents"] == pytest.approx(
        sum(j["run_equivalents"] for j in document["jobs"] if j["role"] not in ("plain", "check")),
        abs=1e-3,
    )
    trunks = [job for job in document["jobs"] if job["role"] == "trunk"]
    assert len(trunks) == 2
    assert all(set(job["questions"]) == {"memory", "tests", "aa"} for job in trunks)
    assert [q["id"] for q in document["questions"]] == ["memory", "tests", "aa"]
    for name in ("key", "kind", "strategy", "questions", "parents", "run_equivalents", "reason"):
        assert all(name in job for job in document["jobs"])
    assert json.dumps(document, allow_nan=False)


def test_a_job_stands_after_its_parents(tmp_path: Path, home: Path, documents_file: Path) -> None:
    seen: set[str] = set()
    for job in planned(tmp_path, home, documents_file, MEMORY, TESTS).jobs:
        assert set(job.parents) <= seen
        seen.add(job.key)


def test_the_order_of_questions_changes_no_job(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    one = planned(tmp_path, home, documents_file, MEMORY, TESTS)
    two = planned(tmp_path, home, documents_file, TESTS, MEMORY)
    assert {job.key for job in one.jobs} == {job.key for job in two.jobs}
    assert one.hash == two.hash


def test_a_wording_changes_no_job_and_an_outcome_none_but_the_plan(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    one = planned(tmp_path, home, documents_file, MEMORY)
    asked = MEMORY.replace("id: memory,", "id: memory, ask: 'Really?',")
    assert planned(tmp_path, home, documents_file, asked).hash == one.hash
    loss = MEMORY.replace("id: memory,", "id: memory, outcome: loss,")
    two = planned(tmp_path, home, documents_file, loss)
    assert [job.key for job in two.jobs] == [job.key for job in one.jobs]
    assert two.hash != one.hash


def test_one_more_question_makes_new_trunks_and_keeps_the_plain_runs(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    one = planned(tmp_path, home, documents_file, MEMORY)
    two = planned(tmp_path, home, documents_file, MEMORY, TESTS)
    assert keys(one, Role.PLAIN) == keys(two, Role.PLAIN)
    assert keys(one, Role.TRUNK).isdisjoint(keys(two, Role.TRUNK))


def test_items_are_known_by_their_content_and_not_by_their_path(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    rows = "".join(f'{{"text": "stone number {i} is by the river"}}\n' for i in range(6))
    texts = {"a.jsonl": rows, "b.jsonl": rows, "c.jsonl": rows.replace("stone", "paper")}
    found = {}
    for name, content in texts.items():
        (tmp_path / name).write_text(content)
        question = MEMORY.replace("passages: 2, canaries: 2", f"canaries: 0, file: {name}")
        found[name] = keys(planned(tmp_path, home, documents_file, question), Role.TRUNK)
    assert found["a.jsonl"] == found["b.jsonl"]
    assert found["a.jsonl"].isdisjoint(found["c.jsonl"])


def test_too_many_changed_tokens_name_the_share_that_would_do(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    with pytest.raises(StudyError) as error:
        planned(tmp_path, home, documents_file, MEMORY, allow_changed="1%")
    (problem,) = error.value.problems
    assert problem.field == "recipe.allow_changed"
    assert problem.line == 8
    assert "memory" in problem.right
    enough = problem.right.rpartition("allow_changed: ")[2].rstrip("`")
    planned(tmp_path, home, documents_file, MEMORY, allow_changed=enough)


def test_questions_on_one_lane_are_told_which_lane_is_free(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    for number in range(200):
        other = MEMORY.replace("id: memory", f"id: m{number}")
        try:
            planned(tmp_path, home, documents_file, MEMORY, other)
        except StudyError as error:
            (problem,) = error.problems
            break
    assert problem.field == "questions[1].lane"
    assert f"questions 'm{number}' and 'memory' would share" in problem.right
    lane = problem.right.partition("`lane: ")[2].partition("`")[0]
    mended = other.replace("id:", f"lane: {lane}, id:")
    planned(tmp_path, home, documents_file, MEMORY, mended)


def test_lanes_named_in_one_error_hold_together(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    problems: tuple[Problem, ...] = ()
    for letter in "abcdefgh":
        asked = [MEMORY.replace("id: memory", f"id: {letter}{number}") for number in range(9)]
        try:
            planned(tmp_path, home, documents_file, *asked, allow_changed="89%")
        except StudyError as error:
            problems = tuple(error.problems)
        if len(problems) > 1:
            break
    assert len(problems) > 1
    for problem in problems:
        name = problem.right.partition("into question '")[2].partition("'")[0]
        lane = problem.right.partition("`lane: ")[2].partition("`")[0]
        index = int(name[1:])
        asked[index] = asked[index].replace("id:", f"lane: {lane}, id:")
    planned(tmp_path, home, documents_file, *asked, allow_changed="89%")


@pytest.mark.parametrize(
    ("question", "field", "message"),
    [
        (
            MEMORY.replace("[0, 2, 6]", "[0, 400]"),
            "questions[0].treatment",
            "do not fit 640 sequences",
        ),
        (
            MEMORY.replace("passages: 2, canaries: 2", "file: own.jsonl"),
            "questions[0].treatment.file",
            "own.jsonl:2: text: Field required",
        ),
        (
            MEMORY.replace("passages: 2, canaries: 2", "canaries: 0, file: long.jsonl"),
            "questions[0].treatment.file",
            "long.jsonl:2: 423 tokens with its two end-of-text marks",
        ),
    ],
)
def test_items_that_cannot_be_placed_are_problems_of_their_question(
    tmp_path: Path, home: Path, documents_file: Path, question: str, field: str, message: str
) -> None:
    (tmp_path / "own.jsonl").write_text('{"text": "a b c"}\n{"txt": "d"}\n')
    lines = ['{"text": "a stone"}\n'] * 6
    lines[1] = f'{{"text": "{"river stone " * 60}"}}\n'
    (tmp_path / "long.jsonl").write_text("".join(lines))
    with pytest.raises(StudyError) as error:
        planned(tmp_path, home, documents_file, question)
    (problem,) = error.value.problems
    assert problem.field.startswith(field)
    assert message in problem.right
    assert problem.line == 10


def test_items_of_a_file_that_do_not_fit_are_told(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    rows = ['{"text": "a stone by the river"}\n'] * 6
    long = f'{{"text": "{"river stone " * 60}"}}\n'
    (tmp_path / "long.jsonl").write_text("".join(rows) + long * 6)
    settings = "canaries: 0, file: long.jsonl, take: 6"
    question = MEMORY.replace("passages: 2, canaries: 2", settings)
    memory = planned(tmp_path, home, documents_file, question).questions[0]
    assert memory.units == 12
    assert memory.sizes is not None
    left = memory.sizes.left_out
    assert 0 < left <= 12
    told = f"; {left} of {12 + left} did not fit and were left out"
    assert f"items are drawn at random from its file, anew at each seed{told}" in memory.assumptions


def test_a_corpus_that_is_too_small_is_a_problem_of_the_recipe(tmp_path: Path, home: Path) -> None:
    tiny = tmp_path / "tiny.jsonl"
    tiny.write_text("".join(f'{{"text": "w{i}"}}\n' for i in range(30)))
    with pytest.raises(StudyError) as error:
        planned(tmp_path, home, tiny, MEMORY)
    assert error.value.problems[0].field == "recipe.data.corpus"


def test_when_a_run_saves_its_state_is_in_no_key(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    plain = planned(tmp_path, home, documents_file, MEMORY)
    often = planned(
        tmp_path, home, documents_file, MEMORY, batch="4\n  checkpoints: {every: 5 steps, keep: 9}"
    )
    assert often.checkpoints == CheckpointSettings(seconds=0.0, steps=5, keep=9)
    assert often.hash == plain.hash


@pytest.mark.parametrize("line", ["accumulate: 2", "on_nan: skip", "on_nan: rewind"])
def test_what_changes_a_result_is_in_every_key(
    tmp_path: Path, home: Path, documents_file: Path, line: str
) -> None:
    plain = planned(tmp_path, home, documents_file, MEMORY)
    other = planned(tmp_path, home, documents_file, MEMORY, batch=f"4\n  {line}")
    assert not {job.key for job in plain.jobs} & {job.key for job in other.jobs}


def test_what_a_token_attends_to_is_in_every_key_unless_it_is_what_it_was_before(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    plain = planned(tmp_path, home, documents_file, MEMORY)
    across = planned(tmp_path, home, documents_file, MEMORY, sequence="64, attention: across")
    within = planned(tmp_path, home, documents_file, MEMORY, sequence="64, attention: within")
    assert across.hash == plain.hash
    assert not {job.key for job in plain.jobs} & {job.key for job in within.jobs}


def test_the_detectable_effect_is_found_with_the_power_it_says() -> None:
    """Simulate t-tests at the corrected level."""
    effect = detectable_effect(treated=16, control=16, spread=0.5, questions=4)
    random = np.random.default_rng(5)
    treated = random.normal(effect, 0.5, (4000, 16))
    control = random.normal(0.0, 0.5, (4000, 16))
    p_values = stats.ttest_ind(treated, control, axis=1).pvalue
    assert np.mean(p_values < 0.05 / 4) == pytest.approx(0.8, abs=0.03)


def test_more_units_detect_less() -> None:
    few = detectable_effect(8, 8, 0.5, questions=4)
    many = detectable_effect(32, 32, 0.5, questions=4)
    assert many < few / 2


def test_processes_and_recomputing_are_in_the_key_only_where_they_are_asked_for(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    plain = planned(tmp_path, home, documents_file, MEMORY)
    keys = {plain.hash}
    for text in ("processes: 1\n  recompute: false", "processes: {count: 1, parallel: fsdp}"):
        same = planned(tmp_path, home, documents_file, MEMORY, batch=f"4\n  {text}")
        assert same.hash == plain.hash
    for text in ("processes: 2", "processes: {count: 2, parallel: fsdp}", "recompute: true"):
        keys.add(planned(tmp_path, home, documents_file, MEMORY, batch=f"4\n  {text}").hash)
    assert len(keys) == 4
    two = planned(tmp_path, home, documents_file, MEMORY, batch="4\n  processes: 2").jobs[0].spec
    assert isinstance(two, TrainSpec)
    assert two.processes == ProcessSettings(count=2, parallel=Parallel.DDP)


def test_strata_cost_degrees_of_freedom() -> None:
    """Four strata of two units a dose: a test of what differs within them has 8 left of 14."""
    effect = detectable_effect(8, 8, 0.5, questions=1, strata=4)
    random = np.random.default_rng(6)
    treated, control = (random.normal(centre, 0.5, (4000, 4, 2)) for centre in (effect, 0.0))
    within = (
        treated.var(axis=2, ddof=1).mean(axis=1) + control.var(axis=2, ddof=1).mean(axis=1)
    ) / 8
    t = (treated.mean(axis=(1, 2)) - control.mean(axis=(1, 2))) / np.sqrt(within)
    assert np.mean(t > stats.t.ppf(0.975, 8)) == pytest.approx(0.8, abs=0.03)
