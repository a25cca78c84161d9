from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.cli.conftest import Command
from trainonce.cli.app import app
from trainonce.stream.home import VARIABLE
from trainonce.train.calibrate import Timing, remember
from trainonce.train.compiling import Compiling

STUDY = """\
study: Tiny [bold]title[/bold]
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 16, layers: 1, heads: 2}}
  batch: 4
  length: 60 steps
  allow_changed: 20%
questions:
  - {{id: memory, treatment: {{method: memorization, doses: [0, 8], passages: 2, canaries: 2,
      tokens: 16}}}}
"""

PLAN_KEYS = {"study", "hash", "run_equivalents", "one_run_a_question", "jobs", "questions"}
PLAN_QUESTION_KEYS = {"id", "strategy", "detectable_effect", "assumptions"}
RUN_KEYS = {"study", "plan_hash", "answers", "heldout_loss", "seconds"}
ANSWER_KEYS = {
    *("question", "verdict", "estimate", "low", "high", "p", "p_adjusted", "unit", "units"),
    *("strategy", "run_equivalents", "doses"),
}
DOSE_KEYS = {"dose", "mean", "low", "high", "units"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli_home")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, documents_file: Path) -> Path:
    file = tmp_path_factory.mktemp("cli") / "tiny.yaml"
    file.write_text(STUDY.format(corpus=documents_file))
    return file


@pytest.fixture
def command(home: Path, tmp_path: Path) -> Command:
    return Command(home, tmp_path)


def test_report_before_run_says_what_to_do_first(command: Command, study: Path) -> None:
    found = command("report", study)
    assert found.returncode == 1
    assert f"first: trainonce run {study}" in found.stderr.replace("\n", " ")
    assert not found.stdout


def test_plan_for_programs(command: Command, study: Path) -> None:
    found = command("plan", study, "--json")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert document.keys() >= PLAN_KEYS
    assert document["questions"][0].keys() >= PLAN_QUESTION_KEYS
    assert [question["id"] for question in document["questions"]] == ["memory", "aa"]


def test_plan_for_people(command: Command, study: Path) -> None:
    found = command("plan", study)
    assert found.returncode == 0, found.stderr
    for text in ("Tiny [bold]title[/bold]", "trunk of seed 1", "One run a question: 1", "memory"):
        assert text in found.stdout, text


def test_a_plan_tells_which_items_of_a_file_do_not_fit(
    command: Command, study: Path, tmp_path: Path
) -> None:
    rows = ['{"text": "a stone by the river"}\n'] * 4
    long = f'{{"text": "{"river stone " * 60}"}}\n'
    (tmp_path / "mine.jsonl").write_text("".join(rows) + long * 9)
    own = "passages: 2, canaries: 2", "file: mine.jsonl, take: 4, canaries: 2"
    (tmp_path / "own.yaml").write_text(study.read_text().replace(*own))
    found = command("plan", tmp_path / "own.yaml")
    assert found.returncode == 0, found.stderr
    printed = " ".join(found.stdout.split())
    assert re.search(r"memory: \d of 1\d items drawn from its file do not fit", printed), printed


def test_run_then_report(command: Command, study: Path) -> None:
    found = command.process("run", study, "--json", "--track", "tensorboard")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert document.keys() >= RUN_KEYS
    for answer in document["answers"]:
        assert answer.keys() >= ANSWER_KEYS
        assert all(dose.keys() >= DOSE_KEYS for dose in answer["doses"])
        assert answer["verdict"] in ("yes", "no", "cannot tell")
    assert (
        "held-out loss, trunk of seed 1" in found.stderr
    )  # a line a job where there is no terminal

    again = command("run", study)
    assert again.returncode == 0
    assert "Tiny [bold]title[/bold]" in again.stdout
    assert "Cost: 1." in again.stdout

    saved = command("plan", study, "--save", "plan.json", "--precision", "--json")
    assert saved.returncode == 0, saved.stderr
    planned = json.loads(saved.stdout)
    (memory,) = planned["precision"]
    assert memory["question"] == "memory"
    assert memory["spread"].keys() == {"value", "source", "assumed"}
    from_plan = command("run", "plan.json", "--json")
    assert json.loads(from_plan.stdout) == document
    assert document["plan_hash"] == planned["hash"]
    for job in planned["jobs"]:
        result = json.loads((command.home / "jobs" / job["key"] / "result.json").read_text())
        assert result["plan"] == planned["hash"]
    other = command.folder / "other.yaml"
    other.write_text(study.read_text().replace("Tiny [bold]title[/bold]", "Another study"))
    shared = json.loads(command("plan", other, "--json").stdout)
    assert shared["left_run_equivalents"] == 0
    assert sorted(shared["done"]) == sorted(job["key"] for job in shared["jobs"])
    printed = " ".join(command("plan", other).stdout.split())
    assert "Left to run: 0.00 in 0 of" in printed
    assert "reused from" in printed
    (command.folder / "plan.json").write_text('{"trainonce_plan": 1, "hash": "no"}')
    refused = command("run", "plan.json")
    assert refused.returncode == 2
    assert "changed or damaged after it was saved" in refused.stderr.replace("\n", " ")

    reported = command("report", study, "--json")
    told = json.loads(reported.stdout)
    again = told.pop("reproduce")
    assert told == document
    assert again["plan"] == document["plan_hash"]
    assert again["study_file"] == study.read_text()
    assert "bordt2025train" in again["bibtex"]
    assert json.loads(command("report", study, "--format", "json").stdout)["reproduce"] == again
    marked = command("report", study, "--format", "md", "--out", "answers.md")
    assert marked.returncode == 0, marked.stderr
    assert "| question | verdict |" in (command.folder / "answers.md").read_text()
    assert "| question | verdict |" in command("report", study, "--format", "md").stdout
    page = command("report", study)
    assert page.returncode == 0, page.stderr
    assert not page.stdout
    html = (command.folder / "tiny.html").read_text()
    assert "Tiny [bold]title[/bold]" in html
    shown = [path.parent.name for path in (command.home / "tracking").rglob("events.*")]
    assert len(shown) == 2  # the trunk and the plain run
    assert all((command.home / "jobs" / key / "losses.npy").is_file() for key in shown)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_tracker_that_is_missing_ends_with_2(command: Command, study: Path) -> None:
    found = command("run", study, "--track", "wandb")
    assert found.returncode == 2
    assert "tracking with wandb needs: pip install wandb" in found.stderr
    assert not found.stdout


def test_a_broken_study_ends_with_2_and_its_problems(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(
        "study: x\nrecipe: {batch: none}\nquestions:\n  - {id: a, treatment: nothing}\n"
    )
    for name in ("plan", "run", "report"):
        found = command(name, file)
        assert found.returncode == 2
        assert not found.stdout
        assert "2 problems in the study" in found.stderr
        assert f"{file}:2: recipe.batch: found 'none'" in found.stderr
        assert f"{file}:4: questions[0].treatment" in found.stderr


@pytest.mark.parametrize(
    "arguments",
    [("plan",), ("plan", "none.yaml"), ("new", "nothing"), ("methods", "nothing"), ("fly",)],
)
def test_wrong_arguments_end_with_2(command: Command, arguments: tuple[str, ...]) -> None:
    found = command(*arguments)
    assert found.returncode == 2
    assert not found.stdout
    assert found.stderr


def test_methods_for_programs_and_people() -> None:
    runner = CliRunner()
    listed = json.loads(runner.invoke(app, ["methods", "--json"]).stdout)
    assert {"memorization", "completion"} <= {method["name"] for method in listed}
    one = json.loads(runner.invoke(app, ["methods", "backdoor", "--json"]).stdout)
    assert one["settings"]["doses"]["default"] == [0, 4, 16, 64]
    assert "triggers a dose" in runner.invoke(app, ["methods", "backdoor"]).stdout


TIMING = Timing(work=1e5, alone=1.0, side_by_side=1.1, workers=2, batched={4: 2.0, 16: 4.0})


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes half a minute."""
    gain = Compiling(faster=1.25, first=30.0)
    monkeypatch.setattr("trainonce.train.compiling.measure", lambda _device: gain)


def test_doctor_finds_this_machine_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "home"))
    remember(tmp_path / "home", torch.device("cpu"), {"mlp": TIMING})
    found = CliRunner().invoke(app, ["doctor", "--json"])
    assert found.exit_code == 0
    states = {finding["name"]: finding["state"] for finding in json.loads(found.stdout)}
    assert states["Python"] == states["torch"] == states["cache"] == "good"
    lines = {finding["name"]: finding["found"] for finding in json.loads(found.stdout)}
    assert lines["compiling, cpu"] == (
        "1.25x faster, the first step 30 s slower; plans compile runs over 5 min"
    )


def test_doctor_times_replicas_once_and_remembers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    times: list[torch.device] = []

    def calibrate(device: torch.device, *, tell: Callable[[str], None]) -> dict[str, Timing]:
        times.append(device)
        tell("timing")
        return {"mlp": TIMING}

    monkeypatch.setattr("trainonce.train.calibrate.calibrate", calibrate)
    runner = CliRunner()
    again = ["doctor", "--calibrate"]
    for asked, timed in ((["doctor"], 1), (["doctor"], 1), (again, 2)):
        found = runner.invoke(app, [*asked, "--json"])
        assert found.exit_code == 0
        assert len(times) == timed
        lines = {one["name"]: one["found"] for one in json.loads(found.stdout)}
        # 4 runs: 4 s one after another, 2.2 s in a pool of 2, 2 s stacked; 64 are as 16
        assert (
            "K=4 batched 2.0x, K=8 batched 2.7x, K=16 batched 4.0x" in lines["replicas: mlp, cpu"]
        )
    assert times == [torch.device("cpu")] * 2
    assert "timing" in runner.invoke(app, ["doctor", "--calibrate"]).stderr


def test_doctor_names_what_would_mend_a_cache_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    found = CliRunner().invoke(app, ["doctor", "--json"])
    assert found.exit_code == 1
    cache = next(f for f in json.loads(found.stdout) if f["name"] == "cache")
    assert cache["state"] == "bad"
    assert VARIABLE in cache["fix"]


@pytest.mark.parametrize("what", ["replicas", "compiling"])
def test_doctor_names_a_damaged_calibration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    remember(tmp_path, torch.device("cpu"), {"mlp": TIMING})
    (tmp_path / f"{what}.json").write_text('{"half": ')
    found = CliRunner().invoke(app, ["doctor", "--json"])
    assert found.exit_code == 1
    finding = next(f for f in json.loads(found.stdout) if f["name"] == f"{what}, cpu")
    assert finding["state"] == "bad"
    assert str(tmp_path / f"{what}.json") in finding["found"]


def test_help_teaches() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    for name in ("new", "plan", "run", "report", "methods", "doctor"):
        assert name in text
