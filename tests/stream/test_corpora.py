from __future__ import annotations

import gzip
import json
from pathlib import Path

import datasets
import polars as pl
import pytest

from trainonce.stream import corpora
from trainonce.stream.corpora import (
    CorpusError,
    CorpusSource,
    _paragraphs,
    documents,
    fingerprint,
    pieces,
    unique,
)

ROWS = [{"text": "one"}, {"text": "two"}]


def test_stdlib_is_real_text_and_the_same_every_time() -> None:
    texts = list(documents(CorpusSource(name="stdlib")))
    assert len(texts) > 400
    assert any("def dataclass(" in text for text in texts)
    assert any(text.startswith('The "assert" statement') for text in texts)  # a help topic
    again = fingerprint(documents(CorpusSource(name="stdlib")))
    assert fingerprint(texts).hash == again.hash


def write(folder: Path, name: str) -> Path:
    path = folder / name
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if name.endswith(".parquet"):
        pl.DataFrame(ROWS).write_parquet(path)
    elif name.endswith(".jsonl.gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif name.endswith(".jsonl"):
        path.write_text(lines)
    else:
        datasets.Dataset.from_list(ROWS).save_to_disk(str(path))
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "a_dataset"])
def test_every_format_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    assert list(documents(CorpusSource(name=str(path)))) == ["one", "two"]


def test_a_long_text_becomes_many_documents_and_loses_nothing(tmp_path: Path) -> None:
    text = "\n\n".join(f"paragraph {i} " + "x" * 50 for i in range(300))
    file = tmp_path / "book.txt"
    file.write_text(text)
    found = list(documents(CorpusSource(name=str(file))))
    assert len(found) > 3
    assert "\n\n".join(found) == text


def test_a_paragraph_longer_than_a_piece_is_cut() -> None:
    assert max(len(piece) for piece in pieces(["y" * 10_000], characters=1000)) <= 1000


@pytest.mark.parametrize("length", [1, 2, 3, 7, 10_000])
def test_however_a_text_is_read_its_documents_are_the_same(length: int) -> None:
    text = "\n\nab\n\n\nc\n\n" + "d" * 30 + "\n\n\n\ne\nf\n\n" + "g\n\n" * 9 + "\n"
    chunks = [text[start : start + length] for start in range(0, len(text), length)]
    assert list(pieces(chunks, characters=8)) == list(pieces([text], characters=8))
    assert list(_paragraphs(chunks)) == text.split("\n\n")


def test_the_same_text_twice_is_one_document() -> None:
    assert list(unique(["b", "a", "b", "c", "a"])) == ["b", "a", "c"]


def test_a_line_may_hold_what_other_programs_end_lines_with(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one\u2028two"}\n', encoding="utf-8")
    assert list(documents(CorpusSource(name=str(file)))) == ["one\u2028two"]


def test_parquet_is_read_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a", None, "b", "c", "d"]
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "a.parquet")
    for rows in (1, 2, 5, 6):
        monkeypatch.setattr(corpora, "_PARQUET_ROWS", rows)
        assert list(documents(CorpusSource(name=str(tmp_path / "a.parquet")))) == list("abcd")


def test_a_folder_is_all_its_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.md").write_text("first")
    (tmp_path / "ignored.bin").write_text("no")
    assert list(documents(CorpusSource(name=str(tmp_path)))) == ["first", "second"]


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"text": 1}', r":1: no text in field 'text'"), ('{"text": "a"}\n{', r":2: not JSON")],
)
def test_a_bad_line_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(content)
    with pytest.raises(CorpusError, match=message):
        list(documents(CorpusSource(name=str(file))))


def test_a_missing_file_and_a_missing_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="there is no file"):
        documents(CorpusSource(name=str(tmp_path / "none.txt")))
    path = write(tmp_path, "a.parquet")
    with pytest.raises(CorpusError, match=r"column 'body'; columns: text"):
        list(documents(CorpusSource(name=str(path), field="body")))
