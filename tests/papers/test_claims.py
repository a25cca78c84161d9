from __future__ import annotations

from pathlib import Path

import pytest

from trainonce.methods.registry import methods
from trainonce.papers.claims import claims, claims_named, read_claims
from trainonce.papers.reproduce import plan_claim, plan_papers
from trainonce.papers.results import RESULTS, kept
from trainonce.sites import Unit
from trainonce.study.problems import StudyError

CLAIM = """\
id: more-steps
title: More Steps
authors: Nobody
year: 2020
arxiv: '2001.00001'
site: optimizer
methods: [adamw]
claim: More steps classify better.
decides: longer
holds: higher
budget: 5
study:
  study: Do more steps help?
  recipe: {task: images, seeds: 3, steps: 4, train: 200, model: linear}
  questions:
    - {id: longer, treatment: {change: {steps: 60}}, smallest_effect: 0.02}
"""


def written(folder: Path, text: str = CLAIM) -> Path:
    file = folder / "more-steps.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("find", "put", "line", "message"),
    [
        ("id: more-steps", "id: others", 1, "the file's name"),
        ("year: 2020", "year: 2020\nyaer: 1", 5, "did you mean 'year'"),
        ("[adamw]", "[adam]", 7, "no method has this name"),
        ("holds: higher", "holds: up", 10, "input should be"),
        ("'2001.00001'", "hep-th/1", 5, "pattern"),
    ],
)
def test_what_is_wrong_with_a_claim_is_said_with_its_line(
    tmp_path: Path, find: str, put: str, line: int, message: str
) -> None:
    with pytest.raises(StudyError) as caught:
        read_claims(written(tmp_path, CLAIM.replace(find, put)))
    problem = caught.value.problems[0]
    assert problem.line == line, str(problem)
    assert message in str(problem)


@pytest.mark.parametrize(
    ("find", "put", "message"),
    [
        ("decides: longer", "decides: shorter", "no question of the study"),
        ("holds: higher", "holds: lower", "must expect: decrease"),
        ("steps: 60}", "stesp: 60}", "did you mean 'steps'"),
        ("holds: higher", "holds: higher\npremise: [learns]", "no question of the study"),
    ],
)
def test_a_claim_is_held_against_its_study(
    tmp_path: Path, find: str, put: str, message: str
) -> None:
    (claim,) = read_claims(written(tmp_path, CLAIM.replace(find, put)))
    with pytest.raises(StudyError, match=message):
        plan_claim(claim, tmp_path / "home")


def test_a_problem_of_its_study_names_the_line_of_the_file(tmp_path: Path) -> None:
    (claim,) = read_claims(written(tmp_path, CLAIM.replace("steps: 60}", "stesp: 60}")))
    with pytest.raises(StudyError) as caught:
        plan_claim(claim, tmp_path / "home")
    assert caught.value.problems[0].line == 16


def test_a_papers_name_stands_for_all_it_says() -> None:
    several = [one for one in claims().values() if not one.alone]
    assert several
    for one in several:
        assert one in claims_named(one.paper)
        assert claims_named(one.id) == (one,)
    assert claims_named("nothing") == ()


@pytest.mark.parametrize("paper", sorted({claim.paper for claim in claims().values()}))
def test_every_claim_of_the_ledger_can_be_planned(paper: str, home: Path) -> None:
    found = claims_named(paper)
    planned = plan_papers(found, home)[paper]
    assert planned.jobs
    of_runs = [one for one in planned.questions if one.question.unit is Unit.RUN]
    assert len(planned.seeds) >= (3 if of_runs else 2), "an interval over two pairs tells nothing"
    for claim in found:
        leads = claim.methods[:1] if claim.alone else ()  # a direction may need another's method
        assert all(methods()[method].paper in (claim.arxiv, None) for method in leads)


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_every_result_is_that_of_a_claim(file: Path) -> None:
    claim = claims()[file.stem]
    result = kept(claim)
    assert result is not None
    assert result.id == claim.id
    assert result.decided.question in claim.decides
    assert result.seconds > 0
