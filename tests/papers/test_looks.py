from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats

from trainonce.analysis.answers import (
    Answer,
    Answers,
    Change,
    DoseAnswer,
    Group,
    OutcomeAnswer,
    StepAnswer,
)
from trainonce.analysis.detection import Detection
from trainonce.analysis.effects import Estimate
from trainonce.analysis.verdicts import Verdict
from trainonce.methods.registry import methods
from trainonce.papers.looks import (
    Found,
    Look,
    contrast,
    corrected,
    find,
    find_beside,
    looked_at,
    told_beside,
)
from trainonce.sites import Unit
from trainonce.study.load import placebo

HALF = 0.2


def doses(effect: float) -> tuple[DoseAnswer, ...]:
    """Thirty items at dose 0 and dose 4."""
    return tuple(
        DoseAnswer(
            dose=dose,
            mean=1 + gained,
            low=0.9 + gained,
            high=1.1 + gained,
            units=30,
            effect=gained,
            effect_low=gained - HALF,
            effect_high=gained + HALF,
        )
        for dose, gained in ((0, 0.0), (4, effect))
    )


def answered(name: str, effect: float, reason: str = "") -> Answer:
    return Answer(
        question=name,
        ask=f"What of {name}?",
        method="canaries",
        paper=None,
        verdict=Verdict.YES,
        decided=OutcomeAnswer(
            outcome="exposure",
            says="",
            estimate=effect,
            low=effect - HALF,
            high=effect + HALF,
            p=0.001,
            doses=doses(effect),
            over_steps=tuple(
                StepAnswer(
                    step=step,
                    estimate=now,
                    low=now - HALF,
                    high=now + HALF,
                    doses=doses(now),
                )
                for step, now in ((224, 1.5), (800, effect))
            ),
        ),
        others=(),
        p_adjusted=0.002,
        direction=1,
        smallest=0.1,
        unit=Unit.ITEM,
        units=60,
        strategy="multiplex",
        run_equivalents=0.0,
        kinds=(
            Group(name="rare", estimate=1.2, low=1.0, high=1.4, units=40),
            Group(name="2 operations", estimate=0.05, low=-0.1, high=0.2, units=40),
        ),
        seeds=(),
        plain=None,
        assumptions=(),
        reason=reason,
        changes=(
            Change(
                outcome="ascent_retained",
                says="what it cost",
                doses=(1,),
                estimate=-0.3,
                low=-0.4,
                high=-0.2,
                p=0.9,
                units=15,
            ),
        ),
        detections=(
            Detection(
                outcome="ascent_min_k",
                auc=0.9,
                low=0.8,
                high=0.95,
                found=0.5,
                found_low=0.3,
                found_high=0.7,
                members=15,
                others=12,
                roc=(),
                leak=Estimate(-0.8, -0.9, -0.6),
            ),
        ),
    )


def study(*names: str, reason: str = "") -> Answers:
    return Answers(
        study="",
        plan_hash="",
        answers=tuple(answered(name, 0.4, reason) for name in (*names, "aa")),
        heldout_loss=3.015,
        heldout_loss_plain=3.0,
        heldout_change=Estimate(0.005, 0.002, 0.008),
        run_equivalents=1.0,
        checks_run_equivalents=1.0,
        one_run_a_question=2.0,
        changed_share=0.01,
        seeds=(1, 2),
        tokens=100,
        curves=(),
        hardware=(),
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("moment", Look(question="moment")),
        ("moment@28%", Look(question="moment", at=0.28)),
        ("sums/2 operations", Look(question="sums", kind="2 operations")),
        ("news!ascent_min_k", Look(question="news", outcome="ascent_min_k")),
        ("long:sums/a:b!", Look(question="sums", kind="a:b!", variant="long")),
        ("long:moment@28%", Look(question="moment", at=0.28, variant="long")),
        ("long:heldout_loss", Look(question="heldout_loss", variant="long")),
        ("@", Look(question="@")),
        ("long:", Look(question="long:")),
    ],
)
def test_names_are_taken_apart(name: str, look: Look) -> None:
    assert looked_at(name) == look


def test_a_question_is_found_as_it_was_answered() -> None:
    found = find("one", study("one", "other"))
    assert (found.effect, found.low, found.verdict, found.p_adjusted) == (0.4, 0.2, "yes", 0.002)
    assert (found.base, found.arm, found.units) == (1.0, 1.4, 60)


def test_a_kind_and_a_share_of_the_run_have_effects_of_their_own() -> None:
    answers = study("one", "other")
    rare, early = find("one/rare", answers), find("one@28%", answers)
    assert (rare.effect, rare.units, rare.verdict, rare.base) == (1.2, 20, "yes", None)
    assert (early.effect, early.units, early.arm) == (1.5, 30, 2.5)
    assert find("one/2 operations", answers).verdict == "cannot tell"
    with pytest.raises(KeyError, match="rare, 2 operations"):
        find("one/common", answers)


def test_a_normal_intervals_p_is_that_of_its_normal_test() -> None:
    error = 0.3 / stats.norm.ppf(0.975)
    two = study("one", "other")
    for value in (0.5, -0.5):
        p = 2 * stats.norm.sf(0.5 / error)
        told = corrected(Estimate(value, value - 0.3, value + 0.3), two)
        assert told == pytest.approx(2 * p)  # two questions; the A/A question is none
    assert corrected(Estimate(0.3, 0.0, 0.9), two) == pytest.approx(0.1)
    assert corrected(Estimate(0.0, -0.1, 0.1), two) == 1.0


def test_a_difference_has_the_interval_of_two_independent_effects() -> None:
    answers = study("one")
    found = contrast(find("one@28%", answers), [find("one", answers)], 1, 0.3, answers)
    assert found.effect == pytest.approx(1.1)
    assert found.low == pytest.approx(1.1 - math.hypot(HALF, HALF))
    assert found.high == pytest.approx(1.1 + math.hypot(HALF, HALF))
    assert (found.against, found.base, found.arm) == ("one", 0.4, 1.5)
    assert (found.verdict, found.smallest, found.units) == ("yes", 0.3, 30)


def beside(effect: float, half: float) -> Found:
    answers = study("one")
    other = find("one", answers)
    return Found(
        **{**vars(other), "question": f"at {effect}", "effect": effect}
        | {"low": effect - half, "high": effect + half}
    )


@pytest.mark.parametrize(
    ("others", "verdict", "nearest"),
    [
        ([(0.4, 0.2), (0.6, 0.2)], "yes", "at 0.6"),
        ([(0.4, 0.2), (0.2, 2.0)], "cannot tell", "at 0.2"),
        ([(0.4, 0.2), (1.5, 0.2), (0.9, 2.0)], "no", "at 1.5"),
    ],
)
def test_to_be_above_all_is_to_be_above_each(
    others: list[tuple[float, float]], verdict: str, nearest: str
) -> None:
    answers = study("one")
    sides = [beside(*one) for one in others]
    found = contrast(find("one@28%", answers), sides, 1, 0.3, answers)
    assert (found.verdict, found.against) == (verdict, nearest)


def test_what_did_not_hold_of_one_side_is_kept() -> None:
    answers = study("one", reason="It would be yes, but did not hold: A/A.")
    found = contrast(find("one/rare", answers), [find("one", answers)], 1, 0.3, answers)
    assert found.reason


def test_the_held_out_loss_is_beside_the_plain_runs() -> None:
    answers = study("one")
    within, beyond = (find_beside("heldout_loss", 0, margin, answers) for margin in (0.01, 0.001))
    assert (within.effect, within.low, within.high) == (0.005, 0.002, 0.008)
    assert (within.base, within.arm) == (3.0, 3.015)
    assert (within.verdict, beyond.verdict) == ("no", "yes")


def test_a_variant_is_found_in_its_own_answers_under_its_own_name() -> None:
    found = find("long:one/rare", study("one"))
    assert (found.question, found.effect) == ("long:one/rare", 1.2)
    assert find("long:one", study("one")).question == "long:one"


def test_what_was_changed_is_judged_by_the_rule_with_the_claims_own_smallest_effect() -> None:
    answers = study("one", "other")
    lower, higher = (find_beside("one!ascent_retained", way, 0.1, answers) for way in (-1, 1))
    assert (lower.effect, lower.low, lower.high, lower.units) == (-0.3, -0.4, -0.2, 15)
    assert (lower.verdict, higher.verdict) == ("yes", "no")
    assert lower.p_adjusted == corrected(Estimate(-0.3, -0.4, -0.2), answers)  # not the change's p
    assert (lower.outcome, lower.ask, lower.smallest) == ("ascent_retained", "What it cost.", 0.1)
    assert find_beside("one!ascent_retained", -1, 0.1, study("one", reason="A/A")).reason == "A/A"


def test_leakage_is_told_of_a_score() -> None:
    found = find_beside("one!ascent_min_k", 0, 0.05, study("one"))
    assert (found.effect, found.low, found.high, found.units) == (-0.8, -0.9, -0.6, 12)
    assert (found.verdict, found.outcome) == ("yes", "privacy leakage by ascent_min_k")


def test_what_is_told_beside_an_answer_is_what_its_probe_changes_and_what_leaks() -> None:
    news = replace(placebo(), method=methods()["news"])
    told = told_beside(news)
    assert {"preference_forgotten", "ascent_retained", "difference_heldout"} < {*told}
    assert {"before_min_k", "ascent_min_k"} < {*told}
    assert not {"before_loss", "ascent_extraction"} & {*told}
    assert told_beside(replace(news, method=methods()["passages"])) == ()


def test_the_same_items_are_compared_with_themselves() -> None:
    answers = study("one")
    pairs = {"one": Estimate(1.1, 1.0, 1.2)}
    found = contrast(find("long:one@28%", answers), [find("one", answers)], 1, 0.3, answers, pairs)
    assert (found.effect, found.low, found.high) == (1.1, 1.0, 1.2)
    assert (found.base, found.arm, found.against) == (0.4, 1.5, "one")
    assert (
        found.p_adjusted
        < contrast(find("one@28%", answers), [find("one", answers)], 1, 0.3, answers).p_adjusted
    )
