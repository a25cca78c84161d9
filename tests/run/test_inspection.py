"""`inspect`: what a checkpoint says of itself, and the token ledger against a literal count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from trainonce.cli.app import app
from trainonce.models.decoder import DecoderSettings
from trainonce.run.cache import JobCache
from trainonce.run.execute import execute
from trainonce.run.inspection import TargetError, inspect
from trainonce.stream.corpus import Corpus, DataSettings, prepare
from trainonce.stream.home import VARIABLE
from trainonce.tasks.ledger import copies, token_ledger
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec, Treated
from trainonce.train.checkpoints import Checkpoints
from trainonce.train.loop import StoppedError
from trainonce.train.settings import CheckpointSettings, TrainSettings

MEMORY = Treated(
    question="memory",
    method="memorization",
    version=1,
    settings={"doses": [0, 3, 9], "passages": 2, "canaries": 2, "tokens": 16},
)
TESTS = Treated(
    question="tests",
    method="contamination",
    version=1,
    settings={"doses": [0, 4], "items": 4, "prompt": 8, "answer": 4},
    lane=1,
)


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory, settings: DataSettings) -> Path:
    found = tmp_path_factory.mktemp("inspect")
    prepare(settings, found)
    return found


@pytest.fixture(scope="module")
def spec(own_home: Path) -> TrainSpec:
    (corpus,) = (own_home / "corpora").glob("*/corpus.json")
    return TrainSpec(
        corpus=corpus.parent.name,
        sequence=64,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=30, batch=4),
        seed=3,
        treatments=(MEMORY, TESTS),
    )


@pytest.fixture(scope="module")
def checkpoint(own_home: Path, spec: TrainSpec) -> Path:
    """The state of a run that was stopped after step 12."""
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 13  # it is asked once before the first step

    with pytest.raises(StoppedError, match="after step 12"):
        execute(spec, own_home, lambda _progress: None, stop, CheckpointSettings(seconds=1e9))
    (folder,) = Checkpoints(JobCache(own_home).work(spec.key) / "checkpoints").folders()
    return folder


def corpus_of(spec: TrainSpec, home: Path) -> Corpus:
    return Corpus(home / "corpora" / spec.corpus)


def test_the_ledger_is_what_is_found_in_the_tokens_read(spec: TrainSpec, own_home: Path) -> None:
    """Each copy is looked for, token by token, in the very sequences that the steps read."""
    corpus = corpus_of(spec, own_home)
    stream = spec.stream(corpus)
    for treated in spec.treatments:
        stream = treated.apply(stream)
    end, left_out = corpus.tokenizer.end_of_text, {3, 8}
    for row in token_ledger(spec, corpus, 20, left_out):
        for dose in row.doses:
            wanted = [
                [end, *document, end]
                for item in stream.items[row.question]
                if item.dose == dose.dose
                for document in item.documents
            ]
            at = []
            for step in sorted(set(range(20)) - left_out):
                for position in range(4 * step, 4 * step + 4):
                    text = "," + ",".join(map(str, stream.read([position])[0, :-1])) + ","
                    for document in wanted:
                        found = text.count("," + ",".join(map(str, document)) + ",")
                        at += [step + 1] * found
            assert dose.seen == len(at)
            assert (dose.first, dose.last) == ((min(at), max(at)) if at else (None, None))
            assert dose.copies == dose.dose * dose.items


def test_at_the_end_every_copy_was_seen(spec: TrainSpec, own_home: Path) -> None:
    for row in token_ledger(spec, corpus_of(spec, own_home), spec.train.steps):
        assert sum(dose.seen for dose in row.doses) == sum(dose.copies for dose in row.doses) > 0


def test_copies_are_counted_where_they_are_read(spec: TrainSpec, own_home: Path) -> None:
    corpus = corpus_of(spec, own_home)
    for treated, row in zip(spec.treatments, token_ledger(spec, corpus, 20, {3, 8}), strict=True):
        own = copies(spec, treated, corpus, {3, 8})
        assert not own.trained[np.isin(own.steps, [3, 8])].any()
        within = own.trained & (own.steps < 20)
        assert int(within.sum()) == sum(dose.seen for dose in row.doses)
        assert own.items == {dose.dose: dose.items for dose in row.doses}


def test_a_checkpoint_says_what_it_is(checkpoint: Path, spec: TrainSpec, own_home: Path) -> None:
    for target in (str(checkpoint), spec.key, spec.key[:6]):
        found = inspect(target, own_home)
        assert (found.what, found.job, found.kind) == ("checkpoint", spec.key, "train")
        assert (found.step, found.steps, found.seed) == (12, 30, 3)
        assert found.tokens_seen == 12 * 4 * 64
        assert found.damage is None
        assert found.ledger == token_ledger(spec, corpus_of(spec, own_home), 12)


def test_the_hash_is_that_of_the_state(
    checkpoint: Path, spec: TrainSpec, own_home: Path, tmp_path: Path
) -> None:
    """A copy has it too, another state has not."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in checkpoint.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    one = inspect(str(copy), own_home)
    assert one.hash == inspect(str(checkpoint), own_home).hash
    file = copy / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    harmed = inspect(str(copy), own_home)
    assert harmed.hash is None
    assert harmed.damage is not None
    assert "state.safetensors is damaged" in harmed.damage
    assert harmed.step == 12
    (copy / "state.json").write_text("{")
    with pytest.raises(TargetError, match="too damaged to say what it is"):
        inspect(str(copy), own_home)


def test_finished_jobs_and_their_parents(spec: TrainSpec, own_home: Path) -> None:
    short = replace(spec, train=replace(spec.train, steps=25), seed=4)
    measure = MeasureSpec(trained=short, probe="completion", version=1, treated=MEMORY)
    for job in (short, measure):
        execute(job, own_home, lambda _progress: None, lambda: False)
    trained, measured = inspect(short.key, own_home), inspect(measure.key, own_home)
    assert (trained.what, trained.step, trained.parents) == ("job", 25, ())
    assert (measured.kind, measured.parents) == ("measure", (short.key,))
    assert trained.damage is measured.damage is None
    assert trained.hash != measured.hash
    assert measured.ledger == trained.ledger
    losses = JobCache(own_home).folder(short.key) / "losses.npy"
    losses.write_bytes(losses.read_bytes()[:-8])
    harmed = inspect(short.key, own_home).damage
    assert harmed is not None
    assert "losses.npy is damaged" in harmed


def test_what_is_neither_is_named(own_home: Path, spec: TrainSpec, checkpoint: Path) -> None:
    with pytest.raises(TargetError, match="'nothing' is no folder of a checkpoint, and no job"):
        inspect("nothing", own_home)
    (own_home / "jobs" / f"{spec.key[:5]}other").mkdir()
    with pytest.raises(TargetError, match=f"2 jobs start with '{spec.key[:5]}'"):
        inspect(spec.key[:5], own_home)


def test_the_command(
    checkpoint: Path, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(own_home))
    monkeypatch.setenv("COLUMNS", "140")
    run = CliRunner().invoke
    document = json.loads(run(app, ["inspect", str(checkpoint), "--json"]).stdout)
    assert document["whole"] is True
    assert document["step"] == 12
    assert [row["question"] for row in document["ledger"]] == ["memory", "tests"]
    shown = run(app, ["inspect", str(checkpoint)])
    assert shown.exit_code == 0
    for text in ("12 of 30, 3,072 tokens seen", "all hold", "contamination", document["hash"]):
        assert text in shown.stdout
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    elsewhere = run(app, ["inspect", str(checkpoint)])
    assert "nothing can be said of insertions" in elsewhere.stdout
    assert run(app, ["inspect", "nothing"]).exit_code == 2
    (checkpoint / "manifest.json").write_text("{}x")
    assert run(app, ["inspect", str(checkpoint)]).exit_code == 1
