"""Writing a corpus: killed for real, gone on from, and the same bytes whatever happened."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainonce.stream import corpus as corpus_module
from trainonce.stream import writer
from trainonce.stream.corpora import CorpusError, CorpusSource
from trainonce.stream.corpus import DataSettings, prepare
from trainonce.stream.journal import GrowingFiles
from trainonce.stream.tokenizers import FastTokenizer

PART, BATCH = 40_000, 5_000  # characters: the documents of the fixture are 7 parts or so
CONTEXT = multiprocessing.get_context("spawn")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at_call(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    left = number

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            die()
        return function(*arguments, **named)

    return wrapped


def small_parts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writer, "_PART_CHARACTERS", PART)
    patch.setattr(writer, "_BATCH_CHARACTERS", BATCH)


def killed(settings: DataSettings, home: Path, phase: str) -> None:
    """Prepare in a process that kills itself at ``phase``."""
    patch = pytest.MonkeyPatch()
    small_parts(patch)
    places: dict[str, tuple[Any, str, int]] = {
        "between commits": (FastTokenizer, "encode_batch", 30),
        "before a commit": (GrowingFiles, "commit", 4),
        "before the facts": (corpus_module, "write_whole", 1),
    }
    if phase == "before the rename":
        rename = Path.replace

        def dying(path: Path, target: Path) -> Path:
            if path.suffix == ".work":
                die()
            return rename(path, target)

        patch.setattr(Path, "replace", dying)
    else:
        owner, name, number = places[phase]
        patch.setattr(owner, name, dies_at_call(getattr(owner, name), number))
    prepare(settings, home)


@pytest.mark.parametrize(
    ("phase", "encoded_again"),
    [
        ("between commits", True),
        ("before a commit", True),
        ("before the facts", False),
        ("before the rename", False),
    ],
)
def test_a_killed_writer_is_gone_on_from_to_the_same_bytes(
    settings: DataSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    encoded_again: bool,
) -> None:
    small_parts(monkeypatch)
    whole = prepare(settings, tmp_path / "whole")
    child = CONTEXT.Process(target=killed, args=(settings, tmp_path / "killed", phase))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    folders = [path for path in (tmp_path / "killed" / "corpora").iterdir() if path.is_dir()]
    assert [path.suffix for path in folders] == [".work"]

    encoded = 0
    encode = FastTokenizer.encode_batch

    def counting(self: FastTokenizer, texts: list[str]) -> list[list[int]]:
        nonlocal encoded
        encoded += len(texts)
        return encode(self, texts)

    monkeypatch.setattr(FastTokenizer, "encode_batch", counting)
    resumed = prepare(settings, tmp_path / "killed")
    assert contents(resumed.folder) == contents(whole.folder)
    documents = sum(whole.facts["documents"].values())
    assert (0 < encoded < documents) if encoded_again else encoded == 0


def test_parts_and_batches_are_in_no_byte(
    settings: DataSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = prepare(settings, tmp_path / "one")
    small_parts(monkeypatch)
    assert contents(prepare(settings, tmp_path / "two").folder) == contents(one.folder)


def encode_with_threads(settings: DataSettings, home: Path, threads: int) -> None:
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    prepare(settings, home)


def test_the_number_of_threads_is_in_no_byte(settings: DataSettings, tmp_path: Path) -> None:
    for threads in (1, 3):
        arguments = (settings, tmp_path / str(threads), threads)
        child = CONTEXT.Process(target=encode_with_threads, args=arguments)
        child.start()
        child.join(60)
        assert child.exitcode == 0
    one, three = (prepare(settings, tmp_path / str(threads)).folder for threads in (1, 3))
    assert contents(one) == contents(three)


def test_progress_counts_documents_to_the_last(
    settings: DataSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch)
    told: list[tuple[int, int]] = []
    found = prepare(
        settings,
        tmp_path,
        lambda what, done, total: told.append((done, total)) if what == "tokenizing" else None,
    )
    documents = sum(found.facts["documents"].values())
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 20
    assert told[-1] == (documents, documents)


def test_a_corpus_that_changes_while_it_is_read_is_refused(
    settings: DataSettings, tmp_path: Path
) -> None:
    file = tmp_path / "documents.jsonl"
    lines = Path(settings.corpus.name).read_text().splitlines(keepends=True)
    file.write_text("".join(lines))

    def shorten(what: str, done: int, total: int) -> None:
        if what == "tokenizing":
            file.write_text("".join(lines[:-1]))

    changing = replace(settings, corpus=CorpusSource(name=str(file)))
    file_before = file.read_text()
    with pytest.raises(CorpusError, match="changed while it was read"):
        prepare(changing, tmp_path / "home", shorten)
    file.write_text(file_before)
    assert len(prepare(changing, tmp_path / "home").train)
