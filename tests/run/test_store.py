"""A store that two homes share: whole or absent, and never the reason that a study fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.run.finished_jobs import FORK, MEASURE, STATE, TRUNK, finish
from trainonce.models.decoder import DecoderSettings
from trainonce.run.cache import JobCache
from trainonce.run.execute import execute, execute_stacked
from trainonce.run.store import VARIABLE, Store, StoreWarning, fetched, pushed
from trainonce.run.verify import verify
from trainonce.stream.corpus import Corpus
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.runs import TrainSpec, stacked
from trainonce.train.settings import TrainSettings

pytest.importorskip("fsspec")


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path}/store"
        return
    yield "memory://store"
    Store.at("memory://").files.rm("/store", recursive=True)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in a folder, set for this process."""
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path}/store")
    return tmp_path / "store" / "jobs"


def test_a_job_that_is_pushed_is_fetched_to_the_last_bit(url: str, tmp_path: Path) -> None:
    specs: list[TrainSpec | Spec] = [STATE, FORK, MEASURE]
    one = finish(tmp_path / "one", STATE, FORK, MEASURE)
    other = JobCache(tmp_path / "other")
    store = Store.at(url)
    for spec in specs:
        assert not store.fetch(spec.key, other)
        store.push(spec.key, one)
        assert store.fetch(spec.key, other)
    assert other.rows(MEASURE.key).equals(one.rows(MEASURE.key))
    assert other.result(FORK.key) == one.result(FORK.key)
    here, there = one.weights(FORK.key), other.weights(FORK.key)
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert verify(other, [spec.key for spec in specs]) == {}
    assert not list((tmp_path / "other" / "jobs").glob("*.work"))


def test_a_job_that_was_not_pushed_to_its_end_is_absent(shared: Path, tmp_path: Path) -> None:
    one, other = finish(tmp_path / "one", TRUNK), JobCache(tmp_path / "other")
    pushed([TRUNK.key], one)
    (shared / TRUNK.key / "result.json").unlink()
    assert not fetched(TRUNK.key, other)
    pushed([TRUNK.key], one)
    assert fetched(TRUNK.key, other)


def test_damage_in_the_store_is_said_and_mended(shared: Path, tmp_path: Path) -> None:
    one, other = finish(tmp_path / "one", TRUNK), JobCache(tmp_path / "other")
    pushed([TRUNK.key], one)
    (file,) = (shared / TRUNK.key).glob("*-model.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.warns(StoreWarning, match="its checksum does not match"):
        assert not fetched(TRUNK.key, other)
    assert not other.done(TRUNK.key)
    assert not list(other.home.rglob("*.safetensors"))
    pushed([TRUNK.key], one)
    assert fetched(TRUNK.key, other)


@pytest.mark.parametrize("name", ["../../escape", "..", "result.json", "a/b"])
def test_a_store_cannot_write_elsewhere(name: str, shared: Path, tmp_path: Path) -> None:
    pushed([TRUNK.key], finish(tmp_path / "one", TRUNK))
    result = shared / TRUNK.key / "result.json"
    document = json.loads(result.read_text())
    document["files"] = {name: "00ff"}
    result.write_text(json.dumps(document))
    with pytest.warns(StoreWarning, match="names a file"):
        assert not fetched(TRUNK.key, JobCache(tmp_path / "other"))
    assert not list(tmp_path.rglob("escape"))


def test_another_job_under_a_key_is_refused(shared: Path, tmp_path: Path) -> None:
    pushed([TRUNK.key], finish(tmp_path / "one", TRUNK))
    shutil.copytree(shared / TRUNK.key, shared / MEASURE.key)
    with pytest.warns(StoreWarning, match=f"holds {TRUNK.key} by what it says itself"):
        assert not fetched(MEASURE.key, JobCache(tmp_path / "other"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://somewhere", "Protocol not known"),
        ("file:///proc/nowhere", "could not be pushed"),
    ],
)
def test_a_store_that_fails_is_a_warning(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, url)
    cache = finish(tmp_path, TRUNK)
    with pytest.warns(StoreWarning, match=said):
        pushed([TRUNK.key], cache)


def test_without_a_setting_there_is_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    cache = finish(tmp_path, TRUNK)
    pushed([TRUNK.key], cache)
    assert not fetched(MEASURE.key, cache)


def test_what_one_home_trained_another_one_does_not(
    corpus: Corpus, shared: Path, tmp_path: Path
) -> None:
    run = TrainSpec(
        corpus=corpus.fingerprint,
        sequence=64,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=4, batch=2),
        seed=3,
    )
    both = stacked([run, TrainSpec(**{**vars(run), "seed": 4})], threads=1)
    told: list[object] = []

    def carry_out(home: Path) -> JobCache:
        (home / "corpora").mkdir(parents=True)
        (home / "corpora" / corpus.fingerprint).symlink_to(corpus.folder)
        execute(run, home, told.append, lambda: False)
        execute_stacked(both, home, told.append, lambda: False)
        return JobCache(home)

    one = carry_out(tmp_path / "one")
    assert told
    told.clear()
    other = carry_out(tmp_path / "other")
    assert not told
    for spec in (run, *both):
        assert other.result(spec.key) == one.result(spec.key)
    assert other.variant(both[1]) == both[1]
