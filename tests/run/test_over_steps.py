"""Items measured while their run goes on, from the study file to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

import trainonce
from trainonce.analysis.answers import Answer
from trainonce.plan.jobs import Job, Reason, Role
from trainonce.plan.planner import plan
from trainonce.report.html import render
from trainonce.report.terminal import answers_view
from trainonce.run.cache import JobCache
from trainonce.study.load import load
from trainonce.study.problems import StudyError
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec

HEAD = """\
study: Tiny forgetting
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 32, layers: 1, heads: 2}}
  optimizer: {{lr: 1e-2}}
  batch: 4
  length: 80 steps
  allow_changed: 40%
checks: {{plain: false}}
questions:
"""
SEEN = (
    "  - {id: seen, window: [50%, 75%], measure_at: [50%, 75%, 100%], treatment: "
    "{method: forgetting, doses: [0, 8], items: 3, tokens: 24}}\n"
)
APART = SEEN.replace("id: seen", "id: apart, how: fork").replace(
    "[50%, 75%, 1", "[25%, 50%, 75%, 1"
)


def write_study(folder: Path, corpus: Path, *questions: str) -> Path:
    file = folder / "study.yaml"
    file.write_text(HEAD.format(corpus=corpus) + "".join(questions))
    return file


def refused(folder: Path, corpus: Path, question: str) -> str:
    with pytest.raises(StudyError) as error:
        load(write_study(folder, corpus, question))
    (problem,) = error.value.problems
    return str(problem)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, documents_file: Path, here: None
) -> trainonce.Study:
    folder = tmp_path_factory.mktemp("over-steps")
    file = write_study(folder, documents_file, SEEN, APART)
    return trainonce.Study.load(file, home=folder / "home").run()


@pytest.fixture(scope="module")
def answers(finished: trainonce.Study) -> dict[str, Answer]:
    return {answer.question: answer for answer in finished.answers.answers}


def during(study: trainonce.Study, question: str) -> list[Job]:
    return [
        job for job in study.plan().jobs if job.role is Role.DURING and question in job.questions
    ]


def test_the_end_is_the_last_step_and_decides(answers: dict[str, Answer]) -> None:
    seen = answers["seen"]
    assert [found.step for found in seen.decided.over_steps] == [40, 60, 80]
    last = seen.decided.over_steps[-1]
    assert (last.estimate, last.low, last.high) == (
        seen.decided.estimate,
        seen.decided.low,
        seen.decided.high,
    )
    assert last.doses == seen.decided.doses
    assert answers["aa"].decided.over_steps == ()


def test_passages_are_known_once_seen_and_not_before(answers: dict[str, Answer]) -> None:
    before, seen, _ = answers["seen"].decided.over_steps
    assert before.low < 0 < before.high
    assert seen.estimate < before.estimate - 0.3


def test_measuring_moves_no_bit_of_the_run(
    finished: trainonce.Study, tmp_path: Path, documents_file: Path
) -> None:
    bare = SEEN.replace("measure_at: [50%, 75%, 100%], ", "")
    file = write_study(tmp_path, documents_file, bare)
    other = trainonce.Study.load(file, home=tmp_path / "home").run()
    (key,) = [job.key for job in other.plan().jobs if job.role is Role.TRUNK]
    (same,) = [job.key for job in finished.plan().jobs if job.role is Role.TRUNK]
    assert key == same
    mine, theirs = (JobCache(study.home).weights(key) for study in (finished, other))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert other.answers.answers[0].decided.over_steps == ()


def test_before_a_fork_leaves_the_run_that_it_leaves_is_measured(
    finished: trainonce.Study,
) -> None:
    found = {}
    for job in during(finished, "apart"):
        assert isinstance(job.spec, MeasureSpec)
        assert job.parents == (job.spec.measured.key,)
        found[job.spec.step] = job
    plain, own = (found[step].trained for step in (20, 60))
    assert plain.fork is None
    assert not plain.treatments
    assert own.fork is not None
    assert own.fork.parent == plain
    assert found[40].trained == plain  # where it leaves: the same state


def test_states_cost_nothing_beside_the_run(finished: trainonce.Study) -> None:
    jobs = [job for job in finished.plan().jobs if job.kind != "measure"]
    assert sum(job.run_equivalents for job in jobs) == pytest.approx(1.0 + 1.0)  # plain, then fork
    (why,) = [job for job in jobs if job.key.endswith("@60") and not job.trained.fork]
    assert why.code is Reason.STATE
    assert why.reason.endswith("after step 60 of 80: seen measures there")


def test_a_run_that_is_measured_is_trained_by_itself(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    seeds = HEAD.replace("  batch: 4\n", "  batch: 4\n  seeds: [1, 2]\n")
    file = tmp_path / "study.yaml"
    file.write_text(seeds.format(corpus=documents_file) + SEEN)
    trunks = [job.spec for job in plan(load(file), home).jobs if job.role is Role.TRUNK]
    assert len(trunks) == 2
    for spec in trunks:
        assert isinstance(spec, TrainSpec)
        assert spec.stack is None


def test_the_report_shows_the_curve(finished: trainonce.Study, answers: dict[str, Answer]) -> None:
    page = render(finished.answers, finished.plan())
    assert 'id="steps-0"' in page
    assert "Effect on passage_loss over steps. step 40: " in page
    assert 'id="steps-2"' not in page  # the A/A question, measured at the end alone
    console = Console(width=200)
    with console.capture() as shown:
        console.print(answers_view(finished.answers))
    assert "effect after step   40: " in shown.get()
    document = json.loads(json.dumps(answers["seen"].to_json()))
    assert [found["step"] for found in document["over_steps"]] == [40, 60, 80]


def test_the_plan_says_what_is_measured_when(finished: trainonce.Study) -> None:
    question = next(q for q in finished.plan().to_json()["questions"] if q["id"] == "seen")
    assert question["measured_after"] == [40, 60]
    assert any("after steps 40, 60, decides nothing" in said for said in question["assumptions"])


def test_bad_shares_are_refused(tmp_path: Path, documents_file: Path) -> None:
    for shares in ("[75%, 50%]", "[0, 50%]", "[50%, 50%]"):
        bad = SEEN.replace("[50%, 75%, 100%]", shares)
        assert "measure_at" in (found := refused(tmp_path, documents_file, bad))
        assert "above 0, each above the one before" in found


def test_questions_about_runs_have_no_items_to_measure(
    tmp_path: Path, documents_file: Path
) -> None:
    bad = "  - {id: rate, measure_at: 50%, treatment: {change: {optimizer.lr: 1e-3}}}\n"
    found = refused(tmp_path, documents_file, bad)
    assert "measure_at: belongs to questions that insert items" in found
