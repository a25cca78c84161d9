"""Arms that are predicted from smaller runs, or emulated by one: offers, jobs and costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.plan.studies import HEAD, MEMORY
from tests.plan.test_strategies import NO_PLAIN, cost, how, of, planned, refused
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.choose import choose, offers
from trainonce.plan.jobs import Reason, Role
from trainonce.plan.offers import Refusal, Refused
from trainonce.plan.plan import Plan
from trainonce.study.load import load
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec

LADDER = "ladder: [25%, 38%, 62.5%]"
SMALLER = "ladder: [30%, 65%, {width: 8, layers: 2, heads: 2}]"
WIDE = f"  - {{id: wide, treatment: {{change: {{model.width: 32}}}}, {LADDER}}}\n"
LONG = (
    f"  - {{id: long, treatment: {{change: {{model.width: 32, length: 640 steps}}}}, {LADDER}}}\n"
)
SMALL = "small: {width: 8, layers: 1, heads: 2}"
LATE = f"  - {{id: late, at: 60%, treatment: {{change: {{clip: [2, 3]}}}}, {SMALL}}}\n"


def refusal(tmp_path: Path, text: str, strategy: Strategy, head: str = HEAD) -> Refusal:
    file = tmp_path / "study.yaml"
    file.write_text(head.format(corpus="stdlib") + text)
    study = load(file)
    (found,) = (o for o in offers(study.questions[0], study.recipe) if o.strategy is strategy)
    assert isinstance(found, Refusal), found
    return found


def asking(change: str, more: str) -> str:
    return f"  - {{id: q, treatment: {{change: {change}}}, {more}}}\n"


NO_DECAY = HEAD.replace("  batch: 4\n", "  batch: 4\n  schedule: cosine\n")
LATE_WARM = HEAD.replace("  batch: 4\n", "  batch: 4\n  schedule: {{name: wsd, warmup: 20%}}\n")


@pytest.mark.parametrize(
    ("text", "code", "why", "head"),
    [
        (MEMORY, Refused.NO_LADDER, "`ladder: [25%, 35%, 50%, 70%]`", HEAD),
        (asking("{model.width: 32}", "how: fork"), Refused.NO_LADDER, "no smaller runs", HEAD),
        (
            asking("{model.width: 32, clip: 2}", LADDER),
            Refused.OTHER_CHANGE,
            "more than `model` and `length`",
            HEAD,
        ),
        (asking("{model.width: 12}", SMALLER), Refused.NOT_LARGER, "leads upwards", HEAD),
        (asking("{length: 640 steps}", SMALLER), Refused.SCHEDULE, "wsd with a decay", NO_DECAY),
        (asking("{length: 640 steps}", SMALLER), Refused.SCHEDULE, "a warm-up that", LATE_WARM),
        (
            asking("{model.width: 32}", "ladder: [25%, 38%, {width: 48, layers: 1, heads: 2}]"),
            Refused.NOT_SMALLER,
            "these are not: width 48",
            HEAD,
        ),
    ],
)
def test_extrapolation_is_refused_with_a_reason(
    tmp_path: Path, text: str, code: Refused, why: str, head: str
) -> None:
    found = refusal(tmp_path, text, Strategy.EXTRAPOLATE, head)
    assert found.code is code
    assert why in found.why


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        (MEMORY, Refused.NO_SMALL, "`small: {width: 32, layers: 2, heads: 2}`"),
        (asking("{clip: 2}", "at: 60%"), Refused.NO_SMALL, "names no small model"),
        (asking("{clip: 2}", SMALL), Refused.STARTS_AT_0, "`at: 60%`"),
        (
            asking("{clip: 2}", "at: 60%, small: nano"),
            Refused.NOT_SMALLER,
            "its small model (nano) is not smaller",
        ),
    ],
)
def test_emulation_is_refused_with_a_reason(
    tmp_path: Path, text: str, code: Refused, why: str
) -> None:
    found = refusal(tmp_path, text, Strategy.EMULATE)
    assert found.code is code
    assert why in found.why


def test_a_wish_that_is_refused_is_an_error_with_its_place(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    said = refused(tmp_path, home, documents_file, how(asking("{clip: 2}", SMALL), "emulate"))
    assert "study.yaml:10: questions[0].how: found 'emulate'; " in said
    assert "emulate is not: it acts from step 0" in said
    assert "extrapolate" not in said


def test_the_cheaper_way_is_taken(tmp_path: Path, home: Path, documents_file: Path) -> None:
    """Five eighths of a width cost about half of the arm, all three rungs more than a third."""
    tall = WIDE.replace("62.5%", "87.5%").replace("38%", "75%")
    chosen = [
        planned(tmp_path, home, documents_file, text, NO_PLAIN).questions[0].strategy
        for text in (WIDE, tall, LONG, WIDE.replace("id:", "not: extrapolate, id:"))
    ]
    extrapolate, replicate = Strategy.EXTRAPOLATE, Strategy.REPLICATE
    assert chosen == [extrapolate, replicate, extrapolate, replicate]
    forced = planned(tmp_path, home, documents_file, how(tall, "extrapolate"), NO_PLAIN)
    assert forced.questions[0].strategy is Strategy.EXTRAPOLATE


def test_emulation_is_taken_where_the_true_tuning_leaves_something_to_save(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    """It costs the small run and one seed's fork; with one seed, that is the whole fork."""

    def chosen(seeds: str) -> Strategy:
        file = tmp_path / "study.yaml"
        head = HEAD.replace("[1, 2]", seeds).replace("width: 16", "width: 64")
        file.write_text(head.format(corpus="stdlib") + LATE.replace("[2, 3]", "2"))
        return choose(load(file))["late"]

    assert chosen("[1]") is Strategy.FORK
    assert chosen("[1, 2, 3]") is Strategy.EMULATE


def ladder(found: Plan) -> list[TrainSpec]:
    specs = [job.spec for job in of(found, Role.RUNG) if job.seed == 1]
    assert all(isinstance(spec, TrainSpec) for spec in specs)
    return [spec for spec in specs if isinstance(spec, TrainSpec)]


def test_a_larger_model_is_predicted_from_sizes(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, WIDE, NO_PLAIN)
    assert not of(found, Role.ARM)
    rungs = ladder(found)
    widths = [8, 12, 20]
    assert [rung.model for rung in rungs] == [
        DecoderSettings(width=width, layers=1, heads=2) for width in widths
    ]
    trunk = next(job.spec for job in of(found, Role.TRUNK) if job.seed == 1)
    assert isinstance(trunk, TrainSpec)
    assert {replace(rung, model=trunk.model) for rung in rungs} == {trunk}
    assert {job.code for job in of(found, Role.RUNG)} == {Reason.LADDER}
    assert [job.label for job in of(found, Role.RUNG)][:2] == ["rung width 8", "rung width 12"]
    (question, _) = found.questions
    assert question.ladder is not None
    assert [point.tokens for point in question.ladder.points] == [160 * 4 * 64] * 4
    assert question.ladder.points[0].measured == question.arms[0].measured
    measured = {job.key for job in found.jobs if job.kind == "measure"}
    assert {key for point in question.ladder.points for key in point.measured} <= measured
    assert question.arms[1].measured == ()
    assert question.detectable_effect is None
    assert question.units == 8
    shown = found.to_json()["questions"][0]["ladder"]
    assert shown["parameters"] == question.ladder.parameters > shown["points"][-1]["parameters"]


def test_a_longer_run_is_predicted_from_lengths_too(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    """Each size leaves its own stable stretch; no rung is trained twice."""
    found = planned(tmp_path, home, documents_file, LONG, WIDE, NO_PLAIN)
    rungs = ladder(found)
    trunk = next(job.spec for job in of(found, Role.TRUNK) if job.seed == 1)
    whole = [rung for rung in rungs if rung.fork is None]
    assert len(whole) == 3  # shared by both questions
    parents = [rung.fork.parent for rung in rungs if rung.fork]
    assert len(parents) == 12
    assert {parent.key for parent in parents} == {trunk.key, *(rung.key for rung in whole)}
    assert {rung.fork.step for rung in rungs if rung.fork} == {30, 48, 78}
    assert {rung.train.steps for rung in rungs if rung.fork} == {40, 64, 104}
    own = [job for job in of(found, Role.RUNG) if job.questions == ("long",) and job.seed == 1]
    assert own[0].label == "the base run, 25% of the length"
    assert own[3].label == "rung width 8, 25% of the length"
    first, seen = found.questions[0], set[str]()
    assert first.ladder is not None
    assert first.ladder.lengths
    assert first.ladder.tokens == 640 * 4 * 64
    assert "Chinchilla" in first.assumptions[0]
    for job in found.jobs:
        assert set(job.parents) <= seen, job.reason
        seen.add(job.key)


def test_one_run_a_question_trains_the_arm(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    predicted = planned(tmp_path, home, documents_file, LONG, NO_PLAIN)
    trained = planned(tmp_path, home, documents_file, how(LONG, "replicate"), NO_PLAIN)
    assert predicted.one_run_a_question == pytest.approx(trained.one_run_a_question)
    assert predicted.run_equivalents < trained.run_equivalents
    emulated = planned(tmp_path, home, documents_file, how(LATE, "emulate"), NO_PLAIN)
    forked = planned(tmp_path, home, documents_file, how(LATE, "fork"), NO_PLAIN)
    assert emulated.one_run_a_question == pytest.approx(forked.one_run_a_question)


def test_a_longer_run_costs_more(tmp_path: Path, home: Path, documents_file: Path) -> None:
    long = "  - {id: long, treatment: {change: {length: 640 steps}}}\n"
    found = planned(tmp_path, home, documents_file, long, MEMORY, NO_PLAIN)
    assert cost(of(found, Role.ARM)) == pytest.approx(4)


def test_rungs_must_differ_in_parameters(tmp_path: Path, home: Path, documents_file: Path) -> None:
    alike = "{width: 8, layers: 1, heads: 1}, {width: 8, layers: 1, heads: 2}, 62.5%"
    text = WIDE.replace("25%, 38%, 62.5%", alike)
    said = refused(tmp_path, home, documents_file, text, NO_PLAIN)
    assert "questions[0].ladder: found " in said
    assert "3 rungs at least with different numbers of parameters" in said


def test_a_small_run_stands_in_for_the_large_one(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, how(LATE, "emulate"), MEMORY, NO_PLAIN)
    for seed in (1, 2):
        untuned, *tuned = (j.spec for j in of(found, Role.SMALL) if j.seed == seed)
        assert isinstance(untuned, TrainSpec)
        assert untuned.model == DecoderSettings(width=8, layers=1, heads=2)
        assert untuned.treatments == ()
        assert [
            spec.fork.parent for spec in tuned if isinstance(spec, TrainSpec) and spec.fork
        ] == [untuned] * 2
        trunk = next(job.spec for job in of(found, Role.TRUNK) if job.seed == seed)
        steered = [
            job
            for job in found.jobs
            if isinstance(job.spec, MeasureSpec) and job.spec.steered and job.seed == seed
        ]
        assert [job.parents for job in steered] == [
            (trunk.key, spec.key, untuned.key) for spec in tuned
        ]
        assert {job.code for job in steered} == {Reason.EMULATED}
        question = found.questions[0]
        assert [arm.measured[seed - 1] for arm in question.arms[1:]] == [j.key for j in steered]
    assert not of(found, Role.ARM)
    assert {job.label for job in of(found, Role.SMALL)} == {
        "small run",
        "small run, clip 2",
        "small run, clip 3",
    }


def test_one_true_tuning_is_a_check(tmp_path: Path, home: Path, documents_file: Path) -> None:
    found = planned(tmp_path, home, documents_file, how(LATE, "emulate"), NO_PLAIN)
    (real,) = of(found, Role.TUNING)
    assert (real.seed, real.label, real.is_check) == (1, "clip 3", True)
    assert isinstance(real.spec, TrainSpec)
    assert real.spec.fork
    assert real.spec.fork.step == 96
    assert found.questions[0].tuning in {job.key for job in found.jobs if job.is_check}
    read = sum(job.run_equivalents for job in found.jobs if job.role is Role.TUNING)
    assert found.checks_run_equivalents == pytest.approx(read)
    assert real.run_equivalents == pytest.approx(0.4 / 2)


def test_what_an_answer_rests_on_is_in_the_hash(
    tmp_path: Path, home: Path, documents_file: Path
) -> None:
    found = planned(tmp_path, home, documents_file, WIDE, NO_PLAIN)
    first = found.questions[0]
    assert first.ladder is not None
    other = replace(first, ladder=replace(first.ladder, tokens=1))
    assert replace(found, questions=(other, *found.questions[1:])).hash != found.hash
