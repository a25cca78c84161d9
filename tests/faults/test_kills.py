"""Killed at any phase, cut short, or raced for, a job ends with the uninterrupted run's bits."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.faults import harness
from trainonce.models.decoder import DecoderSettings
from trainonce.run.cache import JobCache
from trainonce.stream.corpus import Corpus, DataSettings, prepare
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec, Treated
from trainonce.train.checkpoints import Checkpoints
from trainonce.train.settings import OnNan, TrainSettings

MEMORY = Treated(
    question="memory",
    method="memorization",
    version=1,
    settings={"doses": [0, 8], "passages": 2, "canaries": 2, "tokens": 16},
)
PACE = Treated(
    question="pace",
    method="acquisition",
    version=1,
    settings={"doses": [0, 90], "people": 2, "copies": 12, "every": 4},
)


def some(cases: Iterable[str], *fast: str) -> list[ParameterSet]:
    """All cases, of which the suite itself runs the fast ones: a case takes up to three runs."""
    return [pytest.param(case, marks=() if case in fast else pytest.mark.slow) for case in cases]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, settings: DataSettings) -> Corpus:
    return prepare(settings, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def training(corpus: Corpus) -> TrainSpec:
    return TrainSpec(
        corpus=corpus.fingerprint,
        sequence=64,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=30, batch=4, accumulate=2, on_nan=OnNan.REWIND, rewind_steps=8),
        seed=3,
        treatments=(MEMORY, PACE),
    )


@pytest.fixture(scope="module")
def measuring(training: TrainSpec) -> MeasureSpec:
    return MeasureSpec(trained=training, probe="completion", version=1, treated=MEMORY)


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    corpus: Corpus,
    training: TrainSpec,
    measuring: MeasureSpec,
) -> JobCache:
    """Both jobs, run without an interruption."""
    home = home_with(corpus, tmp_path_factory.mktemp("whole"))
    for spec in (training, measuring):
        assert harness.run(spec, home) == (0, "")
    return JobCache(home)


@pytest.fixture
def home(corpus: Corpus, tmp_path: Path) -> Path:
    return home_with(corpus, tmp_path / "home")


def home_with(corpus: Corpus, home: Path) -> Path:
    shutil.copytree(corpus.folder, home / "corpora" / corpus.fingerprint)
    return home


def held_to(whole: JobCache, home: Path, spec: Spec) -> None:
    """The result of ``spec`` under ``home`` has the bytes of the uninterrupted run."""
    expected, found = whole.folder(spec.key), JobCache(home).folder(spec.key)
    names = {path.name for path in expected.iterdir()}
    assert {path.name for path in found.iterdir()} == names
    for name in names - {"result.json"}:  # which holds seconds
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    assert not JobCache(home).work(spec.key).exists()


@pytest.mark.parametrize("phase", some(harness.TRAINING, "mid-save", "while the result is written"))
def test_a_run_killed_at_any_phase(
    whole: JobCache, home: Path, training: TrainSpec, phase: str
) -> None:
    code, _ = harness.run(training, home, harness.TRAINING[phase])
    assert code == -signal.SIGKILL
    assert harness.run(training, home) == (0, "")
    if phase == "before the checkpoints of a finished job go":  # the result was there already
        shutil.rmtree(JobCache(home).work(training.key))
    held_to(whole, home, training)


@pytest.mark.parametrize("phase", some(harness.MEASURING, "while the rows are written"))
def test_a_measurement_killed_at_any_phase(
    whole: JobCache, home: Path, training: TrainSpec, measuring: MeasureSpec, phase: str
) -> None:
    shutil.copytree(whole.folder(training.key), JobCache(home).folder(training.key))
    code, _ = harness.run(measuring, home, harness.MEASURING[phase])
    assert code == -signal.SIGKILL
    assert not JobCache(home).done(measuring.key)
    assert harness.run(measuring, home) == (0, "")
    held_to(whole, home, measuring)


@pytest.mark.parametrize(
    "file", some(("state.safetensors", "state.json", "manifest.json"), "state.safetensors")
)
def test_a_run_whose_newest_checkpoint_was_cut_short(
    whole: JobCache, home: Path, training: TrainSpec, file: str
) -> None:
    assert harness.run(training, home, harness.TRAINING["mid-step"])[0] == -signal.SIGKILL
    newest = Checkpoints(JobCache(home).work(training.key) / "checkpoints").folders()[-1]
    assert newest.name == "step-000000015"
    os.truncate(newest / file, (newest / file).stat().st_size // 2)
    assert harness.run(training, home) == (0, "")
    held_to(whole, home, training)


def test_processes_that_race_for_a_job_run_it_once(
    whole: JobCache, home: Path, training: TrainSpec
) -> None:
    assert harness.race(training, home, processes=3) == [0, 0, 0]
    assert len((home / "starts").read_text().splitlines()) == 1
    held_to(whole, home, training)


@pytest.fixture
def small_disk(tmp_path: Path, corpus: Corpus) -> Iterator[Path]:
    """A home on a file system of its own, of 4 MB."""
    import subprocess

    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this machine lets us mount no tmpfs: {mounted.stderr.strip()}")
    yield home_with(corpus, place / "home")
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount to make a small disk")
def test_a_disk_that_fills_up(whole: JobCache, small_disk: Path, training: TrainSpec) -> None:
    """Room for one checkpoint: the second fails, the first stays, and more room mends it."""
    assert harness.run(training, small_disk, harness.TRAINING["mid-save"])[0] == -signal.SIGKILL
    saved = Checkpoints(JobCache(small_disk).work(training.key) / "checkpoints")
    shutil.rmtree(saved.folder / ".step-000000015.tmp")
    state = sum(file.stat().st_size for file in saved.folders()[-1].iterdir())
    ballast = small_disk.parent / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - state // 2 // 4096 * 4096))
    code, error = harness.run(training, small_disk)
    assert code == 1
    assert error.startswith(f"SaveError: cannot write {saved.folder / '.step-000000015.tmp'}")
    assert "No space left on device" in error
    assert "Free some space" in error
    assert [path.name[-2:] for path in sorted(saved.folder.iterdir())] == ["05", "10"]
    ballast.unlink()
    assert harness.run(training, small_disk) == (0, "")
    held_to(whole, small_disk, training)


@pytest.mark.parametrize("save", some(("checkpoint", "result"), "checkpoint"))
def test_a_quota_on_files(whole: JobCache, home: Path, training: TrainSpec, save: str) -> None:
    """The system's own limit on a file's size, met while saving."""
    code, error = harness.run(training, home, harness.LIMITS[save])
    assert code == 1
    assert error.startswith("SaveError: cannot write")
    assert "File too large" in error
    saved = Checkpoints(JobCache(home).work(training.key) / "checkpoints")
    newest = saved.newest()
    assert newest is not None
    assert newest.facts["step"] == {"checkpoint": 5, "result": 25}[save]
    assert harness.run(training, home) == (0, "")
    held_to(whole, home, training)


@pytest.mark.parametrize("harm", some(("gone", "cut short"), "gone"))
def test_a_data_file_that_vanished(
    whole: JobCache,
    home: Path,
    training: TrainSpec,
    settings: DataSettings,
    harm: str,
) -> None:
    assert harness.run(training, home, harness.TRAINING["mid-step"])[0] == -signal.SIGKILL
    tokens = home / "corpora" / training.corpus / "train.tokens"
    if harm == "gone":
        tokens.unlink()
    else:
        os.truncate(tokens, tokens.stat().st_size // 2)
    code, error = harness.run(training, home)
    assert code == 1
    assert f"{tokens} has gone or was cut short; run the study again" in error
    assert prepare(settings, home).fingerprint == training.corpus  # what running again does
    assert harness.run(training, home) == (0, "")
    held_to(whole, home, training)
