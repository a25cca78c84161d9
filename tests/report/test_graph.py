from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from trainonce.models.decoder import DecoderSettings
from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.plan.planned import PlannedQuestion
from trainonce.report.branches import branches
from trainonce.report.graph import graph_tree
from trainonce.report.picture import plan_svg
from trainonce.report.sentences import short
from trainonce.study.load import placebo
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import Fork, TrainSpec
from trainonce.train.schedules import Cosine
from trainonce.train.settings import TrainSettings

TRUNK = TrainSpec(
    corpus="c",
    sequence=8,
    model=DecoderSettings(width=8, layers=1, heads=2),
    train=TrainSettings(steps=9, batch=2),
    seed=1,
)
FORK = replace(TRUNK, train=replace(TRUNK.train, schedule=Cosine()), fork=Fork(TRUNK, 5))
HOSTILE = "<script>alert('q')</script> & more"


def job(spec: Spec, role: Role, *parents: str, questions: tuple[str, ...] = ()) -> Job:
    return Job(
        spec=spec,
        role=role,
        strategy=Strategy.FORK,
        questions=questions,
        parents=parents,
        run_equivalents=0.25,
        reason=f"why {role.value} {HOSTILE}",
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    assert FORK.fork
    state = FORK.fork.state
    measures = [
        MeasureSpec(trained=FORK, probe="completion", version=number) for number in range(3)
    ]
    return Plan(
        study=HOSTILE,
        file=tmp_path / "study.yaml",
        home=tmp_path,
        jobs=(
            job(state, Role.TRUNK),
            job(TRUNK, Role.TRUNK, state.key),
            job(FORK, Role.ANSWER, state.key),
            *(
                job(spec, Role.ANSWER, FORK.key, questions=(f"q{spec.version}",))
                for spec in measures
            ),
        ),
        questions=(),
        seeds=(1,),
        tokens=144,
        changed_share=0.0,
        allow_changed=0.02,
        one_run_a_question=2.0,
    )


def test_a_run_its_states_and_measurements_are_one_branch(plan: Plan) -> None:
    trunk, fork = branches(plan)
    assert (trunk.title, trunk.parents, trunk.begin, trunk.end) == ("trunk", (), 0, 9)
    assert [job.key for job in trunk.jobs] == [f"{TRUNK.key}@5", TRUNK.key]
    assert (fork.parents, fork.begin, fork.end) == ((trunk.name,), 5, 9)
    assert fork.questions == ("q0", "q1", "q2")
    assert fork.run_equivalents == 1.0


def test_what_differs_in_its_seed_only_is_one_branch(plan: Plan) -> None:
    other = replace(TRUNK, seed=2)
    fork = replace(FORK, seed=2, fork=Fork(other, 5))
    assert fork.fork
    more = (
        job(fork.fork.state, Role.TRUNK),
        job(other, Role.TRUNK, fork.fork.state.key),
        job(fork, Role.ANSWER, fork.fork.state.key),
    )
    alone, both = branches(plan), branches(replace(plan, jobs=(*plan.jobs, *more)))
    assert [branch.name for branch in both] == [branch.name for branch in alone]
    assert [branch.seeds for branch in both] == [2, 2]


def test_what_leaves_last_is_drawn_first(plan: Plan) -> None:
    early = replace(FORK, fork=Fork(TRUNK, 2))
    later = replace(FORK, fork=Fork(TRUNK, 7))
    more = []
    for run in (early, later):
        assert run.fork
        state = run.fork.state
        more += [job(state, Role.STATE), job(run, Role.ANSWER, state.key)]
    found = branches(replace(plan, jobs=(*plan.jobs, *more)))
    assert [branch.begin for branch in found] == [0, 7, 5, 2]


def test_what_is_made_of_several_runs_comes_after_them(plan: Plan) -> None:
    both = replace(
        job(MeasureSpec(trained=TRUNK, probe="completion", version=9), Role.ANSWER),
        parents=(TRUNK.key, FORK.key),
        label="both",
    )
    *_, made = found = branches(replace(plan, jobs=(*plan.jobs, both)))
    assert (made.made, made.title, made.begin, made.end) == (True, "both", 9, 9)
    assert made.parents == tuple(branch.name for branch in found[:2])
    assert "made of 2 runs" in tree(replace(plan, jobs=(*plan.jobs, both)))
    ET.fromstring(plan_svg(replace(plan, jobs=(*plan.jobs, both))))


def tree(plan: Plan, done: tuple[str, ...] = ()) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(graph_tree(plan, done))
    return console.export_text()


def test_the_tree_says_what_leaves_what(plan: Plan) -> None:
    lines = tree(plan, (TRUNK.key,)).splitlines()
    trunk, fork = (
        next(i for i, line in enumerate(lines) if word in line) for word in ("trunk", "answer")
    )
    assert "1 of 2 jobs done" in lines[trunk]
    assert "0 of 4 jobs done" in lines[fork]
    assert lines[fork].index("answer") > lines[trunk].index("trunk")
    assert "q0, q1, q2" in lines[fork + 2]


def test_the_svg_is_well_formed_and_harmless(plan: Plan) -> None:
    text = plan_svg(plan)
    root = ET.fromstring(text)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}g"))) == 2
    assert "<script" not in text
    assert HOSTILE in "".join(root.itertext())


def test_a_fork_is_drawn_from_where_it_leaves(plan: Plan) -> None:
    root = ET.fromstring(plan_svg(plan))
    ways = [path.attrib["d"] for path in root.iter("{http://www.w3.org/2000/svg}path")]
    trunk = next(way for way in ways if way.startswith("M28 ") and "H" in way)
    fork = next(way for way in ways if "Q" in way)
    begin, end = (float(x) for x in trunk[1:].replace("H", " ").split()[::2])
    assert float(fork[1:].split()[0]) == pytest.approx(begin + (end - begin) * 5 / 9, abs=0.01)
    assert float(fork.rpartition("H")[2]) == end


def test_a_large_plan_says_what_is_not_drawn(plan: Plan) -> None:
    runs = [
        job(replace(TRUNK, train=replace(TRUNK.train, steps=10 + n)), Role.ARM) for n in range(70)
    ]
    text = plan_svg(replace(plan, jobs=(*plan.jobs, *runs)))
    assert "12 more lines are not drawn" in text


def test_runs_that_are_alike_stand_under_one_heading(plan: Plan) -> None:
    rungs = [
        replace(job(replace(TRUNK, seed=seed, stack=None), Role.RUNG), label=f"rung width {seed}")
        for seed in (8, 16)
    ]
    runs = [
        replace(one, spec=replace(one.spec, model=DecoderSettings(width=width, layers=1, heads=2)))
        for one, width in zip(rungs, (16, 32), strict=True)
        if isinstance(one.spec, TrainSpec)
    ]
    both = plan_svg(replace(plan, jobs=(*plan.jobs, *runs)))
    words = [text.text or "" for text in ET.fromstring(both).iter() if text.text]
    assert "2 rungs" in words
    assert any(word.startswith("width 8, width 16") for word in words)


def titles(element: ET.Element) -> list[str]:
    return [
        found.text or ""
        for found in element.iter("{http://www.w3.org/2000/svg}title")
        if found.text
    ]


def test_every_job_is_told_where_one_points(plan: Plan) -> None:
    told = "\n".join(titles(ET.fromstring(plan_svg(plan))))
    for one in plan.jobs:
        assert f"{short(one.key)}  {one.reason}" in told
    ends = [
        titles(circle)[0]
        for circle in ET.fromstring(plan_svg(plan)).iter("{http://www.w3.org/2000/svg}circle")
        if circle.get("class") == "end"
    ]
    assert [end.count("why answer") for end in ends] == [0, 3]  # the fork is measured three times


def test_one_stem_for_all_that_leave_at_one_place(plan: Plan) -> None:
    other = replace(FORK, train=replace(FORK.train, clip=3.0))
    both = replace(plan, jobs=(*plan.jobs, job(other, Role.ANSWER, plan.jobs[0].key)))
    stems = plan_svg(both).count('class="stem"')
    assert (plan_svg(plan).count('class="stem"'), stems) == (1, 1)


def test_the_trunk_has_a_strand_a_seed(plan: Plan) -> None:
    assert 'class="strand"' not in plan_svg(plan)
    other = replace(TRUNK, seed=2)
    two = replace(plan, jobs=(*plan.jobs, job(other, Role.TRUNK)))
    assert plan_svg(two).count('class="strand"') == 1


def test_questions_in_the_trunk_lie_under_it_within_their_windows(plan: Plan) -> None:
    asked = replace(placebo(), id="early", ask=f"Early? {HOSTILE}", window=(0.0, 0.5))
    planned = PlannedQuestion(
        question=asked,
        strategy=Strategy.MULTIPLEX,
        detectable_effect=None,
        units=2,
        assumptions=(),
    )
    serving = replace(plan.jobs[1], questions=("early",))
    root = ET.fromstring(
        plan_svg(replace(plan, jobs=(plan.jobs[0], serving, *plan.jobs[2:]), questions=(planned,)))
    )
    (thread,) = [path for path in root.iter() if path.get("class") == "thread"]
    begin, end = thread.attrib["d"][1:].replace("H", " ").split()[::2]
    assert (float(begin), float(end)) == (28, 288)
    assert titles(thread) == [f"early: Early? {HOSTILE}"]


def test_runs_that_count_no_steps_have_no_axis_of_them(plan: Plan) -> None:
    assert "step 0" in plan_svg(plan)
    short_run = replace(TRUNK, train=replace(TRUNK.train, steps=1))
    alone = plan_svg(replace(plan, jobs=(job(short_run, Role.TRUNK),)))
    assert "step 0" not in alone
    assert "steps go to the right" not in alone


def test_alike_runs_of_several_roles_are_called_runs(plan: Plan) -> None:
    arm = replace(job(replace(TRUNK, train=replace(TRUNK.train, batch=3)), Role.ARM), label="arm")
    words = plan_svg(replace(plan, jobs=(job(TRUNK, Role.TRUNK), arm)))
    assert "2 runs" in words
    assert "2 trunks" not in words
