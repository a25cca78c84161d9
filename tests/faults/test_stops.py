"""Told to stop, a worker saves and leaves; told twice, it leaves at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.faults import harness
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.jobs import Job, Role
from trainonce.run.cache import JobCache
from trainonce.run.executor import Work
from trainonce.run.pool import Pool
from trainonce.stream.corpus import Corpus
from trainonce.stream.home import VARIABLE
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec, Treated
from trainonce.train.checkpoints import Checkpoints
from trainonce.train.settings import CheckpointSettings, TrainSettings

MEMORY = Treated(
    question="memory",
    method="memorization",
    version=1,
    settings={"doses": [0, 8], "passages": 2, "canaries": 2, "tokens": 16},
)
STUDY = """\
study: Tiny
recipe:
  data: {{corpus: {corpus}, tokenizer: {{vocabulary: 300}}, sequence: 64, heldout: 30%}}
  model: {{width: 16, layers: 1, heads: 2}}
  length: 300 steps
  batch: 4
  checkpoints: {{every: 20 steps, keep: 3}}
  allow_changed: 20%
questions:
  - {{id: memory, treatment: {{method: memorization, doses: [0, 8], passages: 2, canaries: 2,
      tokens: 16}}}}
"""


@pytest.fixture
def training(corpus: Corpus, tmp_path: Path) -> TrainSpec:
    shutil.copytree(corpus.folder, tmp_path / "corpora" / corpus.fingerprint)
    return TrainSpec(
        corpus=corpus.fingerprint,
        sequence=64,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=30, batch=4),
        seed=3,
        treatments=(MEMORY,),
    )


def line(spec: Spec) -> bytes:
    described = TypeAdapter(type(spec)).dump_python(spec, mode="json")
    settings = asdict(CheckpointSettings(seconds=1e9))
    message = {"key": spec.key, "keys": [spec.key], "specs": [described], "checkpoints": settings}
    return (json.dumps(message) + "\n").encode()


def in_the_model(home: Path, spec: Spec, how: str) -> tuple[int, float]:
    """Tell a worker to stop while its model computes: its exit code, and seconds it took."""
    process, tell, hear = harness.start_worker(home)
    os.write(tell.fileno(), line(spec))
    assert json.loads(os.read(hear.fileno(), 4096).splitlines()[0])["event"] == "started"
    deadline = time.monotonic() + 30
    while not (home / "in the model").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    start = time.monotonic()
    if how == "SIGTERM":
        os.kill(process.pid, signal.SIGTERM)
    else:
        tell.close()
    process.join(30)
    return int(process.exitcode), time.monotonic() - start


STOPS = [("SIGTERM", 128 + signal.SIGTERM), ("end of its input", 0)]


@pytest.mark.parametrize(("how", "code"), STOPS)
def test_inside_a_step_the_state_is_saved(
    training: TrainSpec, tmp_path: Path, how: str, code: int
) -> None:
    found, seconds = in_the_model(tmp_path, training, how)
    assert found == code
    assert seconds < 5
    (saved,) = Checkpoints(JobCache(tmp_path).work(training.key) / "checkpoints").folders()
    assert saved.name in ("step-000000001", "step-000000002")


@pytest.mark.parametrize(
    ("how", "code"), [STOPS[0], pytest.param(*STOPS[1], marks=pytest.mark.slow)]
)
def test_inside_a_measurement_it_leaves_cleanly(
    training: TrainSpec, tmp_path: Path, how: str, code: int
) -> None:
    """The held-out loss of a run takes many passes through the model; the next one is refused."""
    assert harness.run(training, tmp_path) == (0, "")
    spec = MeasureSpec(trained=training, probe="heldout_loss", version=1)
    found, seconds = in_the_model(tmp_path, spec, how)
    assert found == code
    assert seconds < 5
    assert not JobCache(tmp_path).done(spec.key)
    assert not JobCache(tmp_path).work(spec.key).exists()
    assert harness.run(spec, tmp_path) == (0, "")
    assert JobCache(tmp_path).rows(spec.key)["value"].is_finite().all()


def work(spec: TrainSpec) -> Work:
    job = Job(
        spec=spec,
        role=Role.TRUNK,
        strategy=Strategy.MULTIPLEX,
        questions=(),
        parents=(),
        run_equivalents=1.0,
        reason="a test",
    )
    return Work(job.key, (job,))


def as_worker(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let a pool start this script in place of real workers."""
    file = folder / "worker"
    file.write_text(text)
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))


ONE_JOB = """\
#!{python} -IS
import json, sys
key = json.loads(sys.stdin.readline())["key"]
for event in ("started", "done"):
    print(json.dumps({{"event": event, "key": key}}), flush=True)
"""


def test_a_worker_that_dies_between_two_jobs_is_replaced(
    training: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_worker(tmp_path, monkeypatch, ONE_JOB.format(python=sys.executable))
    pool = Pool(tmp_path, 1, CheckpointSettings())
    try:
        for seed in (1, 2, 3):
            one = work(replace(training, seed=seed))
            assert pool.start(one)
            for kind in ("started", "done"):
                key, event = pool.next_event()
                assert (key, event["event"]) == (one.key, kind)
    finally:
        pool.close()


def test_a_worker_that_dies_before_it_began_has_crashed(
    training: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_worker(tmp_path, monkeypatch, "#!/bin/sh\nkill -BUS $$\n")
    pool = Pool(tmp_path, 1, CheckpointSettings())
    assert pool.start(work(training))
    key, event = pool.next_event()
    pool.close()
    assert (key, event["event"]) == (training.key, "crashed")
    assert "was ended by SIGBUS: a data file that it reads was cut short" in event["error"]


def test_a_second_interruption_leaves_at_once(
    training: TrainSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Workers that would go on saving for a minute are ended."""
    as_worker(tmp_path, monkeypatch, f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    pool = Pool(tmp_path, 1, CheckpointSettings())
    assert pool.start(work(training))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    number = int((tmp_path / "pid").read_text())
    # A suite that was started in the background ignores SIGINT until somebody handles it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.close()
    assert time.monotonic() - start < 5
    deadline = time.monotonic() + 5
    while Path(f"/proc/{number}/exe").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{number}/exe").exists()


def command(file: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainonce", "run", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, VARIABLE: str(home)},
    )


@pytest.mark.slow  # two starts of the command, each with its worker: some 15 s
def test_the_command_says_what_would_mend_a_full_disk(documents_file: Path, tmp_path: Path) -> None:
    """A limit on the size of files, as `ulimit -f` sets it, that the tokens fit and a run does not.

    The limit is met by the first checkpoint; without it the same command goes through.
    """
    import resource

    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(corpus=documents_file))
    home = tmp_path / "home"
    planned = subprocess.run(
        [sys.executable, "-m", "trainonce", "plan", str(file)],
        capture_output=True,
        check=False,
        env={**os.environ, VARIABLE: str(home)},
    )
    assert planned.returncode == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        found = command(file, home)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found.returncode == 1
    assert "SaveError: cannot write" in found.stderr
    assert "Free some space" in found.stderr
    assert not found.stdout
    assert command(file, home).returncode == 0
