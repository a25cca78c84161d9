from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.papers.test_claims import CLAIM, written
from trainonce.analysis.answering import answer
from trainonce.analysis.answers import Answer
from trainonce.analysis.verdicts import Verdict
from trainonce.analysis.verdicts import verdict as judged
from trainonce.papers.claims import EXPECTED, Claim, Holds, read_claims
from trainonce.papers.looks import Found
from trainonce.papers.reproduce import plan_claim, reproduce, together
from trainonce.papers.results import Result, is_stale, kept
from trainonce.papers.verdicts import Decision, decide, weakest


@pytest.fixture(scope="module")
def claim(tmp_path_factory: pytest.TempPathFactory) -> Claim:
    (found,) = read_claims(written(tmp_path_factory.mktemp("claims")))
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def result(claim: Claim, home: Path) -> Result:
    (found,) = reproduce([claim], home, workers=1)
    return found


@pytest.fixture(scope="module")
def answered(result: Result, claim: Claim, home: Path) -> Answer:
    return answer(plan_claim(claim, home)).answers[0]


def test_a_verdict_is_computed_from_the_answer(result: Result, answered: Answer) -> None:
    assert result.verdict is Decision.HOLDS
    assert result.decided.effect == answered.decided.estimate
    assert result.decided.low == answered.decided.low > 0
    assert result.seeds == (0, 1, 2)
    assert result.decided.units == 3


def test_a_result_is_kept_as_it_is(result: Result, claim: Claim, tmp_path: Path) -> None:
    file = result.write(tmp_path)
    assert json.loads(file.read_text())["verdict"] == "holds"
    assert kept(claim, tmp_path) == result
    assert not is_stale(claim, result)


def test_a_result_is_stale_when_its_study_changes(result: Result, tmp_path: Path) -> None:
    (other,) = read_claims(written(tmp_path, CLAIM.replace("steps: 60", "steps: 61")))
    assert is_stale(other, result)
    (noted,) = read_claims(written(tmp_path, f"{CLAIM}note: what it means\n"))
    assert not is_stale(noted, result)


def test_other_seeds_are_other_trials(claim: Claim, home: Path) -> None:
    three, five = plan_claim(claim, home), plan_claim(claim, home, seeds=5)
    assert five.seeds == (0, 1, 2, 3, 4)
    assert {job.key for job in three.jobs} < {job.key for job in five.jobs}


def test_claims_share_trials(claim: Claim, home: Path, tmp_path: Path) -> None:
    (other,) = read_claims(written(tmp_path, CLAIM.replace("steps: 60", "steps: 30")))
    plans = {"one": plan_claim(claim, home), "other": plan_claim(other, home)}
    whole = together(plans)
    assert len(whole.jobs) == 3 * 3
    shared = [job for job in whole.jobs if len(job.questions) == 2]
    assert {job.questions for job in shared} == {("one/longer", "other/longer")}
    assert len(shared) == 3


def moved(found: Found, low: float, high: float) -> Found:
    return replace(found, effect=(low + high) / 2, low=low, high=high, smallest=0.1)


@pytest.mark.parametrize(
    ("holds", "low", "high", "expected"),
    [
        ("not lower", -0.05, 0.3, Decision.HOLDS),
        ("not lower", -0.15, 0.3, Decision.CANNOT_TELL),
        ("not lower", -0.15, -0.12, Decision.FAILS),
        ("not lower", -0.15, -0.05, Decision.CANNOT_TELL),
        ("not higher", -0.3, 0.05, Decision.HOLDS),
        ("not higher", 0.12, 0.15, Decision.FAILS),
        ("not higher", 0.05, 0.15, Decision.CANNOT_TELL),
        ("unchanged", -0.09, 0.05, Decision.HOLDS),
        ("unchanged", -0.15, -0.12, Decision.FAILS),
        ("unchanged", 0.1, 0.3, Decision.FAILS),
        ("unchanged", -0.05, 0.15, Decision.CANNOT_TELL),
    ],
)
def test_no_loss_is_held_against_the_margin(
    result: Result, holds: Holds, low: float, high: float, expected: Decision
) -> None:
    assert decide(holds, moved(result.decided, low, high), []) is expected


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.YES, Decision.HOLDS),
        (Verdict.NO, Decision.FAILS),
        (Verdict.CANNOT_TELL, Decision.CANNOT_TELL),
    ],
)
def test_a_claim_of_more_is_decided_as_its_question_is(
    result: Result, verdict: Verdict, expected: Decision
) -> None:
    found = replace(result.decided, verdict=verdict.value)
    assert decide("higher", found, []) is decide("changed", found, []) is expected


@pytest.mark.parametrize(
    ("holds", "intervals", "least"),
    [
        ("higher", [(0.3, 0.5), (0.2, 0.4), (0.4, 0.6)], 1),
        ("higher", [(0.3, 0.5), (-0.1, 0.9), (0.4, 0.6)], 1),
        ("higher", [(-0.1, 0.9), (-0.05, 0.05), (-0.3, -0.2)], 2),
        ("lower", [(-0.5, -0.3), (-0.4, -0.2)], 1),
        ("changed", [(-0.9, -0.7), (0.2, 0.4)], 1),
        ("unchanged", [(-0.05, 0.05), (-0.08, 0.04), (-0.01, 0.01)], 1),
        ("not higher", [(-0.5, -0.3), (0.12, 0.2), (-0.2, 0.2)], 1),
        ("not lower", [(-0.08, 0.0), (0.5, 0.9)], 0),
    ],
)
def test_of_several_effects_the_least_sure_is_told(
    result: Result, holds: Holds, intervals: list[tuple[float, float]], least: int
) -> None:
    """Fails before cannot tell before holds, and of those alike the nearest to failing."""
    founds = []
    for low, high in intervals:
        found = moved(result.decided, low, high)
        way = EXPECTED[holds]
        estimate = found.estimate
        founds.append(
            replace(found, verdict=judged(estimate, 0.001, way, found.smallest, units=99).value)
        )
    assert weakest(holds, founds) is founds[least]
    assert weakest(holds, founds[::-1]) is founds[least]


def test_nothing_is_decided_where_a_premise_is_not_met(result: Result) -> None:
    met = result.decided
    unmet = replace(met, verdict=Verdict.CANNOT_TELL.value)
    assert decide("higher", met, [met]) is Decision.HOLDS
    assert decide("higher", met, [met, unmet]) is Decision.NOT_AT_THIS_SCALE


def test_a_test_that_did_not_hold_leaves_it_open(result: Result) -> None:
    failed = replace(
        result.decided, reason="It would be yes, but did not hold: leave one seed out."
    )
    assert decide("not lower", failed, []) is Decision.CANNOT_TELL
    assert decide("higher", failed, []) is Decision.CANNOT_TELL
