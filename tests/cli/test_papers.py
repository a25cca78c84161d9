from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.papers.test_claims import written
from trainonce.cli.app import app
from trainonce.papers import claims as ledger
from trainonce.papers import reproduce as reproducing
from trainonce.papers import results
from trainonce.report.ledger import over_budget


@pytest.fixture
def one_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (claim,) = ledger.read_claims(written(folder))
    monkeypatch.setattr(ledger, "claims", lambda: {claim.id: claim})
    monkeypatch.setattr(results.kept, "__defaults__", (folder / "results",))
    monkeypatch.setenv("TRAINONCE_HOME", str(tmp_path / "home"))
    return folder


def called(*words: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, [*words])
    return found.exit_code, found.stdout, found.stderr


def test_a_claim_is_listed_planned_re_tested_and_shown(one_claim: Path) -> None:
    code, out, _ = called("papers")
    assert code == 0
    assert "more-steps" in out
    assert "not re-tested" in out
    code, out, _ = called("reproduce", "more-steps", "--plan")
    assert code == 0
    assert "images with the recipe, seed 0" in out
    code, out, err = called(
        "reproduce", "--all", "--workers", "1", "--out", str(one_claim / "results")
    )
    assert code == 0, err
    assert "Holds" in out
    code, out, _ = called("papers", "--json")
    (row,) = json.loads(out)
    assert row["verdict"] == "holds"
    assert {"id", "title", "arxiv", "method", "site", "claim", "effect", "low", "high"} <= set(row)
    assert row["low"] > 0
    assert "Holds" in called("papers", "more-steps")[1]


def test_a_study_over_its_budget_is_told_in_the_end(
    one_claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Budgets are of two cores, and what jobs took is told as if one after another."""
    code, _, err = called("reproduce", "more-steps", "--workers", "1")
    assert code == 0
    assert "longer" not in err
    (claim,) = ledger.claims().values()
    (result,) = reproducing.reproduce([claim], one_claim.parent / "home", workers=1)
    assert over_budget(claim, replace(result, budget=result.seconds / 2)) is None
    over = replace(result, seconds=12.0, budget=5.9, clock="wall")
    told = "more-steps took longer than its budget of 6 s on two cores: 12 s by the clock"
    assert over_budget(claim, over) == told
    monkeypatch.setattr(ledger, "claims", lambda: {claim.id: replace(claim, budget=1e-3)})
    code, out, err = called("reproduce", "more-steps", "--workers", "1", "--json")
    assert code == 0
    assert json.loads(out)
    assert "more-steps took longer than its budget of 0 s on two cores" in err


def test_a_claim_whose_package_is_missing_is_left_out_and_told(
    one_claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproducing, "installed", lambda name: "" if name == "mlxtend" else "1")
    code, _, err = called("reproduce", "--all")
    assert code == 2
    assert "more-steps is left out: not installed: mlxtend" in err


def test_a_name_that_is_no_claim_is_told(one_claim: Path) -> None:
    code, _, err = called("reproduce", "more-stesp")
    assert code == 2
    assert "did you mean 'more-steps'" in err


def test_claims_are_named_or_all(one_claim: Path) -> None:
    assert called("reproduce")[0] == 2
    assert called("reproduce", "more-steps", "--all")[0] == 2
