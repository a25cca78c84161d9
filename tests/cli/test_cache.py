"""The cache commands, on jobs that nothing was trained for."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from trainonce.cli.app import app
from trainonce.models.decoder import DecoderSettings
from trainonce.run.cache import JobCache
from trainonce.run.ledger import VARIABLE as LEDGER
from trainonce.run.ledger import open_ledger
from trainonce.run.store import VARIABLE as STORE
from trainonce.run.store import fetched
from trainonce.stream.home import VARIABLE as HOME
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.loop import Trained
from trainonce.train.settings import TrainSettings

OLD, NEW = (
    TrainSpec(
        corpus="c",
        sequence=8,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=10, batch=1),
        seed=seed,
    )
    for seed in (1, 2)
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobCache:
    """Two finished runs, one of them 40 days old."""
    monkeypatch.setenv(HOME, str(tmp_path))
    monkeypatch.delenv(LEDGER, raising=False)
    made = JobCache(tmp_path)
    nothing = Trained(np.zeros(10), np.zeros((10, 1), dtype=np.float32))
    for spec in (OLD, NEW):
        made.finish_training(spec, {"a": torch.ones(1000)}, nothing, {"seconds": 75.0})
    then = time.time() - 40 * 86400
    os.utime(made.folder(OLD.key) / "result.json", (then, then))
    return made


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["cache", *arguments], env={"COLUMNS": "160"})


def document(found: Result) -> dict[str, object]:
    return dict(json.loads(found.stdout))


def test_list_shows_the_last_used_first(cache: JobCache) -> None:
    found = call("list")
    assert found.exit_code == 0, found.output
    for part in (OLD.key, NEW.key, "train", "40 d 0 h ago", "75 s", "2 jobs", "2 min 30 s of work"):
        assert part in found.stdout, part
    jobs = document(call("list", "--json"))["jobs"]
    assert isinstance(jobs, list)
    assert [job["key"] for job in jobs] == [NEW.key, OLD.key]


def test_prune_drops_nothing_unless_told_twice(cache: JobCache) -> None:
    nothing = call("prune")
    assert nothing.exit_code == 2
    assert "--older" in nothing.stderr
    dry = call("prune", "--older", "30d")
    assert dry.exit_code == 0, dry.output
    assert OLD.key in dry.stdout
    assert NEW.key not in dry.stdout
    assert "drop them with --yes" in dry.stderr
    assert cache.done(OLD.key)
    told = document(call("prune", "--older", "30d", "--yes", "--json"))
    assert told["dropped"] == [OLD.key]
    assert not cache.done(OLD.key)
    assert cache.done(NEW.key)
    assert "nothing to drop" in call("prune", "--to", "1GB", "--yes").stdout


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (("--older", "30"), "30d, 12h, 90m or 2w would be right"),
        (("--to", "big"), "10GB or 500MB would be right"),
        (("--larger-than", "-1MB"), "10GB or 500MB would be right"),
    ],
)
def test_a_wrong_amount_says_what_would_be_right(
    cache: JobCache, arguments: tuple[str, str], right: str
) -> None:
    found = call("prune", *arguments, "--yes")
    assert found.exit_code == 2
    assert right in " ".join(found.stderr.replace("│", " ").split())
    assert len(cache.finished()) == 2


@pytest.mark.parametrize(
    ("size", "stays"), [("1", False), ("3KB", False), ("3.9 kb", False), ("1MB", True)]
)
def test_sizes_are_read_as_people_write_them(cache: JobCache, size: str, stays: bool) -> None:
    found = document(call("prune", "--larger-than", size, "--json"))
    assert (found["jobs"] == []) is stays


def test_unused_needs_a_ledger_that_knows(cache: JobCache) -> None:
    found = call("prune", "--unused", "--yes")
    assert found.exit_code == 2
    assert "no ledger" in found.stderr
    assert len(cache.finished()) == 2


def test_verify_names_what_is_damaged_and_drops_it_when_told(cache: JobCache) -> None:
    assert call("verify").exit_code == 0
    file = cache.folder(OLD.key) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    found = call("verify")
    assert found.exit_code == 1
    assert f"{OLD.key} damaged: {file} is damaged" in found.stdout
    assert "trainonce cache verify --delete" in found.stderr
    assert cache.done(OLD.key)
    dropped = call("verify", "--delete", "--json")
    assert dropped.exit_code == 0
    assert document(dropped)["dropped"] == [OLD.key]
    assert not cache.done(OLD.key)
    assert document(call("verify", "--json")) == {"jobs": 1, "damaged": {}, "dropped": []}


def test_a_ledger_that_cannot_be_used_is_said(
    cache: JobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LEDGER, "mysql://host/base")
    found = call("list")
    assert found.exit_code == 1
    assert "kind 'mysql'" in found.stderr


def test_the_commands_of_the_docs_run(cache: JobCache) -> None:
    page = Path(__file__).parents[2] / "docs" / "cache.md"
    lines = re.findall(r"^    trainonce cache (.*)$", page.read_text(), flags=re.MULTILINE)
    assert len(lines) >= 8
    open_ledger(cache.home).close()
    for line in lines:
        found = call(*line.partition("#")[0].split())
        assert found.exit_code == 0, (line, found.output)
    assert cache.finished() == [NEW.key, OLD.key]  # 10 GB is room enough


def test_push_brings_what_the_store_lacks(
    cache: JobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STORE, raising=False)
    refused = call("push")
    assert refused.exit_code == 2
    assert STORE in refused.output
    monkeypatch.setenv(STORE, (tmp_path / "shared").as_uri())
    assert document(call("push", "--json")) == {"jobs": 2, "pushed": sorted([OLD.key, NEW.key])}
    assert "2 jobs, 0 pushed" in call("push").output
    other = JobCache(tmp_path / "other")
    assert fetched(OLD.key, other)


def test_push_says_what_is_wrong_with_the_store(
    cache: JobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE, "nonsense://somewhere")
    found = call("push")
    assert found.exit_code == 1
    assert "Protocol not known" in found.output
