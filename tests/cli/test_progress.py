"""How far a study is, as a terminal shows it, and as a log does."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command

from tests.cli.conftest import Command
from trainonce.cli.app import app
from trainonce.cli.headway import Headway
from trainonce.cli.progress import study_progress
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.run.scheduler import Event
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.settings import TrainSettings


def job(seed: int, worth: float) -> Job:
    spec = TrainSpec(
        corpus="c",
        sequence=8,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=100, batch=2),
        seed=seed,
    )
    return Job(
        spec=spec,
        role=Role.TRUNK,
        strategy=Strategy.MULTIPLEX,
        questions=(),
        parents=(),
        run_equivalents=worth,
        reason=f"trunk of seed {seed} [bold]",
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        study="x",
        file=tmp_path / "study.yaml",
        home=tmp_path,
        jobs=tuple(job(seed, worth) for seed, worth in enumerate((1.0, 1.0, 2.0))),
        questions=(),
        seeds=(0, 1, 2),
        tokens=1,
        changed_share=0.0,
        allow_changed=0.0,
        one_run_a_question=1.0,
    )


def event(kind: str, job: Job, **facts: Any) -> Event:
    return Event(kind, job, {"key": job.key, **facts})


def at(job: Job, step: int, speed: float = 50.0) -> Event:
    facts = {"steps": 100, "loss": 2.5, "tokens_per_second": speed, "seconds_left": 7.0}
    return event("progress", job, step=step, **facts)


def test_headway_is_weighed_by_what_jobs_cost(plan: Plan) -> None:
    now = 100.0
    headway = Headway(plan, clock=lambda: now)
    first, second, third = plan.jobs
    assert (headway.share, headway.seconds_left) == (0.0, None)
    headway.take(Event("reused", first, {}))  # no work of this time: 3 are left
    for one in (second, third):
        headway.take(event("started", one))
        headway.take(at(one, 1))
    now = 110.0
    headway.take(at(second, 60))
    assert headway.tokens_per_second == 100.0
    assert headway.share == pytest.approx((1 * 0.6 + 2 * 0.01) / 3)
    headway.take(event("done", second))
    assert headway.share == pytest.approx(1.02 / 3)
    assert headway.seconds_left == pytest.approx(10 * 1.98 / 1.02)
    assert headway.note == "2 of 3  50 tokens/s  19 s left"
    headway.take(event("skipped", third, why="stopped"))
    assert (headway.share, headway.seconds_left, headway.note) == (1.0, None, "3 of 3")


def test_a_run_that_goes_on_is_not_far_already(plan: Plan) -> None:
    """Begun at step 80 of 100, half of what was left is done at 90."""
    headway = Headway(replace(plan, jobs=plan.jobs[:1]))
    (only,) = plan.jobs[:1]
    headway.take(event("started", only))
    headway.take(at(only, 81))
    headway.take(at(only, 90))
    assert headway.share == pytest.approx(0.5)
    headway.take(event("crashed", only, error="gone", retry=1, retries=2))
    assert (headway.share, headway.tokens_per_second) == (0.0, 0.0)


def shown(plan: Plan, *, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=160)
    first, second, third = plan.jobs
    with study_progress(plan, console) as tell:
        tell(Event("reused", first, {}))
        tell(event("started", second))
        tell(at(second, 50))
        tell(event("warned", second, warning="no [store]"))
        tell(event("warned", second, warning="no [store]"))
        tell(event("crashed", second, error="gone", retry=1, retries=2))
        tell(event("started", second))
        tell(event("done", second))
        tell(event("skipped", third, why="stopped early"))
    return out.getvalue()


def test_a_log_has_a_line_a_job_and_no_bar(plan: Plan) -> None:
    assert shown(plan, terminal=False).splitlines() == [
        "no [store]",
        "trunk of seed 1 [bold] crashed, and is begun again from its last state (1 of 2): gone",
        "2/3 trunk of seed 1 [bold]",
        "stopped early",
    ]


def test_a_terminal_has_bars_and_keeps_only_what_matters(plan: Plan) -> None:
    text = shown(plan, terminal=True)
    assert "3 of 3" in text
    assert "2/3 trunk" not in text
    assert text.count("no [store]") == 1


def test_no_color_is_heeded(command: Command) -> None:
    (command.folder / "bad.yaml").write_text("study: x\nrecipe: {batch: none}\n")
    coloured = command("plan", "bad.yaml", FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="")
    plain = command("plan", "bad.yaml", FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="1")
    assert "\x1b[1;31m" in coloured.stderr
    assert "\x1b[1;31m" not in plain.stderr
    assert "problem" in plain.stderr


def test_every_command_speaks_json() -> None:
    """But the one that serves a page, whose JSON is the page's."""
    silent = []
    groups = [("", get_command(app))]
    while groups:
        name, group = groups.pop()
        for sub, one in group.commands.items():  # type: ignore[attr-defined]
            if hasattr(one, "commands"):
                groups.append((f"{sub} ", one))
            elif not any("--json" in parameter.opts for parameter in one.params):
                silent.append(f"{name}{sub}")
    assert silent == ["serve"]
