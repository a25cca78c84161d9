"""Losing arms that stop early: from the study file to the answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainonce
from tests.run.early_studies import study, sweep
from trainonce.plan.jobs import Job, Reason, Role
from trainonce.plan.plan import Plan
from trainonce.report.branches import branches
from trainonce.report.graph import graph_tree
from trainonce.report.html import render
from trainonce.report.live.facts import steps_reached
from trainonce.report.live.study import Records, ServedStudy
from trainonce.report.picture import plan_svg
from trainonce.report.status import status_view
from trainonce.run.cache import JobCache
from trainonce.run.execute import CHECKPOINT_SECONDS
from trainonce.run.fates import Kind, fates
from trainonce.run.ledger import known_ledger
from trainonce.run.scheduler import Event, JobFailedError
from trainonce.run.status import StudyStatus, study_statuses
from trainonce.stream.home import VARIABLE
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec

ARMS = "treatment: {change: {optimizer.lr: [2.5e-2, 1.0]}}}"
RATES = f"{{id: rates, expect: decrease, stop: {{early: 20%}}, {ARMS}"
ABSURD = "optimizer.lr 1.0"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, documents_file: Path, here: None) -> Path:
    """A home with ten finished recipes."""
    home = tmp_path_factory.mktemp("swept")
    sweep(home, documents_file, home)
    return home


@pytest.fixture(scope="module")
def told() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def finished(
    swept: Path, tmp_path_factory: pytest.TempPathFactory, documents_file: Path, told: list[Event]
) -> trainonce.Study:
    """A study with an absurd arm, run to its end."""
    home = copied(swept, tmp_path_factory.mktemp("stopped") / "home")
    return study(home, documents_file, home, RATES).run(report=told.append)


def copied(home: Path, to: Path) -> Path:
    return Path(shutil.copytree(home, to))


def absurd(plan: Plan, kind: str) -> list[Job]:
    """The train or state jobs of the absurd arm."""
    return [job for job in plan.jobs if job.label == ABSURD and job.kind == kind]


def without_times(found: trainonce.Study) -> str:
    answers = found.answers.to_json()
    timed = ("seconds", "promised_seconds", "times")
    return json.dumps({k: v for k, v in answers.items() if k not in timed}, sort_keys=True)


def test_the_plan_cuts_arms_and_base_runs_and_decides_between(finished: trainonce.Study) -> None:
    plan = finished.plan()
    first, second = (job for job in plan.jobs if job.kind == "decide")
    assert (first.role, first.code, first.run_equivalents) == (Role.DECISION, Reason.DECISION, 0)
    assert "after step 16 of 64: losing arms are stopped after 25% and 50%" in first.reason
    assert second.parents[-1] == first.key
    seen: set[str] = set()
    for job in plan.jobs:
        assert set(job.after) <= seen
        seen.add(job.key)
    (rates, _aa) = plan.questions
    assert [rung.step for rung in rates.rungs] == [16, 32]
    (last,) = (j for j in absurd(plan, "train") if j.seed == 1)
    assert [gate.decision for gate in last.gates] == [second.key]
    assert not any(job.gates for job in plan.jobs if job.role is Role.TRUNK)
    assert "in rehearsals among 10 finished recipes" in rates.assumptions[-1]
    document = plan.to_json()
    assert {job["kind"] for job in document["jobs"]} == {"train", "state", "measure", "decide"}


def test_the_absurd_arm_is_stopped_and_the_answer_says_so(finished: trainonce.Study) -> None:
    assert not finished.missing
    found = finished.answers
    rates = found.answers[0]
    base, good, bad = rates.decided.doses
    assert bad.label == f"{ABSURD} (stopped after step 16 of 64)"
    assert (bad.stopped_after, good.stopped_after, good.base) == (16, None, None)
    assert bad.base is not None
    assert bad.base > base.mean + 0.5  # the base run where the arm stopped, not at its end
    assert bad.effect == pytest.approx(bad.mean - bad.base)
    assert bad.effect > 0.1
    assert rates.verdict == "no"  # a lower loss was expected
    (said,) = rates.ended
    assert said.startswith(f"{ABSURD} (stopped after step 16 of 64): compared with the base run")
    assert "as rehearsed among 10 finished recipes" in said
    assert rates.saved == pytest.approx(found.saved_run_equivalents)
    assert found.saved_run_equivalents > 0.75
    whole = finished.plan().run_equivalents
    assert found.run_equivalents + found.saved_run_equivalents == pytest.approx(whole)
    assert {c.steps[-1] for c in found.curves if c.name == ABSURD} == {16}
    page = render(found, finished.plan())
    assert "stopped after step 16 of 64" in page
    assert "more were planned and not needed" in page
    assert "decision after step 16" in plan_svg(finished.plan())
    assert graph_tree(finished.plan(), set()).children
    assert json.dumps(found.to_json(), allow_nan=False)


def test_what_a_decision_says(finished: trainonce.Study) -> None:
    cache = JobCache(finished.home)
    first, second = (j.key for j in finished.plan().jobs if j.kind == "decide")
    decision = cache.decision(first)
    assert (decision["step"], decision["steps"]) == (16, 64)
    assert decision["stopped"] == {"1": 16}
    assert decision["losses"]["1"] > decision["losses"]["0"]
    assert decision["spent"] == decision["chance"] <= 0.2
    later = cache.decision(second)
    assert later["stopped"] == {"1": 16}
    assert set(later["losses"]) == {"0"}


def status(found: trainonce.Study) -> StudyStatus:
    ledger = known_ledger(found.home)
    assert ledger is not None
    try:
        with ledger.reading() as session:
            return study_statuses(session, file=found.plan().file)[0]
    finally:
        ledger.close()


def test_what_is_left_out_is_told_and_kept(finished: trainonce.Study, told: list[Event]) -> None:
    why = f"{ABSURD} was stopped after step 16 of 64"
    skipped = [event for event in told if event.kind == "skipped"]
    assert {event.facts["why"] for event in skipped} == {why}
    states = {job.key for job in absurd(finished.plan(), "state")}
    left_out = {job.key for job in absurd(finished.plan(), "train")}
    assert left_out | {key for key in states if key.endswith("@32")} <= {
        event.job.key for event in skipped
    }
    known = status(finished)
    assert (known.state, known.settled) == ("finished", len(known.jobs))
    assert known.counts["skipped"] == len(skipped)
    assert {job.error for job in known.jobs if job.state == "skipped"} == {why}
    assert known.run_equivalents_saved == pytest.approx(finished.answers.saved_run_equivalents)
    assert known.to_json()["counts"]["skipped"] == len(skipped)
    assert status_view(known) is not None
    assert not list((finished.home / "jobs").glob("*.work"))


def test_a_saved_plan_with_decisions_is_read_as_it_was(
    finished: trainonce.Study, tmp_path: Path
) -> None:
    finished.plan().save(tmp_path / "plan.json")
    found = Plan.read(tmp_path / "plan.json", finished.home)
    assert found == finished.plan()
    assert any(job.gates for job in found.jobs)
    again = trainonce.Study.from_plan(found)
    assert not again.missing
    assert without_times(again) == without_times(finished)


def test_the_live_page_shows_what_was_left_out(finished: trainonce.Study) -> None:
    """Its line ends where the arm was stopped, also where only the cache knows of it."""
    plan, page = finished.plan(), finished.answers.answers[0]
    for records in (Records(finished.home), Records(finished.home / "without a ledger")):
        live = ServedStudy(records, lambda: plan, plan)
        facts = live.look().facts
        assert live.is_finished
        assert facts["answer.0.verdict"] == page.verdict.value.capitalize()
        assert "stopped after step 16 of 64" in str(facts["answer.0.sentence"])
        states = {job.key: live.jobs[job.key].state for job in absurd(plan, "train")}
        assert set(states.values()) == {"skipped"}
        reached = steps_reached(plan, live.jobs)
        (name,) = (b.name for b in branches(plan) if absurd(plan, "train")[0] in b.jobs)
        assert reached[name] == 16
        left_out = sum(job.run_equivalents for job in live.jobs.values() if job.state == "skipped")
        whole = sum(job.run_equivalents for job in live.jobs.values())
        assert facts["study.cost"] == f"{whole - left_out:.2f} of {whole:.2f} run-equivalents"


def test_once_begun_the_plan_stays_whatever_is_finished(
    finished: trainonce.Study, documents_file: Path
) -> None:
    again = study(finished.home, documents_file, finished.home, RATES)
    assert again.plan().hash == finished.plan().hash
    assert not again.missing
    events: list[Event] = []
    before = without_times(again)
    again.run(report=events.append)
    assert {event.kind for event in events} == {"reused", "skipped"}
    assert without_times(again) == before


@pytest.mark.slow
def test_killed_and_started_again_it_decides_the_same(
    finished: trainonce.Study, swept: Path, tmp_path: Path, documents_file: Path
) -> None:
    """Killed when an arm is finished before the others, and once the first decision is there."""
    home = copied(swept, tmp_path / "home")
    again = study(home, documents_file, home, RATES)
    arm = absurd(again.plan(), "state")[0].key
    decision = next(job.key for job in again.plan().jobs if job.kind == "decide")
    for wanted in (arm, decision):
        run_until(home / "jobs" / wanted / "result.json", again.plan().file, home)
    resumed = study(home, documents_file, home, RATES)
    assert resumed.plan().hash == finished.plan().hash
    assert resumed.missing
    resumed.run()
    assert without_times(resumed) == without_times(finished)


def run_until(wanted: Path, file: Path, home: Path) -> None:
    environment = {**os.environ, VARIABLE: str(home), CHECKPOINT_SECONDS: "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "trainonce", "run", str(file)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while not wanted.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_cluster_decides_the_same_to_the_last_bit(
    finished: trainonce.Study, swept: Path, tmp_path: Path, documents_file: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'trainonce[ray]'")
    home = copied(swept, tmp_path / "home")
    elsewhere = study(home, documents_file, home, RATES).run(ray="local")
    assert without_times(elsewhere) == without_times(finished)


def test_without_stop_the_arm_goes_on_from_its_state(
    finished: trainonce.Study, tmp_path: Path, documents_file: Path
) -> None:
    """And is the run that was never cut, bit by bit; put back, `stop` stops nothing any more."""
    home = copied(finished.home, tmp_path / "home")
    whole = study(home, documents_file, home, RATES.replace("stop: {early: 20%}, ", ""))
    assert whole.plan().hash != finished.plan().hash
    begun: dict[str, int] = {}

    def tell(event: Event) -> None:
        if event.kind == "progress":
            begun.setdefault(event.job.key, event.facts["step"])

    whole.run(report=tell)
    keys = {job.key for job in absurd(whole.plan(), "train")}
    assert keys <= {job.key for job in absurd(finished.plan(), "train")}
    assert keys == set(begun)
    assert min(begun.values()) > 16
    cache = JobCache(home)
    for job in absurd(whole.plan(), "train"):
        assert isinstance(job.spec, TrainSpec)
        kept = cache.losses_until(job.spec, 16)
        np.testing.assert_array_equal(cache.losses(job.key)[:16], kept)
    bad = whole.answers.answers[0].decided.doses[-1]
    assert (bad.label, bad.stopped_after) == (ABSURD, None)
    back = study(home, documents_file, home, RATES).answers.answers[0]
    assert back.decided.doses[-1].mean == bad.mean


def test_with_too_few_finished_runs_nothing_is_stopped_and_the_plan_says_so(
    tmp_path: Path, documents_file: Path
) -> None:
    plan = study(tmp_path, documents_file, tmp_path, RATES).plan()
    rates = plan.questions[0]
    assert rates.rungs == ()
    assert rates.assumptions[-1].endswith(
        "rehearsed among 10 finished recipes of this model, data and length or more, and this "
        "home has 0"
    )
    assert {job.kind for job in plan.jobs} == {"train", "measure"}


def test_an_arm_that_another_question_needs_is_not_left_out(
    swept: Path, documents_file: Path, tmp_path: Path
) -> None:
    other = "{id: other, treatment: {change: {optimizer.lr: 1.0}}}"
    plan = study(tmp_path, documents_file, swept, RATES, other).plan()
    assert not any(job.gates for job in absurd(plan, "train"))
    kept = [job for job in plan.jobs if job.gates]
    assert {job.label for job in kept if job.kind == "train"} == {"optimizer.lr 0.025"}


DIVERGING = "{id: wild, expect: decrease, treatment: {change: {optimizer.lr: 1e3}}}"
RISING = DIVERGING.replace("wild", "rise").replace("decrease", "increase")
MILD = "{id: mild, treatment: {change: {clip: 2}}}"


@pytest.fixture(scope="module")
def diverged(
    swept: Path, tmp_path_factory: pytest.TempPathFactory, documents_file: Path
) -> tuple[trainonce.Study, list[Event]]:
    """A study with an arm that diverges, and what was told."""
    home = copied(swept, tmp_path_factory.mktemp("diverged") / "home")
    events: list[Event] = []
    asked = study(home, documents_file, home, DIVERGING, RISING, MILD)
    return asked.run(report=events.append), events


def test_an_arm_that_diverges_is_an_outcome_and_the_others_are_answered(
    diverged: tuple[trainonce.Study, list[Event]],
) -> None:
    asked, events = diverged
    assert not asked.missing
    wild, rise, mild, _aa = asked.answers.answers
    arm = wild.decided.doses[-1]
    assert arm.diverged_at is not None
    assert 1 <= arm.diverged_at <= 16
    assert arm.label == f"optimizer.lr 1e3 (diverged at step {arm.diverged_at} of 64)"
    assert wild.ended == (f"{arm.label}: it has no heldout_loss",)
    assert (wild.verdict, rise.verdict) == ("no", "cannot tell")
    assert (wild.p_adjusted, mild.decided.doses[-1].units) == (1.0, 2)
    assert np.isfinite(mild.decided.estimate)
    assert asked.answers.saved_run_equivalents > 0.7
    document = json.loads(json.dumps(asked.answers.to_json(), allow_nan=False))
    assert document["answers"][0]["estimate"] is None
    page = render(asked.answers, asked.plan())
    assert "There is no heldout_loss of optimizer.lr 1e3 (diverged" in page
    known = status(asked)
    assert (known.state, known.counts["diverged"]) == ("finished", 2)
    assert known.counts["failed"] == 0
    kinds = [event.kind for event in events]
    assert kinds.count("diverged") == 2
    assert "failed" not in kinds
    again: list[Event] = []
    asked.run(report=again.append)
    assert {event.kind for event in again} == {"reused", "diverged", "skipped"}


def test_arms_that_diverge_before_a_rung_leave_the_decision_to_the_others(
    swept: Path, documents_file: Path, tmp_path: Path
) -> None:
    home = copied(swept, tmp_path / "home")
    asked = study(home, documents_file, home, RATES.replace("1.0]", "1e3]"))
    asked.run()
    rates = asked.answers.answers[0]
    assert rates.decided.doses[-1].diverged_at is not None
    decisions = [j.key for j in asked.plan().jobs if j.kind == "decide"]
    assert [JobCache(home).decision(key)["diverged"] for key in decisions] == [[1], [1]]
    found = fates(asked.plan(), JobCache(home))
    measured = [j for j in absurd_measures(asked.plan()) if j.seed == 1]
    assert {found[job.key].kind for job in measured} == {Kind.SKIPPED}


def absurd_measures(plan: Plan) -> list[Job]:
    rates: Any = 1e3
    return [
        job
        for job in plan.jobs
        if isinstance(job.spec, MeasureSpec) and job.spec.trained.train.optimizer.lr == rates
    ]


def test_a_trunk_that_diverges_fails_the_study(
    diverged: tuple[trainonce.Study, list[Event]], documents_file: Path, tmp_path: Path
) -> None:
    """Also where the same run is an arm of another study, whose outcome that is."""
    home = diverged[0].home
    study(tmp_path, documents_file, home, MILD)
    text = (tmp_path / "study.yaml").read_text().replace("lr: 1e-2", "lr: 1e3")
    (tmp_path / "study.yaml").write_text(text)
    asked = trainonce.Study.load(tmp_path / "study.yaml", home=home)
    with pytest.raises(JobFailedError, match=r"trunk of seed .*DivergedError"):
        asked.run()
