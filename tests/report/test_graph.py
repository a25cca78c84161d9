from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from trainonce.models.decoder import DecoderSettings
from trainonce.plan.plan import Job, Plan, Role
from trainonce.report.graph import graph_svg, graph_tree, nodes
from trainonce.study.schema import Strategy
from trainonce.tasks.specs import Fork, MeasureSpec, Spec, TrainSpec
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


def test_measurements_are_lines_and_runs_are_nodes(plan: Plan) -> None:
    found = {node.job.key: node for node in nodes(plan)}
    assert [node.depth for node in found.values()] == [0, 1, 1]
    assert found[FORK.key].parents == (f"{TRUNK.key}@5",)
    assert found[FORK.key].lines[-1] == "3 measurements: q0, q1 and 1 more"
    assert found[f"{TRUNK.key}@5"].title == "state after step 5, seed 1"
    assert found[FORK.key].lines[0] == "fork, 1.00 run-equivalents"


def test_the_tree_says_what_begins_with_what(plan: Plan) -> None:
    console = Console(width=100, record=True)
    console.print(graph_tree(plan, {TRUNK.key}))
    lines = console.export_text().splitlines()
    assert sum("new" in line for line in lines) == 2
    assert sum("done" in line for line in lines) == 1
    state, trunk = (
        next(i for i, line in enumerate(lines) if word in line) for word in ("state", "trunk")
    )
    assert lines[trunk].index("trunk") > lines[state].index("state")


def test_the_svg_is_well_formed_and_harmless(plan: Plan) -> None:
    text = graph_svg(plan)
    root = ET.fromstring(text)
    boxes = [float(box.attrib["y"]) for box in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(boxes) == 3
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 2
    assert len(set(boxes)) == 2  # the state beside the first of its two children
    assert "<script" not in text
    assert HOSTILE in "".join(root.itertext())
