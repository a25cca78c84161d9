from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.stream.documents import write_folders
from trainonce.stream.corpora import CorpusError, CorpusSource, documents, named_documents
from trainonce.stream.corpus import Corpus, DataSettings, prepare
from trainonce.stream.parts import Parts, PartsError, divide
from trainonce.stream.splits import split_of

PATTERNS = {"code": ("code/*",), "docs": ("*/docs/*", "nothing-else-*")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def settings(folder: Path) -> DataSettings:
    source = CorpusSource(name=str(folder))
    return DataSettings(corpus=source, tokenizer=300, sequence=32, heldout=0.3)


@pytest.fixture(scope="module")
def corpus(settings: DataSettings, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare(settings, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def parts(settings: DataSettings, corpus: Corpus) -> Parts:
    return divide(settings, corpus, {"code": ("code/*",), "docs": ("*/docs/*",)})


def test_documents_are_named_by_where_they_stand(folder: Path) -> None:
    found = list(named_documents(CorpusSource(name=str(folder))))
    assert {name.partition("/")[0] for name, _ in found} >= {"code", "deep", "other-000.txt"}
    assert all((folder / name).read_text() == text for name, text in found)
    assert [text for _, text in found] == list(documents(CorpusSource(name=str(folder))))
    (one, *_) = named_documents(CorpusSource(name=str(folder / "code" / "000.py")))
    assert one.name == "000.py"


def test_the_standard_library_is_named_by_module_and_topic() -> None:
    names = {name for name, _ in named_documents(CorpusSource(name="stdlib"))}
    assert {"json/decoder.py", "encodings/utf_8.py", "topics/lambda"} <= names


def test_training_documents_of_a_part_stand_together(
    settings: DataSettings, corpus: Corpus, parts: Parts
) -> None:
    """Literally: the tokens of each part are those of its documents, in the corpus's order."""
    assert parts.names == ("code", "docs", "rest")
    wanted: dict[str, list[int]] = {"code": [], "docs": [], "rest": []}
    for name, text in named_documents(settings.corpus):
        if split_of(text, settings.heldout) == "train":
            top = name.partition("/")[0]
            own = wanted[{"code": "code", "deep": "docs"}.get(top, "rest")]
            own += [*corpus.tokenizer.encode(text), corpus.tokenizer.end_of_text]
    assert len(parts.base) == len(corpus.train)
    for number, name in enumerate(parts.names):
        low, high = parts.firsts[number : number + 2]
        tokens = parts.base.take(np.array([low]), int(high - low))[0]
        assert tokens.tolist() == wanted[name]
        assert parts.sequences(name, 32) == (len(wanted[name]) - 1) // 32


def test_heldout_blocks_of_the_parts_are_those_of_the_corpus(corpus: Corpus, parts: Parts) -> None:
    blocks = [parts.heldout_blocks(name, 32).tolist() for name in parts.names]
    assert all(blocks)
    assert sorted(start for own in blocks for start in own) == corpus.blocks("heldout", 32).tolist()


def test_parts_leave_the_corpus_as_it_is(
    settings: DataSettings, corpus: Corpus, parts: Parts
) -> None:
    before = (corpus.folder / "corpus.json").read_text()
    again = divide(settings, corpus, {"code": ("code/*",), "docs": ("deep/*",)})
    assert again.fingerprint == parts.fingerprint  # other patterns, the same documents
    other = divide(settings, corpus, {"code": ("code/*", "/other-000.txt"), "docs": ("deep/*",)})
    assert other.fingerprint != parts.fingerprint
    assert (corpus.folder / "corpus.json").read_text() == before
    assert prepare(settings, corpus.folder.parents[1]).fingerprint == corpus.fingerprint


def test_the_first_part_that_matches_has_a_document(
    settings: DataSettings, corpus: Corpus, parts: Parts
) -> None:
    found = divide(settings, corpus, {"odd": ("*1.py", "*1.txt"), "code": ("/code/*",)})
    code = found.of("train") == found.names.index("code")
    assert 0 < code.sum() < (parts.of("train") == 0).sum()


@pytest.mark.parametrize(
    ("patterns", "part", "pattern", "message"),
    [
        (PATTERNS, "docs", 1, "matches no document; their names (140) are such as 'code/000.py'"),
        ({"all": ("*",), "code": ("code/*",)}, "code", None, "belongs to a part above it"),
    ],
)
def test_a_part_without_documents_is_an_error(
    settings: DataSettings,
    corpus: Corpus,
    patterns: dict[str, tuple[str, ...]],
    part: str,
    pattern: int | None,
    message: str,
) -> None:
    with pytest.raises(PartsError) as error:
        divide(settings, corpus, patterns)
    assert (error.value.part, error.value.pattern) == (part, pattern)
    assert message in str(error.value)


def test_a_corpus_that_changed_is_an_error(
    settings: DataSettings, corpus: Corpus, tmp_path: Path
) -> None:
    shutil.copytree(settings.corpus.name, tmp_path / "text")
    (tmp_path / "text" / "code" / "new.py").write_text("def new(): return")
    moved = replace(settings, corpus=CorpusSource(name=str(tmp_path / "text")))
    with pytest.raises(CorpusError, match="changed while it was read"):
        divide(moved, corpus, {"code": ("code/*",)})


def test_parts_that_have_gone_say_what_to_do(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="have gone; run the study again"):
        _ = Parts(corpus, "nowhere").names


def test_tokens_that_others_wrote_have_no_parts(
    settings: DataSettings, corpus: Corpus, tmp_path: Path
) -> None:
    shutil.copytree(corpus.folder, tmp_path / "foreign")
    (tmp_path / "foreign" / "place.json").write_text("{}")
    with pytest.raises(CorpusError, match="holds tokens, whose documents have no names"):
        divide(settings, Corpus(tmp_path / "foreign"), {"code": ("code/*",)})
