"""A trained job as Hugging Face loads it, and back into a study."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from trainonce.cli.app import app
from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.run.cache import JobCache
from trainonce.run.execute import execute
from trainonce.run.export import ExportError, export
from trainonce.stream.corpus import Corpus
from trainonce.stream.home import VARIABLE
from trainonce.study.load import load
from trainonce.study.problems import StudyError
from trainonce.tasks.language import shell
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.state import load_weights

STUDY = """\
study: Tiny
recipe:
  data: {{corpus: {corpus}, tokenizer: {tokenizer}, sequence: 64, heldout: 30%}}
  model: {model}
  batch: 4
  length: {steps} steps
  seeds: {seeds}
  allow_changed: 20%
questions:
  - {{id: memory, treatment: {{method: memorization, doses: [0, 8], passages: 2, canaries: 2,
      tokens: 16}}}}
"""


def planned(file: Path, home: Path, **keys: object) -> Plan:
    file.write_text(STUDY.format(**keys))
    return plan(load(file), home)


def run(job: Job, home: Path) -> None:
    execute(job.spec, home, lambda progress: None, lambda: False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export_home")


@pytest.fixture(scope="module")
def cache(home: Path) -> JobCache:
    return JobCache(home)


@pytest.fixture(scope="module")
def jobs(home: Path, documents_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A plan whose two trunks and one measure job are finished."""
    decoder = "{width: 32, layers: 2, heads: 4, kv_heads: 2, rope_base: 500}"
    found = planned(
        tmp_path_factory.mktemp("study") / "study.yaml",
        home,
        corpus=documents_file,
        tokenizer="{vocabulary: 300}",
        model=decoder,
        steps=60,
        seeds=[1, 2],
    )
    for job in trunks(found):
        run(job, home)
    run(next(job for job in found.jobs if job.role is Role.HELDOUT), home)
    return found


def trunks(found: Plan) -> list[Job]:
    return [job for job in found.jobs if job.role is Role.TRUNK]


@pytest.fixture(scope="module")
def exported(jobs: Plan, cache: JobCache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "inner" / "model"
    assert export(cache, trunks(jobs)[0].key, folder) == trunks(jobs)[0].key
    return folder


def left_by(cache: JobCache, spec: TrainSpec) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model that a job left, as measuring loads it."""
    model = shell(spec, Corpus(cache.home / "corpora" / spec.corpus)).eval()
    load_weights(model, cache.weights(spec.key))
    return model


@torch.no_grad()
def test_logits_are_those_of_the_trained_decoder(
    jobs: Plan, cache: JobCache, exported: Path
) -> None:
    spec = trunks(jobs)[0].spec
    assert isinstance(spec, TrainSpec)
    theirs = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
    assert type(theirs).__name__ == "LlamaForCausalLM"
    tokens_BT = torch.randint(300, (3, 64), generator=torch.Generator().manual_seed(0))
    ours = left_by(cache, spec)(tokens_BT)
    torch.testing.assert_close(theirs(tokens_BT).logits, ours, rtol=0, atol=1e-4)
    assert ours.std() > 0.05  # they say something, so that equality does
    assert theirs.config.max_position_embeddings == 64


def test_the_tokenizer_encodes_as_the_corpus_does(
    jobs: Plan, cache: JobCache, exported: Path
) -> None:
    spec = trunks(jobs)[0].spec
    assert isinstance(spec, TrainSpec)
    ours = Corpus(cache.home / "corpora" / spec.corpus).tokenizer
    theirs = AutoTokenizer.from_pretrained(exported)
    text = "the model, runs a  study\n\twith 42 Ünïcode bytes ."
    assert theirs(text)["input_ids"] == ours.encode(text)
    assert theirs.decode(ours.encode(text)) == text
    assert theirs.eos_token_id == ours.end_of_text
    model = AutoModelForCausalLM.from_pretrained(exported)
    assert model.generation_config.eos_token_id == ours.end_of_text


def test_the_card_says_what_the_job_was(jobs: Plan, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    spec = trunks(jobs)[0].spec
    assert isinstance(spec, TrainSpec)
    copies, width = 4 * 8, 16 + 2  # items of dose 8, with their two end-of-text marks
    share = copies * width / (60 * 4 * 64)
    for text in (
        f"`{spec.key}`",
        f"| memory | memorization (version 1) | {share:.3%} |",
        "| tokens seen | 15,360 (",
        "| seed | 1 |",
        "rope_base 500",
        "| torch (training) |",
        "AutoModelForCausalLM.from_pretrained",
    ):
        assert text in card, text
    assert str(exported) not in card
    assert "base_model" not in card


def test_back_into_a_study_as_model_and_tokenizer(
    jobs: Plan, exported: Path, cache: JobCache, documents_file: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "model")
    found = planned(
        tmp_path / "again.yaml",
        cache.home,
        corpus=documents_file,
        tokenizer="model",  # beside the study
        model="model",
        steps=60,
        seeds=[1],
    )
    job = trunks(found)[0]
    assert isinstance(job.spec, TrainSpec)
    assert job.spec.model_files is not None
    run(job, cache.home)
    fresh = cache.losses(trunks(jobs)[0].key)
    assert cache.losses(job.key)[0] < fresh[0] - 0.5  # it goes on where the first run ended

    folder = tmp_path / "further"
    export(cache, job.key, folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens_BT = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens_BT).logits, left_by(cache, job.spec)(tokens_BT))
    assert AutoTokenizer.from_pretrained(folder)("the run")["input_ids"]
    assert "base_model: model" in (folder / "README.md").read_text()

    shutil.rmtree(tmp_path / "model")
    with pytest.raises(ExportError, match="Hugging Face cannot load it"):
        export(cache, job.key, tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_a_model_that_does_not_fit_is_found_by_the_plan(
    exported: Path, home: Path, documents_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match="300 embeddings and the data 400 tokens"):
        planned(
            tmp_path / "study.yaml",
            home,
            corpus=documents_file,
            tokenizer="{vocabulary: 400}",
            model=exported,
            steps=60,
            seeds=[1],
        )


def test_what_cannot_be_exported_ends_with_2_and_says_why(
    jobs: Plan, cache: JobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(cache.home))
    keys = [job.key for job in trunks(jobs)]
    measured = next(job for job in jobs.jobs if isinstance(job.spec, MeasureSpec))
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    for job, folder, words in (
        ("", tmp_path / "new", ["train jobs begin with ''", *keys]),
        ("zz", tmp_path / "new", ["begins with 'zz'; there are:", *keys]),
        (measured.key, tmp_path / "new", ["has no model", keys[0]]),
        (keys[0], full, ["exists and stays as it is"]),
        (keys[0], full / "mine", ["exists and stays as it is"]),
    ):
        found = CliRunner().invoke(app, ["export", job, "--to", str(folder)])
        assert found.exit_code == 2
        assert not found.stdout
        for word in words:
            assert word in found.stderr
    assert (full / "mine").read_text() == "mine"
    assert not (tmp_path / "new").exists()

    (tmp_path / "empty").mkdir()
    found = CliRunner().invoke(app, ["export", keys[1][:12], "--to", str(tmp_path / "empty")])
    assert found.exit_code == 0, found.stderr
    assert (tmp_path / "empty" / "model.safetensors").is_file()


def test_no_job_at_all(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no finished train job at all"):
        export(JobCache(tmp_path), "ab", tmp_path / "out")


def test_a_job_of_another_version_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "jobs" / "abc"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"spec": {"kind": "train", "of": "old"}}')
    with pytest.raises(ExportError, match="job abc was written by another version"):
        export(JobCache(tmp_path), "a", tmp_path / "out")
