"""Which forks a dependence test has, what they read, and what they cost."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.plan import studies
from trainonce.plan import dependence
from trainonce.plan.cost import predict
from trainonce.plan.dependence import DependenceError, DependencePlan, asked, plan_dependence
from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.stream.corpus import Corpus
from trainonce.study.load import load
from trainonce.tasks.language import treated_stream
from trainonce.tasks.specs.runs import StateSpec, TrainSpec

HEAD = studies.HEAD.replace("allow_changed: 20%", "allow_changed: 40%")
ONE = (
    "  - {{id: {name}, lane: {lane}, treatment: {{method: memorization, doses: [0, 2], "
    "passages: 0, canaries: 2, tokens: 12}}}}\n"
)


def planned(tmp_path: Path, home: Path, corpus: Path, count: int) -> Plan:
    file = tmp_path / "study.yaml"
    questions = [ONE.format(name=f"q{number}", lane=number) for number in range(count)]
    file.write_text(HEAD.format(corpus=corpus) + "".join(questions))
    return plan(load(file), home)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, home: Path, documents_file: Path) -> Plan:
    return planned(tmp_path_factory.mktemp("dependence"), home, documents_file, 3)


def made(
    base: Plan, start: str = "60%", length: str = "10%", layout: str | None = None
) -> DependencePlan:
    return plan_dependence(base, asked(start, length, layout))


def forks(found: DependencePlan) -> list[TrainSpec | StateSpec]:
    return [
        job.spec
        for job in found.plan.jobs
        if job.role is Role.CHECK and isinstance(job.spec, (TrainSpec, StateSpec))
    ]


def test_each_alone_all_and_none(base: Plan) -> None:
    found = made(base)
    assert [run.label for run in found.runs] == ["all", "none", "q0 alone", "q1 alone", "q2 alone"]
    assert (found.start, found.end, found.parent) == (96, 112, "trunk")
    assert len(forks(found)) == 2 * 4  # all is the trunk itself
    for spec in forks(found):
        assert isinstance(spec, StateSpec)
        assert spec.step == 112
        assert spec.trained.fork is not None
        assert spec.trained.fork.step == 96
    for run in found.runs:
        assert all(len(keys) == 2 for keys in run.measured.values())
        assert run.measured.keys() == {"q0", "q1", "q2"}


def test_forks_to_the_end_share_the_studys_own_run_and_measurements(base: Plan) -> None:
    found = made(base, "90%")
    own = {job.key for job in base.jobs}
    kept = [job for job in found.plan.jobs if job.key in own]
    assert {job.kind for job in kept} == {"train", "measure"}
    assert {job.role for job in kept if job.kind == "train"} == {Role.TRUNK}
    everything = found.runs[0]
    assert {key for keys in everything.measured.values() for key in keys} <= own
    assert all(isinstance(spec, TrainSpec) for spec in forks(found))


def test_states_that_the_study_measures_are_made_on_the_way(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    """Else `run` would train the trunk again up to the last of them."""
    file = tmp_path / "study.yaml"
    questions = [ONE.format(name=f"q{number}", lane=number) for number in range(2)]
    watched = questions[0].replace("{id", "{measure_at: [25%, 50%, 75%], id", 1)
    file.write_text(HEAD.format(corpus=documents_file) + watched + questions[1])
    base = plan(load(file), home)
    found = made(base)
    own = {job.key: job.spec.step for job in base.jobs if isinstance(job.spec, StateSpec)}
    trunks = {job.key: job for job in found.plan.jobs if job.role is Role.STATE}
    assert {own[key] for key in trunks if key in own} == {40, 80}  # of 160
    assert all("q0 measures there" in job.reason for key, job in trunks.items() if key in own)
    assert found.plan.run_equivalents == pytest.approx(0.7)
    for seed in base.seeds:
        chain = [job for job in trunks.values() if job.seed == seed]
        assert [job.parents for job in chain[1:]] == [(job.key,) for job in chain[:-1]]


def test_what_it_costs(base: Plan) -> None:
    found = made(base)
    reading = sum(job.run_equivalents for job in found.plan.jobs if job.kind == "measure")
    assert found.plan.checks_run_equivalents == pytest.approx(4 * 0.1 + reading)
    assert found.plan.run_equivalents == pytest.approx(0.7)  # the trunk up to step 112
    assert predict(found.plan).workers >= 1
    late = made(base, "90%")
    assert late.plan.run_equivalents == pytest.approx(1)


def test_jobs_stand_after_their_parents_and_once(base: Plan) -> None:
    for found in (made(base), made(base, "90%"), made(base, layout="factorial")):
        seen: set[str] = set()
        for job in found.plan.jobs:
            assert set(job.parents) <= seen, job.reason
            assert job.key not in seen
            seen.add(job.key)


def test_items_lie_in_forks_where_they_lie_in_the_trunk(base: Plan) -> None:
    """A fork reads its own items at their places, and the plain text at the others'."""
    found = made(base)
    trunk = next(job.spec for job in base.jobs if job.role is Role.TRUNK)
    assert isinstance(trunk, TrainSpec)
    corpus = Corpus(base.home / "corpora" / trunk.corpus)
    positions = np.arange(found.start * 4, found.end * 4)
    plain = trunk.stream(corpus).read(positions)
    together = treated_stream(trunk, corpus).read(positions)
    specs = {job.key: job.trained for job in found.plan.jobs}
    alone = []
    for run in found.runs[2:]:
        spec = specs[run.measured["q0"][0]]
        assert [treated.question for treated in spec.treatments] == list(run.present)
        alone.append(treated_stream(spec, corpus).read(positions))
    rebuilt = plain.copy()
    for read in alone:
        rebuilt = np.where(read != plain, read, rebuilt)
    np.testing.assert_array_equal(rebuilt, together)
    assert (together != plain).any()


def test_copies_in_the_stretch_are_counted(base: Plan) -> None:
    whole = made(base, "10%", "90%")
    part = made(base, "60%", "10%")
    for one, other in zip(whole.experiments, part.experiments, strict=True):
        assert one.copies == other.copies == 2 * 2 * 2  # seeds, items, dose
        assert other.inside <= one.inside <= one.copies
    assert sum(one.inside for one in whole.experiments) > sum(
        one.inside for one in part.experiments
    )


def test_a_factorial_from_five_experiments_on(
    tmp_path: Path, home: Path, documents_file: Path, base: Plan
) -> None:
    found = made(planned(tmp_path, home, documents_file, 5))
    assert found.design is not None
    assert found.design.resolution == 5
    assert len(found.runs) == 17  # one without any is none of the design's rows
    assert made(base).design is None
    full = made(base, layout="factorial")
    assert full.design is not None
    assert {run.present for run in full.runs} >= {(), ("q0", "q1", "q2"), ("q0", "q2")}
    assert len(full.runs) == 8


@pytest.mark.parametrize("role", [Role.TRUNK, Role.PLAIN])
def test_the_state_of_one_run_by_its_key(base: Plan, role: Role) -> None:
    job = next(
        job for job in base.jobs if job.role is role and job.kind == "train" and job.seed == 2
    )
    found = made(base, f"{job.key[:8]}@80")
    assert (found.seeds, found.start, found.end) == ((2,), 80, 96)
    assert found.parent == ("trunk" if role is Role.TRUNK else "plain run")
    assert len(forks(found)) == 4
    present = [spec.trained.treatments for spec in forks(found)]
    assert (() in present) == (role is Role.TRUNK)  # else none is the plain run itself


@pytest.mark.parametrize(
    ("start", "length", "layout", "message"),
    [
        ("soon", "10%", None, "'soon' is no state: write a share such as 60%, or JOB@STEP"),
        ("0%", "10%", None, "0% of 160 steps is no step inside of the run"),
        ("100%", "10%", None, "100% of 160 steps is no step inside of the run"),
        ("abcdef@10", "10%", None, "abcdef names none of this study's runs: .* .trunk of seed 1"),
        ("60%", "0%", None, "0% is no length of a fork"),
        ("60%", "short", None, "short is no length of a fork"),
        ("60%", "10%", "latin", "no design 'latin': alone or factorial"),
    ],
)
def test_tests_that_cannot_be(
    base: Plan, start: str, length: str, layout: str | None, message: str
) -> None:
    with pytest.raises(DependenceError, match=message):
        made(base, start, length, layout)


def test_a_step_that_the_run_does_not_have(base: Plan) -> None:
    trunk = next(job.key for job in base.jobs if job.role is Role.TRUNK)
    with pytest.raises(DependenceError, match="step 160 does not lie inside of the run's 160"):
        made(base, f"{trunk[:8]}@160")


def test_one_question_has_nothing_to_depend_on(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, 1)
    with pytest.raises(DependenceError, match=re.escape("this study has 1")):
        made(found)


def test_too_many_questions_are_refused(base: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependence, "MOST", 2)
    with pytest.raises(DependenceError, match="at most 2 questions, and this study has 3"):
        made(base)
