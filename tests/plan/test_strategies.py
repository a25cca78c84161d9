"""Which strategy answers which question, what runs share, and what that costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.plan.studies import HEAD, MEMORY
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.jobs import Job, Reason, Role
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.plan.power import detectable_difference, pairs_needed
from trainonce.study.load import load
from trainonce.study.problems import StudyError
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs.runs import StateSpec, TrainSpec
from trainonce.train.calibrate import Timing, remember

RATES = "  - {id: rates, treatment: {change: {optimizer.lr: [1e-3, 2e-3, 4e-3, 8e-3]}}}\n"
LENGTHS = "  - {id: lengths, treatment: {lengths: [25%, 50%]}}\n"
LATE = "  - {id: late, at: 60%, treatment: {change: {optimizer.weight_decay: 0}}}\n"
CLIP = "  - {id: clip, at: 60%, treatment: {change: {clip: [2, 3]}}}\n"
LATE_ITEMS = MEMORY.replace("memory", "recent").replace("id:", "window: [50%, 100%], id:")
NO_PLAIN = "checks: {plain: false}\n"


def planned(tmp_path: Path, home: Path, corpus: Path, *parts: str) -> Plan:
    file = tmp_path / "study.yaml"
    file.write_text(HEAD.format(corpus=corpus) + "".join(parts))
    return plan(load(file), home)


def refused(tmp_path: Path, home: Path, corpus: Path, *parts: str) -> str:
    with pytest.raises(StudyError) as error:
        planned(tmp_path, home, corpus, *parts)
    (problem,) = error.value.problems
    return str(problem)


def how(question: str, strategy: str) -> str:
    return question.replace("id:", f"how: {strategy}, id:")


def of(found: Plan, role: Role, question: str | None = None) -> list[Job]:
    return [
        job
        for job in found.jobs
        if job.role is role
        and job.kind != "measure"
        and (question is None or question in job.questions)
    ]


def cost(jobs: list[Job]) -> float:
    return sum(job.run_equivalents for job in jobs)


def test_arms_cost_what_they_train_and_base_runs_nothing_more(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    """Four rates from step 0, two lengths, a late change and items, on two seeds."""
    found = planned(tmp_path, home, documents_file, MEMORY, RATES, LENGTHS, LATE, NO_PLAIN)
    assert cost(of(found, Role.ARM, "rates")) == pytest.approx(4)
    assert cost(of(found, Role.ARM, "lengths")) == pytest.approx(0.25 * (0.25 + 0.5))
    assert cost(of(found, Role.ARM, "late")) == pytest.approx(0.4)
    assert cost(of(found, Role.TRUNK) + of(found, Role.STATE)) == pytest.approx(1)
    trained = 1 + 4 + 0.1875 + 0.4
    trunk = {job.key for job in of(found, Role.TRUNK)}
    measured = sum(job.run_equivalents for job in found.jobs if job.kind == "measure")
    assert found.run_equivalents == pytest.approx(trained + measured)
    held = cost([job for job in found.jobs if job.role is Role.HELDOUT])
    items = [job for job in found.jobs if job.role is Role.ANSWER and job.trained.key in trunk]
    apart = 1 + (1 + 4) + (1 + 0.75) + (1 + 1)  # each question: its own base, and all of each arm
    assert found.one_run_a_question == pytest.approx(apart + (4 + 7) * held + cost(items))
    document = found.to_json()
    assert {q["id"]: q["strategy"] for q in document["questions"]} == {
        "memory": "multiplex",
        "rates": "replicate",
        "lengths": "fork",
        "late": "fork",
        AA: "multiplex",
    }
    rates = next(q for q in document["questions"] if q["id"] == "rates")
    assert rates["unit"] == "run"
    assert rates["units"] == 2
    assert rates["arms"][0] == "the base run"
    assert rates["arms"][-1] == "optimizer.lr 8e-3"
    assert set(rates["shares_with"]) == {"memory", "lengths", "late"}
    assert json.dumps(document, allow_nan=False)


def test_every_job_stands_after_its_parents_and_once(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(
        tmp_path, home, documents_file, MEMORY, RATES, LENGTHS, LATE, how(LATE_ITEMS, "fork")
    )
    seen: set[str] = set()
    for job in found.jobs:
        assert set(job.parents) <= seen, job.reason
        assert job.key not in seen
        assert job.questions or job.is_check
        seen.add(job.key)


def test_arms_are_the_trunk_of_their_seed_with_other_numbers(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, MEMORY, RATES, LATE, NO_PLAIN)
    trunks = {job.seed: job.spec for job in of(found, Role.TRUNK)}
    for job in of(found, Role.ARM):
        trunk, arm = trunks[job.seed], job.spec
        assert isinstance(arm, TrainSpec)
        assert isinstance(trunk, TrainSpec)
        assert arm.treatments == trunk.treatments
        if arm.fork:
            assert arm.fork.parent == trunk
            assert arm.fork.step == 96
        assert arm.train != trunk.train
        assert replace(arm, train=trunk.train, fork=None) == trunk


def test_forks_at_one_step_share_one_state(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, LATE, CLIP, LENGTHS, NO_PLAIN)
    states = [job for job in of(found, Role.STATE) if job.seed == 1]
    assert [job.spec.step for job in states if isinstance(job.spec, StateSpec)] == [30, 60, 96]
    forks = [job for job in of(found, Role.ARM) if job.seed == 1]
    assert [job.parents for job in forks].count((states[2].key,)) == 3
    assert states[1].parents == (states[0].key,)
    trunk = next(job for job in of(found, Role.TRUNK) if job.seed == 1)
    assert trunk.parents == (states[2].key,)
    assert states[2].reason.endswith("after step 96 of 160: late, clip begin there")
    assert {job.code for job in states} == {Reason.STATE}
    assert {job.code for job in forks} == {Reason.FORK}
    assert trunk.code is Reason.SHARED


def test_the_same_arm_of_two_questions_is_trained_once(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    other = "  - {id: other, treatment: {change: {optimizer.lr: 2e-3}}}\n"
    found = planned(tmp_path, home, documents_file, RATES, other, NO_PLAIN)
    assert len(of(found, Role.ARM)) == 8
    both = [job for job in of(found, Role.ARM) if job.questions == ("rates", "other")]
    assert [job.code for job in both] == [Reason.SHARED] * 2
    assert {job.label for job in both} == {"optimizer.lr 2e-3"}


def test_a_trunk_without_insertions_is_the_plain_run(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, LATE)
    assert not of(found, Role.PLAIN)
    assert found.checks_run_equivalents == 0


def test_lengths_can_be_runs_of_their_own(tmp_path: Path, home: Path, documents_file: Path) -> None:
    found = planned(tmp_path, home, documents_file, how(LENGTHS, "replicate"), NO_PLAIN)
    assert not of(found, Role.STATE)
    assert cost(of(found, Role.ARM)) == pytest.approx(0.75)
    assert found.questions[0].strategy is Strategy.REPLICATE


def test_items_can_have_a_run_of_their_own(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, MEMORY, how(LATE_ITEMS, "replicate"))
    trunk, own = of(found, Role.TRUNK)[0], of(found, Role.OWN)[0]
    assert isinstance(trunk.spec, TrainSpec)
    assert isinstance(own.spec, TrainSpec)
    assert [treated.question for treated in trunk.spec.treatments] == ["memory"]
    assert [treated.question for treated in own.spec.treatments] == ["recent"]
    assert trunk.questions == ("memory", AA)
    assert cost(of(found, Role.OWN)) == pytest.approx(1)
    checks = [job for job in found.jobs if job.role is Role.CHECK and "recent" in job.questions]
    plain = {job.key for job in of(found, Role.PLAIN)}
    assert {job.parents[0] for job in checks} == plain


def test_items_with_a_window_share_the_trunk_like_others(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, MEMORY, LATE_ITEMS, NO_PLAIN)
    assert [planned.strategy for planned in found.questions] == [Strategy.MULTIPLEX] * 3
    trunk = of(found, Role.TRUNK)[0].spec
    assert isinstance(trunk, TrainSpec)
    windows = {treated.question: treated.window for treated in trunk.treatments}
    assert windows == {"memory": (0.0, 1.0), "recent": (0.5, 1.0)}


@pytest.mark.parametrize("checked", ["", NO_PLAIN])
def test_late_items_can_leave_the_plain_run(
    tmp_path: Path, home: Path, documents_file: Path, checked: str
) -> None:
    found = planned(tmp_path, home, documents_file, MEMORY, how(LATE_ITEMS, "fork"), checked)
    own = of(found, Role.OWN)[0]
    assert isinstance(own.spec, TrainSpec)
    assert own.spec.fork
    assert own.spec.fork.step == 80
    assert own.spec.fork.parent.treatments == ()
    assert cost(of(found, Role.OWN)) == pytest.approx(0.5)
    assert cost(of(found, Role.STATE)) == pytest.approx(0.5)
    assert {job.questions for job in of(found, Role.STATE)} == {("recent",)}
    assert cost(of(found, Role.PLAIN)) == pytest.approx(0.0 if checked else 0.5)


def test_a_larger_model_costs_more(tmp_path: Path, home: Path, documents_file: Path) -> None:
    wide = "  - {id: wide, treatment: {change: {model.width: 32}}}\n"
    found = planned(tmp_path, home, documents_file, wide, NO_PLAIN)
    arm = of(found, Role.ARM)[0]
    assert isinstance(arm.spec, TrainSpec)
    assert arm.spec.model == DecoderSettings(width=32, layers=1, heads=2)
    assert 2 < cost(of(found, Role.ARM)) < 4


@pytest.mark.parametrize(
    ("question", "strategy", "message"),
    [
        (RATES, "fork", "replicate is possible (4.00 run-equivalents beside the trunk); fork is "),
        (RATES, "multiplex", "multiplex is not: its unit is a run"),
        (LATE, "replicate", "fork is possible (0.40 run-equivalents beside the trunk); replicate"),
        (MEMORY, "fork", "fork is not: it acts from step 0, so that there is nothing to share"),
        (LATE, "average", "average is not: its arms are no mixtures of parts"),
    ],
)
def test_an_impossible_wish_names_what_is_possible_and_why(
    tmp_path: Path, home: Path, documents_file: Path, question: str, strategy: str, message: str
) -> None:
    said = refused(tmp_path, home, documents_file, how(question, strategy))
    assert f"study.yaml:10: questions[0].how: found '{strategy}'; " in said
    assert all(part in said for part in message.split("; "))


def test_what_is_forbidden_is_not_done(tmp_path: Path, home: Path, documents_file: Path) -> None:
    apart = MEMORY.replace("id:", "not: multiplex, id:")
    found = planned(tmp_path, home, documents_file, apart, NO_PLAIN)
    assert found.questions[0].strategy is Strategy.REPLICATE
    none = MEMORY.replace("id:", "not: [multiplex, replicate], id:")
    said = refused(tmp_path, home, documents_file, none)
    assert "multiplex is possible (0.00 run-equivalents beside the trunk, and `not` forbids" in said
    late = LATE_ITEMS.replace("id:", "not: multiplex, id:")
    found = planned(tmp_path, home, documents_file, late, NO_PLAIN)
    assert found.questions[0].strategy is Strategy.FORK


def test_runs_that_are_left_are_in_no_stack(
    tmp_path: Path, home: Path, documents_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever pays on this machine: a stack keeps no states."""
    own = tmp_path_factory.mktemp("calibrated")
    pays = Timing(work=1e6, alone=1.0, side_by_side=1.1, workers=2, batched={8: 0.1})
    remember(own, torch.device("cpu"), {"decoder-64": pays})
    found = planned(tmp_path, own, documents_file, RATES, NO_PLAIN)
    assert len({job.stack for job in found.jobs if job.kind == "train"}) == 1
    assert of(found, Role.ARM)[0].code is Reason.STACKED
    found = planned(tmp_path, own, documents_file, RATES, LATE, NO_PLAIN)
    assert {job.stack for job in of(found, Role.TRUNK)} == {None}
    assert {job.stack for job in of(found, Role.ARM, "late")} == {None}
    assert len({job.stack for job in of(found, Role.ARM, "rates")}) == 1
    assert None not in {job.stack for job in of(found, Role.ARM, "rates")}


def test_a_run_that_was_trained_before_is_said_to_be_reused(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    first = planned(tmp_path, home, documents_file, LATE, NO_PLAIN)
    trained = {job.key for job in of(first, Role.TRUNK)}
    again = plan(
        load(tmp_path / "study.yaml"), home, known=lambda run: run if run.key in trained else None
    )
    assert {job.code for job in of(again, Role.TRUNK)} == {Reason.REUSED}
    assert {job.code for job in of(again, Role.ARM)} == {Reason.FORK}
    assert again.hash == first.hash


@pytest.mark.parametrize("pairs", [2, 3, 8])
def test_the_detectable_difference_is_found_with_the_power_it_says(pairs: int) -> None:
    """Simulate paired t-tests at the corrected level."""
    from scipy import stats

    effect = detectable_difference(pairs, 0.1, questions=2)
    assert effect is not None
    random = np.random.default_rng(5)
    differences = random.normal(effect, 0.1, (20_000, pairs))
    p_values = stats.ttest_1samp(differences, 0, axis=1).pvalue
    assert np.mean(p_values < 0.05 / 2) == pytest.approx(0.8, abs=0.012)


def test_the_detectable_difference_is_that_of_the_noncentral_t() -> None:
    from scipy import stats

    for pairs, questions in ((2, 1), (4, 5), (40, 24)):
        found = detectable_difference(pairs, 1.0, questions)
        assert found is not None
        critical = stats.t.isf(0.025 / questions, pairs - 1)
        power = stats.nct.sf(critical, pairs - 1, found * pairs**0.5)
        assert power == pytest.approx(0.8, abs=2e-3)
    assert detectable_difference(2, 1.0, questions=1000) is not None


def test_one_pair_detects_nothing_and_the_pairs_needed_detect_it() -> None:
    assert detectable_difference(1, 0.1, questions=1) is None
    for effect in (0.01, 0.05, 1.0, 100.0):
        pairs = pairs_needed(effect, 0.1, questions=3)
        found = detectable_difference(pairs, 0.1, questions=3)
        assert found is not None
        assert found <= effect
        fewer = detectable_difference(pairs - 1, 0.1, questions=3)
        assert fewer is None or fewer > effect
