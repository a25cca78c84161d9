"""A paper that says several things: each is a claim, and one study decides all of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trainonce.cli.app import app
from trainonce.papers import claims as ledger
from trainonce.papers import reproduce as reproducing
from trainonce.papers.claims import Claim, read_claims
from trainonce.papers.own import own_study
from trainonce.papers.reproduce import plan_claim, plan_papers, reproduce
from trainonce.papers.results import Result, is_stale
from trainonce.plan.plan import Plan
from trainonce.study.problems import StudyError
from trainonce.study.yaml_lines import parse

DIRECTIONS = """\
id: both-ways
title: Both Ways
authors: Nobody
year: 2020
site: study
budget: 5
directions:
  - id: more
    claim: More is remembered more.
    methods: [canaries]
    decides: canaries
    holds: higher
  - id: rare
    claim: Above all where it is rare.
    methods: [canaries]
    decides: canaries/rare
    against: canaries/random
    smallest_effect: 0.5
    holds: higher
    premise: [canaries]
  - id: forgotten
    claim: It is forgotten.
    methods: [canaries]
    decides: canaries
    against: [canaries@50%]
    smallest_effect: 0.5
    holds: lower
  - id: apart
    claim: The rest stays as it is.
    methods: []
    decides: heldout_loss
    smallest_effect: 0.01
    holds: unchanged
study:
  study: Both ways
  recipe:
    data: {corpus: CORPUS, tokenizer: {vocabulary: 300}, sequence: 16, heldout: 30%}
    model: {width: 16, layers: 1, heads: 2}
    length: 8 steps
    seeds: [1, 2]
    allow_changed: 50%
  questions:
    - id: canaries
      measure_at: [50%]
      treatment:
        {method: canaries, kinds: [rare, random], doses: [0, 2], items: 2, tokens: 6, prefix: 2}
      outcome: exposure
"""


def written(folder: Path, corpus: Path, text: str = DIRECTIONS) -> Path:
    file = folder / "both-ways.yaml"
    file.write_text(text.replace("CORPUS", str(corpus)))
    return file


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, documents_file: Path) -> tuple[Claim, ...]:
    return read_claims(written(tmp_path_factory.mktemp("claims"), documents_file))


@pytest.fixture(scope="module")
def results(found: tuple[Claim, ...], home: Path, here: None) -> list[Result]:
    return reproduce(found, home)


def test_a_paper_says_several_things_over_one_study(found: tuple[Claim, ...]) -> None:
    more, rare, forgotten, apart = found
    assert more.id == "both-ways-more"
    assert {one.paper for one in (more, rare, forgotten, apart)} == {"both-ways"}
    assert rare.document.value == more.document.value
    assert rare.against == ("canaries/random",)
    assert rare.premise == ("canaries",)
    assert [one.contrasts for one in (more, rare, forgotten, apart)] == [False, True, True, True]


def test_the_study_of_several_directions_is_planned_once(
    found: tuple[Claim, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[str] = []

    def plan(claim: Claim, home: Path, seeds: int | None, variant: str | None) -> Plan:
        planned.append(claim.id)
        return plan_claim(claim, home, seeds, variant)

    monkeypatch.setattr(reproducing, "plan_claim", plan)
    assert list(plan_papers(found, home)) == ["both-ways"]
    assert planned == ["both-ways-more"]


@pytest.mark.parametrize(
    ("find", "put", "message"),
    [
        ("against: canaries/random", "against: news", "rare.against.*no question of the study"),
        ("canaries@50%", "canaries@60%", "forgotten.against.*has no such `measure_at`"),
        ("[canaries]\n  - id: forgotten", "[news]\n  - id: forgotten", "rare.premise"),
        ("    smallest_effect: 0.5\n    holds: lower", "    holds: lower", "smallest_effect"),
        ("decides: canaries\n    holds: higher", "decides: canaries\n    holds: lower", "decrease"),
        ("holds: higher", "smallest_effect: 1\n    holds: higher", "stands with `against`, or"),
        ("study:\n  study", "study:\n  checks: {plain: false}\n  study", "must have a plain run"),
    ],
)
def test_a_direction_is_held_against_its_study(
    tmp_path: Path, documents_file: Path, home: Path, find: str, put: str, message: str
) -> None:
    assert find in DIRECTIONS
    text = DIRECTIONS.replace(find, put, 1)
    with pytest.raises(StudyError, match=message):
        plan_papers(read_claims(written(tmp_path, documents_file, text)), home)


@pytest.mark.parametrize(
    ("find", "put", "line", "message"),
    [
        ("id: rare", "id: more", 13, "stands twice"),
        ("holds: lower", "hold: lower", 27, "did you mean 'holds'"),
        ("methods: []", "methods: [canary]", 30, "no method has this name"),
        (
            "study:\n  study",
            "claim: It all is true.\nstudy:\n  study",
            34,
            "the file has no such key",
        ),
    ],
)
def test_what_is_wrong_with_a_direction_is_said_with_its_line(
    tmp_path: Path, documents_file: Path, find: str, put: str, line: int, message: str
) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        read_claims(written(tmp_path, documents_file, DIRECTIONS.replace(find, put, 1)))
    assert line in {problem.line for problem in caught.value.problems}


def test_each_direction_has_a_result_of_its_own(results: list[Result]) -> None:
    assert [one.id for one in results] == [
        "both-ways-more",
        "both-ways-rare",
        "both-ways-forgotten",
        "both-ways-apart",
    ]
    assert len({one.plan for one in results}) == 1
    assert len({one.study for one in results}) == len(results)


def test_a_result_keeps_what_its_direction_looked_at(results: list[Result]) -> None:
    more, rare, forgotten, apart = results
    assert [one.question for one in rare.others] == ["canaries", "canaries/rare", "canaries/random"]
    assert rare.decided.against == "canaries/random"
    _, own, other = rare.others
    assert None not in (rare.decided.effect, own.effect, other.effect)
    assert (rare.decided.arm, rare.decided.base) == (own.effect, other.effect)
    assert forgotten.decided.against == "canaries@50%"
    assert more.others == apart.others == ()
    assert apart.decided.question == "heldout_loss"
    assert apart.decided.low is not None


def test_a_direction_is_stale_when_its_own_rule_changes(
    found: tuple[Claim, ...], results: list[Result]
) -> None:
    for claim, result in zip(found, results, strict=True):
        assert not is_stale(claim, result)
        assert is_stale(replace(claim, holds="not lower"), result)
        if claim.contrasts:
            assert is_stale(replace(claim, smallest=0.2), result)


def test_its_directions_are_told_with_the_study(found: tuple[Claim, ...], tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(own_study(found))
    assert parse(file).value == found[0].document.value
    for claim in found:
        assert f"# {claim.decides[0]}: {claim.says}\n" in file.read_text().replace(
            "# Both Ways (2020) says: ", "# "
        )


def test_a_papers_name_stands_for_its_directions(
    found: tuple[Claim, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "claims", lambda: {one.id: one for one in found})
    told = CliRunner().invoke(app, ["papers", "both-ways", "--json"])
    assert [one["id"] for one in json.loads(told.stdout)] == [one.id for one in found]
    alone = CliRunner().invoke(app, ["papers", "both-ways-rare"]).stdout
    assert "canaries/rare must be higher than canaries/random" in alone
    assert "reproduce both-ways-rare" in alone
