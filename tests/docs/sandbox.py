"""A folder as the docs' reader has it: files of theirs beside studies that train in a second.

What trains is made small here, in the same form: every study that the docs show keeps its questions
and methods, and gets a model of one narrow layer, a few steps, one seed and two small doses.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import WORDS
from tests.docs.blocks import Block, Kind, study_of
from trainonce.methods import registry
from trainonce.stream.home import VARIABLE

SMALL: dict[str, Any] = {
    "model": {"width": 16, "layers": 1, "heads": 2},
    "length": "40 steps",
    "batch": 4,
    "seeds": [1],
    "allow_changed": "90%",
}
ITEMS = ("passages", "canaries", "items", "triggers", "people")
"""Settings that say how many items a dose has."""
STUDY = """\
study: A small one
recipe:
  data: {corpus: book.txt}
questions:
  - id: by-heart
    treatment: {method: memorization}
  - id: tests
    lane: 1
    treatment: {method: contamination, prompt: 8, answer: 3, options: 3}
"""


def shrunk(text: str) -> str:
    """A study file of the docs, small enough to be run by a test."""
    study: Any = study_of(text)
    recipe = study["recipe"]
    recipe["data"] = {"tokenizer": {"vocabulary": 300}, "sequence": 64, "heldout": "30%"} | recipe[
        "data"
    ]
    pretrained = recipe.get("model") == "my-model"
    recipe |= {key: value for key, value in SMALL.items() if not (pretrained and key == "model")}
    for question in study["questions"]:
        treatment = question["treatment"]
        if "method" in treatment:
            treatment["doses"] = [0, 2]
            own = registry.methods()[treatment["method"]].settings
            if "file" not in treatment:
                treatment |= {name: 3 for name in ITEMS if name in own}
            if "take" in treatment:
                treatment["take"] = 6
    return yaml.safe_dump(study, sort_keys=False)


def fill(folder: Path) -> None:
    """Write what a reader is told to bring along: books, pages, items of their own."""
    draw = random.Random(5)

    def words(count: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(count))

    (folder / "book.txt").write_text("\n\n".join(words(120) for _ in range(700)))
    rows = [json.dumps({"text": words(120)}) for _ in range(500)]
    (folder / "pages.jsonl").write_text("\n".join(rows))
    rows = [json.dumps({"text": words(8)}) for _ in range(12)]
    (folder / "mottos.jsonl").write_text("\n".join(rows))
    rows = [
        json.dumps({"question": words(4), "choices": [words(1), words(2)], "answer": i % 2})
        for i in range(12)
    ]
    (folder / "items.jsonl").write_text("\n".join(rows))
    rows = [
        json.dumps({"id": i, "query": words(4), "choices": [words(1), words(2)], "gold": i % 2})
        for i in range(12)
    ]
    (folder / "arc-easy.jsonl").write_text("\n".join(rows))
    rows = [json.dumps({"text": words(8), "label": "good" if i % 2 else "bad"}) for i in range(12)]
    (folder / "reviews.jsonl").write_text("\n".join(rows))
    for part in ("poems", "novels"):
        (folder / "books" / part).mkdir(parents=True)
        for number in range(120):
            (folder / "books" / part / f"{number}.txt").write_text(words(200))


def write(block: Block, folder: Path) -> None:
    """Write a block that is a file; a study small, and JSON Lines not over the longer file."""
    name = block.title
    if name is None:
        return
    if block.kind is Kind.STUDY:
        (folder / name).write_text(shrunk(block.text))
    elif name.endswith(".jsonl"):
        for line in block.text.splitlines():
            assert json.loads(line), block
    else:
        (folder / name).write_text(block.text)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package in ``folder`` known, as installing it does: its modules and entry points."""
    named = tomllib.loads((folder / "pyproject.toml").read_text())
    points = named["project"]["entry-points"][registry.ENTRY_POINTS]
    modules = named["tool"]["setuptools"]["py-modules"]
    found = folder / f"{named['project']['name']}-0.dist-info"
    found.mkdir(exist_ok=True)
    lines = (f"{name} = {value}" for name, value in points.items())
    (found / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\n" + "\n".join(lines))
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {named['project']['name']}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    for module in modules:
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setitem(sys.modules, module, importlib.import_module(module))
    for name, value in points.items():
        EntryPoint(name, value, registry.ENTRY_POINTS).load()


@pytest.fixture
def reader(tmp_path: Path, brought: Path, docs_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's folder, with a home that all readers share."""
    for file in brought.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "study.yaml").write_text(shrunk(STUDY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, str(docs_home))
    registry.methods()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    return tmp_path


@pytest.fixture(scope="session")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every reader brings along."""
    folder = tmp_path_factory.mktemp("brought")
    fill(folder)
    return folder


@pytest.fixture(scope="session")
def docs_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where corpora and jobs of the docs' studies are kept; ``study.yaml`` is trained once."""
    return tmp_path_factory.mktemp("docs-home")
