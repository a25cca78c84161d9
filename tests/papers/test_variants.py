"""Claims that look at a study with other keys in its recipe, and at what is told beside answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from trainonce.analysis.effects import effect
from trainonce.analysis.pairs import measured
from trainonce.analysis.samples import sample_of
from trainonce.cli.app import app
from trainonce.papers import claims as ledger
from trainonce.papers.claims import Claim, read_claims
from trainonce.papers.own import own_study
from trainonce.papers.reproduce import plan_papers, reproduce
from trainonce.papers.results import Result, is_stale
from trainonce.study.problems import StudyError
from trainonce.study.yaml_lines import parse

PAPER = """\
id: thinner
title: Thinner
authors: Nobody
year: 2020
site: study
budget: 5
directions:
  - id: diluted
    claim: Passages are remembered less in a longer run.
    methods: [passages]
    decides: long:passages
    against: passages
    smallest_effect: 0.1
    holds: higher
    premise: [passages]
  - id: forgotten
    claim: Unlearning removes news in each of two ways.
    methods: [news]
    decides: [long:news!ascent_forgotten, long:news!preference_forgotten]
    smallest_effect: 0.1
    holds: lower
  - id: betrayed
    claim: They are told from others after it.
    methods: [news]
    decides: news!ascent_min_k
    smallest_effect: 0.05
    holds: changed
study:
  study: Thinner
  recipe:
    data: {corpus: CORPUS, tokenizer: {vocabulary: 300}, sequence: 24, heldout: 10%}
    model: {width: 16, layers: 1, heads: 2}
    batch: 8
    length: 12 steps
    seeds: [1]
    allow_changed: 90%
  questions:
    - id: passages
      treatment: {method: passages, doses: [0, 4], items: 2, tokens: 6}
      outcome: loss
    - id: news
      lane: 1
      expect: increase
      treatment: {method: news, items: 2, tokens: 12, copies: 2, epochs: 1}
      outcome: before_extraction
  checks: {plain: false}
variants:
  long:
    recipe:
      length: 24 steps
"""


def written(folder: Path, corpus: Path, find: str = "", put: str = "") -> Path:
    assert find in PAPER
    text = PAPER.replace(find, put, 1) if find else PAPER
    file = folder / "thinner.yaml"
    file.write_text(text.replace("CORPUS", str(corpus)))
    return file


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, documents_file: Path) -> tuple[Claim, ...]:
    return read_claims(written(tmp_path_factory.mktemp("claims"), documents_file))


@pytest.fixture(scope="module")
def results(found: tuple[Claim, ...], home: Path, here: None) -> list[Result]:
    return reproduce(found, home)


def test_a_variant_is_the_study_with_other_keys(found: tuple[Claim, ...]) -> None:
    diluted = found[0]
    recipe = diluted.document.value["recipe"]
    long = diluted.study("long").value
    assert long["recipe"] == {**recipe, "length": "24 steps"}
    assert long["questions"] == diluted.document.value["questions"]
    assert diluted.study(None) is diluted.document
    assert [one.studied for one in found] == [("long", None), ("long",), (None,)]


def test_only_the_studies_that_claims_look_at_are_planned(
    found: tuple[Claim, ...], home: Path
) -> None:
    diluted, forgotten, betrayed = found
    assert list(plan_papers(found, home)) == ["thinner:long", "thinner"]
    assert list(plan_papers([betrayed], home)) == ["thinner"]
    (plan,) = plan_papers([forgotten], home).values()
    assert plan.study == "Thinner, long"
    both = plan_papers([diluted], home)
    assert both["thinner:long"].tokens == 2 * both["thinner"].tokens


def test_items_are_compared_with_themselves(
    found: tuple[Claim, ...], results: list[Result], home: Path
) -> None:
    diluted, decided = found[0], results[0].decided
    plans = plan_papers([diluted], home)
    outcome = next(
        planned.question.outcome
        for planned in plans["thinner"].questions
        if planned.question.id == "passages"
    )
    long, short = (
        measured(plans[name], "passages", outcome).sort("seed", "unit")
        for name in ("thinner:long", "thinner")
    )
    assert long["dose"].to_list() == short["dose"].to_list()
    moved = sample_of(long.with_columns(value=pl.col("value") - short["value"]), outcome)
    own = effect(
        *(replace(moved.of(dose), low=-float("inf"), high=float("inf")) for dose in (4, 0))
    )
    assert (decided.effect, decided.low, decided.high) == pytest.approx(
        (own.value, own.low, own.high)
    )
    assert (decided.question, decided.against) == ("long:passages", "passages")
    assert [one.question for one in results[0].others] == ["passages", "long:passages"]
    assert decided.effect == pytest.approx(
        (results[0].others[1].effect or 0) - (results[0].others[0].effect or 0)
    )


def test_of_several_deciding_effects_the_weakest_is_told(results: list[Result]) -> None:
    forgotten, betrayed = results[1:]
    told = {one.question: one for one in (forgotten.decided, *forgotten.others)}
    assert set(told) == {"long:news!ascent_forgotten", "long:news!preference_forgotten"}
    assert forgotten.decided.effect == max(one.effect or 0 for one in told.values())
    assert betrayed.decided.outcome == "privacy leakage by ascent_min_k"
    assert betrayed.others == ()


def test_a_result_is_stale_when_its_variant_changes(
    found: tuple[Claim, ...], results: list[Result], tmp_path: Path, documents_file: Path
) -> None:
    file = written(tmp_path, documents_file, "24 steps", "25 steps")
    stale = [is_stale(one, result) for one, result in zip(read_claims(file), results, strict=True)]
    assert stale == [True, True, False]
    assert not any(is_stale(one, result) for one, result in zip(found, results, strict=True))


@pytest.mark.parametrize(
    ("find", "put", "line", "message"),
    [
        ("long:news!ascent_forgotten, ", "long:nws!ascent, ", 19, "no question of the study"),
        (
            "news!ascent_min_k",
            "news!ascent_mink",
            25,
            "not told beside the answer to news: did you mean 'ascent_min_k'",
        ),
        ("news!ascent_min_k", "passages!loss", 25, "beside the answer to passages: nothing is"),
        ("premise: [passages]", "premise: [news!ascent_min_k]", 15, "can only decide"),
        ("against: passages", "against: [news!ascent_min_k]", 12, "can only decide"),
        ("long:news!ascent_forgotten", "passages", 19, "do not decide together"),
        (
            "decides: news!ascent_min_k",
            "decides: news!ascent_min_k\n    against: passages",
            25,
            "leave `against` out",
        ),
        ("smallest_effect: 0.05\n    ", "", 23, "is missing"),
        ("length: 24 steps", "lenght: 24 steps", 50, "recipe.lenght: .*did you mean 'length'"),
        ("length: 24 steps", "length: 24 parsecs", 50, "recipe.length: found '24 parsecs'"),
        ("length: 24 steps", "length: 1 steps", 42, "or train longer"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, documents_file: Path, home: Path, find: str, put: str, line: int, message: str
) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        plan_papers(read_claims(written(tmp_path, documents_file, find, put)), home)
    assert caught.value.problems[0].file.name == "thinner.yaml"
    assert caught.value.problems[0].line == line


@pytest.mark.parametrize(
    ("find", "put", "line", "message"),
    [
        ("    recipe:\n      length: 24 steps", "    recipe: {}", 49, "at least 1 item"),
        ("    recipe:\n", "    data: {}\n    recipe:\n", 49, "long has no such key; one of recipe"),
        ("decides: long:", "decides: lnog:", 11, "no variant of the study: did you mean 'long'"),
        ("variants:\n  long:\n    recipe:\n      length: 24 steps", "", 11, "there are none"),
        ("  long:\n    recipe", "  Long Run:\n    recipe", 48, "pattern"),
        ("decides: news!ascent_min_k", "decides: []", 25, "at least 1 item"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_when_it_is_read(
    tmp_path: Path, documents_file: Path, find: str, put: str, line: int, message: str
) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        read_claims(written(tmp_path, documents_file, find, put))
    assert caught.value.problems[0].line == line


def test_a_variant_is_told_with_the_study(found: tuple[Claim, ...], tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(own_study(found))
    assert parse(file).value == found[0].document.value
    assert "# long: this study with {recipe: {length: 24 steps}}\n" in file.read_text()


def test_it_is_planned_and_shown_as_others_are(
    found: tuple[Claim, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "claims", lambda: {one.id: one for one in found})
    monkeypatch.setenv("TRAINONCE_HOME", str(home))
    run = CliRunner().invoke
    planned = run(app, ["reproduce", "thinner", "--plan"]).stdout
    assert planned.startswith("Thinner, long")
    assert "\nThinner\n" in planned
    assert json.loads(run(app, ["reproduce", "--all", "--plan", "--json"]).stdout)["jobs"]
    shown = " ".join(run(app, ["papers", "thinner-diluted"]).stdout.split())
    assert "long:passages must be higher than passages" in shown
    shown = " ".join(run(app, ["papers", "thinner-forgotten"]).stdout.split())
    assert (
        "each of long:news!ascent_forgotten, long:news!preference_forgotten must be lower" in shown
    )
