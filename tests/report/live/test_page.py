"""The live page by its answers: what it shows, what it tells, what its buttons do."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.report.live.conftest import HOSTILE
from trainonce import Study
from trainonce.analysis.answering import answers_so_far, serving
from trainonce.plan.jobs import Job
from trainonce.plan.plan import Plan
from trainonce.report.live import app as live_module
from trainonce.report.live.app import POLICY, Live, live_app, stream
from trainonce.report.live.facts import Facts, Seen, changed
from trainonce.report.live.guard import Access
from trainonce.report.live.study import Glance, Records, ServedStudy, end_of_log
from trainonce.run.cache import JobCache
from trainonce.run.control import ControlError
from trainonce.run.ledger import LedgerError
from trainonce.run.recorder import Recorder, recording
from trainonce.run.scheduler import Event, JobFailedError
from trainonce.study.schema import AA

ORIGIN = "http://127.0.0.1:8765"


@pytest.fixture
def begun(finished: Study, tmp_path: Path) -> Plan:
    """The same plan in a home where nothing is done yet."""
    return replace(finished.plan(), home=tmp_path / "home")


def live_of(plan: Plan) -> Live:
    records = Records(plan.home)
    return Live(records, Access(), ServedStudy(records, lambda: plan, plan))


def client(live: Live) -> TestClient:
    return TestClient(live_app(live), base_url=ORIGIN)


def press(live: Live, button: str, **headers: str) -> Any:
    own = {"Origin": ORIGIN, "X-TrainOnce-Token": live.access.token, **headers}
    return client(live).post(button, headers=own)


def facts_of(live: Live, page: str = "study") -> Facts:
    glance = live.glance(page)
    assert glance
    glance.forget()
    return glance().facts


def wait_for(live: Live, name: str, fact: object) -> Facts:
    """The recorder writes once a second."""
    deadline = time.monotonic() + 15
    while (facts := facts_of(live))[name] != fact:
        assert time.monotonic() < deadline, facts[name]
        time.sleep(0.05)
    return facts


def copy_jobs(plan: Plan, to: Path, jobs: Set[str]) -> None:
    for key in jobs:
        shutil.copytree(JobCache(plan.home).folder(key), JobCache(to).folder(key))


def test_a_finished_study_shows_its_answers(finished: Study) -> None:
    plan = finished.plan()
    seen = client(live_of(plan)).get("/")
    assert seen.status_code == 200
    assert seen.headers["content-security-policy"] == POLICY
    assert f"{len(plan.jobs)} of {len(plan.jobs)} jobs" in seen.text
    for answer in finished.answers.answers:
        assert f">{answer.verdict.value.capitalize()}</span>" in seen.text
    assert "2 of 2 questions answered." in seen.text
    assert len(re.findall(r'<polyline points="\d', seen.text)) == 2  # trunk and plain run
    assert 'data-state="waiting"' not in seen.text


def test_what_a_study_says_is_never_markup(finished: Study) -> None:
    live = live_of(finished.plan())
    seen = client(live)
    (name,) = re.findall(r'href="(/studies/\w+)"', seen.get("/studies").text)
    for page in ("/", "/studies", name):
        text = seen.get(page).text
        assert "alert(1)" in text
        assert "<script>" not in text
        assert "<img" not in text
        assert " style=" not in text  # which the policy would refuse
    assert set(re.findall(r"<script[^>]*>", seen.get("/").text)) == {
        '<script src="/static/live.js" defer>'
    }


def test_only_our_own_files_are_given_out(finished: Study) -> None:
    seen = client(live_of(finished.plan()))
    for name in ("report.css", "live.css", "live.js"):
        assert seen.get(f"/static/{name}").status_code == 200
    for name in ("report.html.j2", "..%2Fhtml.py", "../html.py"):
        assert seen.get(f"/static/{name}").status_code == 404
    assert seen.get("/studies/0123").status_code == 404
    assert seen.get("/events/0123").status_code == 404
    assert seen.get("/stop").status_code == 405


def test_a_page_without_a_study_lists_them_and_stops_none(finished: Study) -> None:
    live = Live(Records(finished.home), Access())
    seen = client(live)
    assert HOSTILE not in seen.get("/").text
    assert "finished" in seen.get("/").text
    assert seen.get("/events/study").status_code == 404
    assert press(live, "/stop").status_code == 409
    assert "trainonce serve STUDY" in press(live, "/resume").json()["note"]


def test_nothing_was_begun_yet(begun: Plan) -> None:
    live = live_of(begun)
    text = client(live).get("/").text
    assert "Not begun" in text
    assert f"0 of {len(begun.jobs)} jobs" in text
    assert "No study was begun yet" in client(live).get("/studies").text
    assert not begun.home.exists()
    assert press(live, "/stop").json()["note"].startswith("nothing runs this study")


def test_what_changes_is_told_and_no_more(begun: Plan) -> None:
    live = live_of(begun)
    before = facts_of(live)
    trunk = next(job for job in begun.jobs if job.kind == "train")
    number = begun.jobs.index(trunk)
    with recording(begun, {}) as record:
        record(Event("started", trunk, {"machine": "there"}))
        progress = {"step": 30, "steps": 60, "loss": 4.25, "seconds_left": 30.0}
        record(Event("progress", trunk, progress))
        wait_for(live, f"job.{number}.note", "step 30 of 60, loss 4.250, 30 s left")
        running = facts_of(live)
        assert running["study.word"] == "Running"
        assert (running["now.0.hidden"], running["now.0.share"]) == (False, 0.5)
        assert (running["now.1.hidden"], running["branch.0.state"]) == (True, "running")
        assert str(running["branch.0.way"]).endswith("H288")  # half of the way
        assert running["stop.off"] is False
        assert running["resume.off"] is True
        names = {name.partition(".")[0] for name in changed(before, running)}
        assert names == {"study", "now", "job", "branch", "curve", "curves", "stop", "resume"}
        told = {name for name in changed(before, running) if name.startswith("job.")}
        assert told == {f"job.{number}.state", f"job.{number}.note"}
        progress["step"] = 31
        record(Event("progress", trunk, progress))
        note = "step 31 of 60, loss 4.250, 30 s left"
        later = wait_for(live, f"job.{number}.note", note)
        assert len(json.dumps(changed(running, later))) < 600
        assert later["study.told"] == running["study.told"]  # which is read aloud


def test_a_failed_job_shows_its_log(begun: Plan) -> None:
    live = live_of(begun)
    log = begun.home / "logs" / "worker-1-0.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"Traceback\n{HOSTILE}\n")
    job = begun.jobs[0]
    with suppress(JobFailedError), recording(begun, {}) as record:
        record(Event("started", job, {}))
        record(Event("failed", job, {"error": "ValueError: no"}))
        raise JobFailedError(f"the trunk: ValueError: no\nthe log: {log}")
    facts = facts_of(live)
    assert (facts["study.word"], facts["failure.hidden"]) == ("Failed", False)
    assert facts["failure.error"] == "the trunk: ValueError: no"
    assert facts["failure.log"] == log.read_text()
    text = client(live).get("/").text
    assert "Traceback" in text
    assert "<script>" not in text


def test_only_logs_are_read(tmp_path: Path) -> None:
    home, secret = tmp_path / "home", tmp_path / "secret"
    (home / "logs").mkdir(parents=True)
    secret.write_text("key")
    (home / "logs" / "link.log").symlink_to(secret)
    (home / "logs" / "own.log").write_text("x" * 40_000 + "end")
    for named in (secret, home / "logs" / ".." / ".." / "secret", home / "logs" / "link.log"):
        assert end_of_log(named, home) == ""
    assert end_of_log(home / "logs" / "missing.log", home) == ""
    assert end_of_log(home / "logs", home) == ""
    found = end_of_log(home / "logs" / "own.log", home)
    assert found.endswith("end")
    assert len(found) == 32_768


def test_a_question_is_answered_before_the_others(finished: Study, begun: Plan) -> None:
    """Its sentence is that of the report but for the corrected p, which is a bound."""
    plan = finished.plan()
    memory, again = (p for p in plan.questions if p.question.id != AA)
    last = serving(plan, again) - serving(plan, memory)
    assert last
    copy_jobs(plan, begun.home, {job.key for job in plan.jobs} - last)
    facts = facts_of(live_of(begun))
    assert facts["answer.0.state"] != "waiting"
    assert "upper bound" in str(facts["answer.0.note"])
    assert facts["answer.1.state"] == "waiting"
    assert facts["answer.1.note"] == f"waits for {len(last)} more jobs"
    copy_jobs(plan, begun.home, last)
    facts = facts_of(live_of(begun))
    assert facts["answer.0.note"] == facts["answer.1.note"] == ""
    assert "2 of 2 questions answered" in str(facts["study.told"])


def test_answers_so_far_are_the_answers(finished: Study) -> None:
    plan, answers = finished.plan(), finished.answers.answers
    assert answers_so_far(plan, plan.questions) == answers
    for planned, answer in zip(plan.questions, answers, strict=True):
        (early,) = answers_so_far(plan, [planned])
        assert early.p_adjusted >= answer.p_adjusted
        assert {check.name for check in answer.checks} - {c.name for c in early.checks} <= {"A/A"}
        final = replace(
            early, p_adjusted=answer.p_adjusted, verdict=answer.verdict, checks=answer.checks
        )
        assert final == answer
    assert answers_so_far(plan, []) == ()


def test_jobs_that_were_dropped_are_named_and_break_nothing(finished: Study, begun: Plan) -> None:
    with recording(begun, {}) as record:
        for job in begun.jobs:
            record(Event("reused", job, {}))
    facts = facts_of(live_of(begun))
    assert facts["answer.0.state"] == "waiting"
    assert "could not be computed: FileNotFoundError" in str(facts["answer.0.note"])


def test_a_job_of_an_unknown_kind_is_shown_like_the_others(
    finished: Study, begun: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = next(job for job in begun.jobs if job.kind == "measure")
    monkeypatch.setattr(Job, "kind", property(lambda job: _kind_of(job, measured.key)))
    text = client(live_of(begun)).get("/").text
    assert "<td>decide</td>" in text


def _kind_of(job: Job, odd: str) -> str:
    return "decide" if job.key == odd else str(job.spec.kind)


def test_events_say_everything_once_and_then_what_is_new() -> None:
    looks = iter([Seen("s", {"a": 1, "b": 2}), Seen("s", {"a": 1, "b": 3})])
    last: list[Seen] = []

    def look() -> Seen:
        last[:] = [next(looks, *last)]
        return last[0]

    async def first(count: int) -> list[str]:
        glance = Glance(look)
        events = []
        async for event in stream(glance, 0.01, 0.02):
            events.append(event)
            glance.forget()
            if len(events) == count:
                break
        return events

    events = asyncio.run(first(3))
    assert [json.loads(event.removeprefix("data: ")) for event in events[:2]] == [
        {"a": 1, "b": 2, "problem": "", "problem.hidden": True, "structure": "s"},
        {"b": 3},
    ]
    assert events[0].endswith("\n\n")
    assert events[2].startswith(": ")


def test_a_ledger_that_cannot_be_read_is_said_and_the_page_stays() -> None:
    looks: list[Seen | Exception] = [
        Seen("s", {"a": 1}),
        LedgerError("the <ledger> is locked"),
        Seen("s", {}),
    ]

    def look() -> Seen:
        found = looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    glance = Glance(look)
    found = []
    for _ in range(3):
        found.append(glance())
        assert glance() is found[-1]  # however many ask at that moment
        glance.forget()
    assert found[1].facts == {"a": 1, "problem": "the <ledger> is locked", "problem.hidden": False}
    assert found[2].facts["problem.hidden"] is True


def test_another_plan_is_read_again(finished: Study, begun: Plan) -> None:
    """Somebody changed the file and ran it: the page is for what runs."""
    fewer = replace(begun, questions=begun.questions[:1])
    records = Records(begun.home)
    study = ServedStudy(records, lambda: fewer, begun)
    assert study.look().structure == begun.hash
    with recording(fewer, {}):
        assert study.look().structure == fewer.hash
    assert study.plan is fewer


# --- the buttons


@pytest.fixture
def sleeper(begun: Plan, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process whose command line is that of ``trainonce run``, and that only waits."""
    program = tmp_path / "trainonce"
    program.write_text("import sys, time\nprint('here', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, str(program), "run", "x"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "here\n"
    yield process
    process.kill()
    process.communicate()


def record_as(monkeypatch: pytest.MonkeyPatch, process: int, machine: str | None = None) -> None:
    """What is recorded now says that this process does it."""
    monkeypatch.setattr(os, "getpid", lambda: process)
    if machine:
        begin = Recorder.__init__

        def elsewhere(self: Recorder, *arguments: Any) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(platform, "node", lambda: machine)
                begin(self, *arguments)

        monkeypatch.setattr(Recorder, "__init__", elsewhere)


def test_stop_asks_the_process_that_runs_the_study(
    begun: Plan, sleeper: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = live_of(begun)
    with monkeypatch.context() as patch:
        record_as(patch, sleeper.pid)
        with suppress(KeyboardInterrupt), recording(begun, {}):
            facts_of(live)
            assert press(live, "/stop", **{"X-TrainOnce-Token": "no"}).status_code == 403
            assert press(live, "/stop", Origin="http://evil.example").status_code == 403
            assert sleeper.poll() is None
            found = press(live, "/stop")
            assert (found.status_code, found.json()["note"][:13]) == (200, "Asked to stop")
            assert sleeper.wait(10) == -signal.SIGTERM
            assert facts_of(live)["control.note"] == found.json()["note"]
            raise KeyboardInterrupt
    facts = facts_of(live)
    assert (facts["control.note"], facts["study.word"]) == ("", "Stopped")
    assert (facts["stop.off"], facts["resume.off"]) == (True, False)
    assert press(live, "/stop").json()["note"] == "nothing runs this study: it is stopped"


def test_stop_leaves_other_programs_and_machines_alone(
    begun: Plan, sleeper: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = live_of(begun)
    with recording(begun, {}):  # by the tests' own process, as by a notebook's
        facts_of(live)
        assert "is not a `trainonce run`" in press(live, "/stop").json()["note"]
    with monkeypatch.context() as patch:
        record_as(patch, sleeper.pid, "elsewhere")
        with recording(begun, {}):
            facts_of(live)
            assert "it runs on elsewhere" in press(live, "/stop").json()["note"]
    assert sleeper.poll() is None


def test_resume_starts_a_process_once(begun: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def start(file: Path, log: Path) -> subprocess.Popen[bytes]:
        commands.append(file)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("no <b>room</b>")
        code = "import sys; sys.stdin.read(); sys.exit(2)"
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)

    monkeypatch.setattr(live_module, "go_on", start)
    live = live_of(begun)
    facts_of(live)
    assert press(live, "/resume").json()["note"].startswith("Started process")
    assert press(live, "/resume").json()["note"] == "this study runs already"
    assert facts_of(live)["resume.off"] is True
    assert commands == [begun.file]
    assert live.started
    live.started.communicate()
    assert (
        facts_of(live)["control.note"]
        == "The process that was started ended with 2. no <b>room</b>"
    )
    assert facts_of(live)["resume.off"] is False


def test_resume_runs_the_study(begun: Plan, tmp_path: Path) -> None:
    """A file that is wrong is refused by the process, whose words the page shows."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("studi: typo\n")
    live = live_of(replace(begun, file=wrong))
    facts_of(live)
    assert press(live, "/resume").status_code == 200
    assert live.started
    assert live.started.wait(60) == 2
    assert "studi" in str(facts_of(live)["control.note"])
    wrong.unlink()
    assert "is not there any more" in press(live, "/resume").json()["note"]
    with pytest.raises(ControlError):
        live.go_on()
