"""When averages of experts answer for mixtures, what is trained then, and what data they need."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.stream.documents import write_folders
from trainonce.plan.choose import offers
from trainonce.plan.cost import predict
from trainonce.plan.jobs import Job, Reason, Role
from trainonce.plan.offers import Offer, Refusal, Refused
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.study.load import load
from trainonce.study.problems import StudyError
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec

HEAD = """\
study: Tiny mixtures
recipe:
  data:
    corpus: {corpus}
    tokenizer: {{vocabulary: 300}}
    sequence: 64
    heldout: 30%
    parts:
      code: code/*
      docs: ['*/docs/*']
  model: {{width: 16, layers: 1, heads: 2}}
  batch: 4
  length: 100 steps
  seeds: [1, 2]
checks: {{plain: false}}
questions:
"""
ALONE = "{code: 1}, {docs: 1}, {rest: 1}"
MIXED = (
    "{code: 0.5, docs: 0.5}, {code: 0.5, rest: 0.5}, {docs: 0.5, rest: 0.5}, "
    "{code: 0.2, docs: 0.3, rest: 0.5}"
)


def mix(mixtures: str, more: str = "at: 60%", name: str = "mix", also: str = "") -> str:
    change = f"{{data.mixture: [{mixtures}]{also}}}"
    return f"  - {{id: {name}, {more}, treatment: {{change: {change}}}}}\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_folders(tmp_path_factory.mktemp("text"))
    (folder / "tiny.txt").write_text("one line")
    return folder


def planned(tmp_path: Path, home: Path, corpus: Path, *questions: str, head: str = HEAD) -> Plan:
    file = tmp_path / "study.yaml"
    file.write_text(head.format(corpus=corpus) + "".join(questions))
    return plan(load(file), home)


def refused(tmp_path: Path, home: Path, corpus: Path, *questions: str, head: str = HEAD) -> str:
    with pytest.raises(StudyError) as error:
        planned(tmp_path, home, corpus, *questions, head=head)
    (problem,) = error.value.problems
    return str(problem)


def of(found: Plan, role: Role, seed: int = 1) -> list[Job]:
    return [j for j in found.jobs if j.role is role and j.seed == seed and j.kind != "measure"]


def said(tmp_path: Path, corpus: Path, question: str) -> Offer | Refusal:
    file = tmp_path / "study.yaml"
    file.write_text(HEAD.format(corpus=corpus) + question)
    study = load(file)
    found = offers(study.questions[0], study.recipe)
    return next(one for one in found if one.strategy is Strategy.AVERAGE)


def test_averages_are_taken_where_they_are_cheaper(
    tmp_path: Path, home: Path, corpus: Path
) -> None:
    """Seven arms by forks, or three experts and two checks."""
    found = planned(tmp_path, home, corpus, mix(f"{ALONE}, {MIXED}"))
    assert found.questions[0].strategy is Strategy.AVERAGE
    few = planned(tmp_path, home, corpus, mix("{code: 1}, {docs: 1}, {code: 0.5, docs: 0.5}"))
    assert few.questions[0].strategy is Strategy.FORK
    assert not [job for job in few.jobs if job.kind == "average"]
    forced = mix("{code: 0.5, docs: 0.5}", "at: 60%, how: average")
    assert planned(tmp_path, home, corpus, forced).questions[0].strategy is Strategy.AVERAGE
    forbidden = mix(f"{ALONE}, {MIXED}", "at: 60%, not: average")
    assert planned(tmp_path, home, corpus, forbidden).questions[0].strategy is Strategy.FORK
    early = planned(
        tmp_path, home, corpus, mix(f"{ALONE}, {MIXED}", "lane: 0").replace("lane: 0, ", "")
    )
    assert early.questions[0].strategy is Strategy.REPLICATE


@pytest.mark.parametrize(("check", "runs"), [(0, 3), (2, 5), (9, 7)])
def test_an_offer_is_an_expert_a_part_and_the_checks(
    tmp_path: Path, corpus: Path, check: int, runs: int
) -> None:
    found = said(tmp_path, corpus, mix(f"{ALONE}, {MIXED}", f"at: 60%, check: {check}"))
    assert isinstance(found, Offer)
    assert found.run_equivalents == pytest.approx(0.4 * runs)


@pytest.mark.parametrize(
    ("question", "code", "why"),
    [
        (
            mix("{code: 1}, {code: 0.5, docs: 0.5}", "ask: Why"),
            Refused.STARTS_AT_0,
            "say when with `at: 60%`",
        ),
        (mix("{code: 1}, {docs: 1}"), Refused.NO_MIXTURES, "each of its arms is a single part"),
        (
            mix("{code: 1}, {code: 0.5, docs: 0.5}", also=", optimizer.lr: [1e-3, 2e-3]"),
            Refused.NO_MIXTURES,
            "differ in more than their mixtures",
        ),
        (
            "  - {id: q, at: 60%, treatment: {change: {clip: 2}}}\n",
            Refused.NO_MIXTURES,
            "its arms are no mixtures",
        ),
        ("  - {id: q, treatment: memorization}\n", Refused.UNIT, "its unit is an item"),
    ],
)
def test_a_refusal_says_why(
    tmp_path: Path, corpus: Path, question: str, code: Refused, why: str
) -> None:
    found = said(tmp_path, corpus, question)
    assert isinstance(found, Refusal)
    assert found.code is code
    assert why in found.why


def test_a_change_that_all_arms_share_is_the_experts_too(
    tmp_path: Path, home: Path, corpus: Path
) -> None:
    question = mix("{code: 1}, {code: 0.5, docs: 0.5}", "at: 60%, how: average", also=", clip: 3")
    found = planned(tmp_path, home, corpus, question)
    experts = [job.spec for job in of(found, Role.EXPERT)]
    assert [spec.train.clip for spec in experts if isinstance(spec, TrainSpec)] == [3.0, 3.0]


def test_the_jobs_are_experts_averages_and_checks(tmp_path: Path, home: Path, corpus: Path) -> None:
    found = planned(tmp_path, home, corpus, mix(f"{ALONE}, {MIXED}"))
    (trunk,) = [job.spec for job in of(found, Role.TRUNK)]
    assert isinstance(trunk, TrainSpec)
    assert trunk.mixture is None
    experts = {}
    for job in of(found, Role.EXPERT):
        assert isinstance(job.spec, TrainSpec)
        assert job.spec.fork
        assert (job.spec.fork.parent, job.spec.fork.step) == (trunk, 60)
        assert job.spec.mixture
        ((part, count),) = job.spec.mixture.counts
        assert replace(job.spec, mixture=None, fork=None) == trunk
        assert count == 1
        experts[part] = job.spec
    assert sorted(experts) == ["code", "docs", "rest"]
    averages = [job for job in found.jobs if job.kind == "average" and job.seed == 1]
    assert [job.spec.weights for job in averages if isinstance(job.spec, AverageSpec)] == [
        (1, 1),
        (1, 1),
        (1, 1),
        (2, 3, 5),
    ]
    last = averages[-1]
    assert isinstance(last.spec, AverageSpec)
    assert last.spec.models == (experts["code"], experts["docs"], experts["rest"])
    assert last.parents == tuple(run.key for run in last.spec.models)
    assert last.code is Reason.AVERAGE
    assert 0 < last.run_equivalents < 1e-3
    real = of(found, Role.REAL)
    assert len(real) == 2
    assert all(job.is_check and job.code is Reason.CHECK for job in real)
    assert [j.label for j in real] == [j.label for j in of(found, Role.REAL, seed=2)]
    seen: set[str] = set()
    for job in found.jobs:
        assert set(job.parents) <= seen, job.reason
        seen.add(job.key)


def test_what_is_measured_is_the_average_the_expert_or_the_check(
    tmp_path: Path, home: Path, corpus: Path
) -> None:
    question = mix(f"{ALONE}, {MIXED}", "at: 60%, outcome: heldout_loss/docs")
    found = planned(tmp_path, home, corpus, question)
    jobs = {job.key: job for job in found.jobs}
    base, *arms = found.questions[0].arms
    for number, arm in enumerate((base, *arms)):
        for key in (*arm.measured, *arm.real):
            spec = jobs[key].spec
            assert isinstance(spec, MeasureSpec)
            assert spec.part
            assert spec.part.name == "docs"
            averaged = number > 3 and key in arm.measured
            assert isinstance(spec.measured, AverageSpec) == averaged
    assert all(arm.real == arm.measured for arm in arms[:3])
    assert sum(bool(arm.real) for arm in arms[3:]) == 2
    assert base.real == ()
    assert "parameter averages rank like joint training" in found.questions[0].assumptions
    whole = [job for job in found.jobs if job.role is Role.HELDOUT]
    assert len(whole) == 2


def test_costs_are_of_what_is_trained_and_of_each_arm_alone(
    tmp_path: Path, home: Path, corpus: Path
) -> None:
    found = planned(tmp_path, home, corpus, mix(f"{ALONE}, {MIXED}"))
    trained = [job for job in found.jobs if job.kind in ("train", "state")]
    checks = sum(job.run_equivalents for job in trained if job.is_check)
    assert checks == pytest.approx(2 * 0.4)
    assert sum(job.run_equivalents for job in trained) - checks == pytest.approx(1 + 3 * 0.4)
    held = sum(job.run_equivalents for job in found.jobs if job.role is Role.HELDOUT)
    assert found.one_run_a_question == pytest.approx(1 + held + 7 * (1 + held))
    assert predict(found).memory > 0


def test_a_check_of_one_question_can_be_the_answer_of_another(
    tmp_path: Path, home: Path, corpus: Path
) -> None:
    one = mix("{code: 0.5, docs: 0.5}", "at: 60%, how: average, check: 1")
    other = mix("{code: 0.5, docs: 0.5}, {code: 1}", "at: 60%, how: fork", name="forked")
    for questions in ((one, other), (other, one)):
        found = planned(tmp_path, home, corpus, *questions)
        assert not of(found, Role.REAL)
        shared = [j for j in found.jobs if set(j.questions) == {"mix", "forked"} and j.seed == 1]
        assert not any(job.is_check for job in shared)
        kinds = [job.kind for job in shared]
        assert kinds.count("train") >= 2  # the mixture, and the expert on code


def test_old_jobs_keep_their_keys(tmp_path: Path, home: Path, corpus: Path) -> None:
    """Naming parts changes no run that does not mix them."""
    clip = "  - {id: clip, treatment: {change: {clip: 2}}}\n"
    named = planned(tmp_path, home, corpus, clip)
    parts = HEAD[HEAD.index("    parts") : HEAD.index("  model")]
    plain = planned(tmp_path, home, corpus, clip, head=HEAD.replace(parts, ""))
    assert [job.key for job in named.jobs] == [job.key for job in plain.jobs]
    assert named.hash == plain.hash


def test_a_mixture_of_the_recipe_is_the_trunks(tmp_path: Path, home: Path, corpus: Path) -> None:
    head = HEAD.replace("    parts:", "    mixture: {{code: 75%, docs: 25%}}\n    parts:")
    found = planned(tmp_path, home, corpus, mix("{code: 1}"), head=head)
    trunk, arm = of(found, Role.TRUNK)[0].spec, of(found, Role.ARM)[0].spec
    assert isinstance(trunk, TrainSpec)
    assert isinstance(arm, TrainSpec)
    assert trunk.mixture
    assert arm.mixture
    assert trunk.mixture.counts == (("code", 3), ("docs", 1))
    assert arm.mixture.counts == (("code", 1),)
    assert arm.mixture.parts == trunk.mixture.parts


@pytest.mark.parametrize(
    ("old", "new", "question", "message"),
    [
        (
            "docs: ['*/docs/*']",
            "docs: [deep/*, prose/*]",
            mix("{code: 1}"),
            "recipe.data.parts.docs[1]: found 'prose/*'; matches no document",
        ),
        (
            "code: code/*",
            "code: coda/*",
            mix("{code: 1}"),
            "recipe.data.parts.code: found 'coda/*'; matches no document",
        ),
        (
            "parts:",
            "parts:",
            mix("{code: 1}, {one: 1}"),
            "mixture[1]: found 'one'; the part 'one' has fewer training tokens than one sequence",
        ),
        (
            "parts:",
            "parts:",
            mix("{code: 1}", "outcome: heldout_loss/one"),
            "outcome: found 'heldout_loss/one'; no held-out document of the part 'one'",
        ),
    ],
)
def test_parts_that_do_not_hold_what_is_wanted_are_errors(
    tmp_path: Path, home: Path, corpus: Path, old: str, new: str, question: str, message: str
) -> None:
    head = HEAD.replace("      code:", "      one: /tiny.txt\n      code:")
    assert old in head
    assert message in refused(tmp_path, home, corpus, question, head=head.replace(old, new))


def test_all_documents_of_one_file_have_its_name(
    tmp_path: Path, home: Path, corpus: Path, documents_file: Path
) -> None:
    head = HEAD.replace("code: code/*", "code: code-*").replace("docs: ['*/docs/*']", "all: '*'")
    found = refused(tmp_path, home, documents_file, mix("{all: 1}"), head=head)
    assert "recipe.data.parts.code: found 'code-*'; matches no document" in found
    assert f"their names (1) are such as {documents_file.name!r}" in found


def test_another_order_of_arms_checks_the_same_way(
    tmp_path: Path, home: Path, corpus: Path
) -> None:
    """Which mixtures are checked is drawn by seed and question, the same at each planning."""
    labels = [
        [job.label for job in of(planned(tmp_path, home, corpus, question), Role.REAL)]
        for question in (mix(f"{ALONE}, {MIXED}"), mix(f"{ALONE}, {MIXED}"))
    ]
    assert labels[0] == labels[1]
    names = [mix(f"{ALONE}, {MIXED}", name=f"mix-{number}") for number in range(6)]
    drawn = [[j.label for j in of(planned(tmp_path, home, corpus, q), Role.REAL)] for q in names]
    assert any(one != other for one, other in pairwise(drawn))
