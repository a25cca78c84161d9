"""Tokens that others wrote, as corpora: in place, split by document, gone on from."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trainonce.plan.planner import plan
from trainonce.stream.corpora import CorpusError, CorpusSource
from trainonce.stream.corpora import documents as texts_of
from trainonce.stream.corpus import Corpus, DataSettings, prepare
from trainonce.stream.foreign import index, shards
from trainonce.stream.journal import GrowingFiles
from trainonce.stream.stream import TokenStream
from trainonce.stream.tokenizers import END_OF_TEXT, TokenizerError, as_hugging_face
from trainonce.study.load import load
from trainonce.study.problems import StudyError

CONTEXT = multiprocessing.get_context("spawn")
FORMATS = ["pair", "flat", "headed", "dataset"]
Documents = list[list[int]]


def write_pair(prefix: Path, documents: Documents) -> Path:
    """Megatron's format, type 4 (int32), a sequence a document."""
    sizes = [len(document) for document in documents]
    starts = [4 * sum(sizes[:i]) for i in range(len(sizes))]
    header = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 4, len(sizes), len(sizes) + 1)
    rest = struct.pack(f"<{len(sizes)}i", *sizes) + struct.pack(f"<{len(sizes)}q", *starts)
    rest += struct.pack(f"<{len(sizes) + 1}q", *range(len(sizes) + 1))
    prefix.with_suffix(".idx").write_bytes(header + rest)
    flat = [token for document in documents for token in document]
    prefix.with_suffix(".bin").write_bytes(struct.pack(f"<{len(flat)}i", *flat))
    return prefix.with_suffix(".idx")


def write(folder: Path, kind: str, documents: Documents) -> Path:
    """What holds ``documents`` in a format; several files where the format has several."""
    half = len(documents) // 2
    folder.mkdir(parents=True)
    if kind == "pair":
        return write_pair(folder / "tokens", documents)
    if kind == "dataset":
        import datasets

        rows = [{"input_ids": document} for document in documents]
        datasets.Dataset.from_list(rows).save_to_disk(str(folder / "saved"))
        return folder / "saved"
    for number, part in enumerate((documents[:half], documents[half:])):
        flat = [token for document in part for token in document]
        file = folder / f"part-{number}.npy"
        if kind == "headed":
            np.save(file, np.array(flat, dtype=np.uint32))
        else:
            file.write_bytes(struct.pack(f"<{len(flat)}H", *flat))
    return folder


@pytest.fixture(scope="module")
def documents(corpus: Corpus, settings: DataSettings) -> Documents:
    end = corpus.tokenizer.end_of_text
    texts = list(texts_of(settings.corpus))
    return [[*tokens, end] for tokens in corpus.tokenizer.encode_batch(texts)]


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    as_hugging_face(corpus.tokenizer).save_pretrained(str(folder))
    return str(folder)


def asking(path: Path, tokenizer: str, end: int | None) -> DataSettings:
    source = CorpusSource(name=str(path), field="input_ids", end=end)
    return DataSettings(corpus=source, tokenizer=tokenizer, sequence=64, heldout=0.3)


def read_whole(corpus: Corpus) -> list[int]:
    tokens: Sequence[int] = corpus.train.take(np.array([0]), len(corpus.train))[0].tolist()
    return list(tokens)


def split_documents(corpus: Corpus, name: str) -> Documents:
    split = corpus.split(name)
    return [
        split.tokens[low:high].tolist()
        for low, high in zip(split.bounds[:-1], split.bounds[1:], strict=True)
    ]


def flattened(documents: Documents) -> list[int]:
    return [token for document in documents for token in document]


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_read_in_place_and_split_alike(
    tmp_path: Path, corpus: Corpus, documents: Documents, tokenizer: str, kind: str
) -> None:
    end = corpus.tokenizer.end_of_text
    path = write(tmp_path / "given", kind, documents)
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    found = prepare(asking(path, tokenizer, end), tmp_path)
    heldout, source = split_documents(found, "heldout"), split_documents(found, "source")
    left_out = {tuple(document) for document in (*heldout, *source)}
    trained = [document for document in documents if tuple(document) not in left_out]
    assert read_whole(found) == flattened(trained)
    assert len(trained) + len(heldout) + len(source) == len(documents)
    assert 0.2 < len(left_out) / len(documents) < 0.4
    assert found.facts["tokens"]["train"] == len(found.train)
    assert found.facts["documents"]["train"] == len(trained)
    assert found.unclosed == 0
    assert not (found.folder / "train.tokens").exists()
    assert {file: file.read_bytes() for file in before} == before
    other = write(tmp_path / "other", "pair", documents)
    again = prepare(asking(other, tokenizer, end), tmp_path)
    assert split_documents(again, "heldout") == heldout


@pytest.mark.parametrize("kind", FORMATS)
def test_a_stream_reads_the_training_documents_in_order(
    tmp_path: Path, corpus: Corpus, documents: Documents, tokenizer: str, kind: str
) -> None:
    path = write(tmp_path / "given", kind, documents)
    found = prepare(asking(path, tokenizer, corpus.tokenizer.end_of_text), tmp_path)
    rows = (len(found.train) - 1) // 64
    read = TokenStream(found, 64, rows, seed=3).read(np.arange(rows))
    whole = read_whole(found)
    expected = {tuple(whole[start : start + 65]) for start in range(0, rows * 64, 64)}
    assert {tuple(row) for row in read.tolist()} == expected


def test_a_held_out_document_is_not_trained_on_though_it_stands_there_twice(
    tmp_path: Path, corpus: Corpus, documents: Documents, tokenizer: str
) -> None:
    end = corpus.tokenizer.end_of_text
    once = prepare(asking(write(tmp_path / "1", "pair", documents), tokenizer, end), tmp_path)
    path = write(tmp_path / "2", "pair", documents * 2)
    twice = prepare(asking(path, tokenizer, end), tmp_path)
    assert split_documents(twice, "source") == split_documents(once, "source")
    assert read_whole(twice) == read_whole(once) * 2


def test_a_document_that_nothing_closes_is_counted_and_split_alike(
    tmp_path: Path, corpus: Corpus, documents: Documents, tokenizer: str
) -> None:
    end = corpus.tokenizer.end_of_text
    bare = [document[:-1] for document in documents]
    found = prepare(asking(write(tmp_path / "1", "pair", bare), tokenizer, None), tmp_path)
    closed = prepare(asking(write(tmp_path / "2", "pair", documents), tokenizer, None), tmp_path)
    assert (found.unclosed, closed.unclosed) == (len(documents), 0)
    assert end not in read_whole(found)
    assert split_documents(found, "heldout") == split_documents(closed, "heldout")


def indexed(
    path: Path, vocabulary: int, end: int, folder: Path
) -> tuple[dict[str, Any], list[int]]:
    """The index of ``path``, in groups of some 20 documents, and how far it said to be."""
    foreign = shards.find_foreign(CorpusSource(name=str(path)))
    assert foreign
    told: list[int] = []
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(index, "_GROUP_TOKENS", 3000)
        facts = index.write_index(folder, foreign.open("uint16"), vocabulary, end, 0.3, told.append)
    return facts, told


def killed(path: Path, vocabulary: int, end: int, folder: Path, commits: int) -> None:
    """Index in a process that kills itself before its commit of that number."""
    commit, left = GrowingFiles.commit, commits

    def dying(files: GrowingFiles, **facts: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(files, **facts)

    pytest.MonkeyPatch().setattr(GrowingFiles, "commit", dying)
    indexed(path, vocabulary, end, folder)


@pytest.mark.parametrize("kind", ["pair", "flat"])
def test_a_killed_index_is_gone_on_from_to_the_same_bytes(
    tmp_path: Path, corpus: Corpus, documents: Documents, kind: str
) -> None:
    path = write(tmp_path / "given", kind, documents)
    arguments = (path, corpus.tokenizer.size, corpus.tokenizer.end_of_text)
    facts, steps = indexed(*arguments, tmp_path / "whole")
    child = CONTEXT.Process(target=killed, args=(*arguments, tmp_path / "killed", 12))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert indexed(*arguments, tmp_path / "killed") == (facts, steps[11:])
    assert len(steps) > 13
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "killed" / file.name).read_bytes() == file.read_bytes(), file.name


def test_tokens_that_moved_are_the_same_corpus_and_those_that_changed_another(
    tmp_path: Path, corpus: Corpus, documents: Documents, tokenizer: str
) -> None:
    end = corpus.tokenizer.end_of_text
    path = write(tmp_path / "given", "flat", documents)
    one = prepare(asking(path, tokenizer, end), tmp_path)
    moved = shutil.move(path, tmp_path / "moved")
    with pytest.raises(CorpusError, match="has gone or is not what it was"):
        Corpus(one.folder).train  # noqa: B018
    two = prepare(asking(Path(moved), tokenizer, end), tmp_path)
    assert two.folder == one.folder
    assert len(two.train)
    part = Path(moved) / "part-1.npy"
    part.write_bytes(part.read_bytes()[:-2])
    with pytest.raises(CorpusError, match="is not what it was; run the study again"):
        Corpus(two.folder).train  # noqa: B018
    assert prepare(asking(Path(moved), tokenizer, end), tmp_path).folder != one.folder


def test_tokens_are_sampled_once_until_a_file_changes(
    tmp_path: Path,
    corpus: Corpus,
    documents: Documents,
    tokenizer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write(tmp_path / "given", "pair", documents)
    settings = asking(path, tokenizer, corpus.tokenizer.end_of_text)
    sampled = 0
    sample = shards.fingerprint

    def counting(found: Sequence[shards.Shard]) -> str:
        nonlocal sampled
        sampled += 1
        return sample(found)

    monkeypatch.setattr(shards, "fingerprint", counting)
    folders = {prepare(settings, tmp_path).folder for _ in range(3)}
    assert sampled == 1
    os.utime(path, ns=(1, 1))
    assert {prepare(settings, tmp_path).folder} == folders
    assert sampled == 2


def test_a_fingerprint_reads_samples_of_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_SAMPLES", 4)
    monkeypatch.setattr(shards, "_SAMPLE_TOKENS", 10)

    def of(tokens: npt.NDArray[Any]) -> str:
        return shards.fingerprint([shards.Shard("x", tokens)])

    tokens = np.arange(1000, dtype=np.uint16)
    seen = []
    for place in range(1000):
        changed = tokens.copy()
        changed[place] += 1
        if of(changed) != of(tokens):
            seen.append(place)
    assert len(seen) == 40
    assert {0, 999} <= set(seen)
    assert of(tokens[:-1]) != of(tokens)
    assert of(tokens.astype(np.uint32)) != of(tokens)


def test_what_is_missing_is_said(
    tmp_path: Path, corpus: Corpus, documents: Documents, tokenizer: str
) -> None:
    end = corpus.tokenizer.end_of_text
    flat = write(tmp_path / "flat", "flat", documents)
    pair = write(tmp_path / "pair", "pair", documents)
    with pytest.raises(TokenizerError, match="tokenizer that wrote them must be named"):
        prepare(replace(asking(pair, "", None), tokenizer=1024), tmp_path)
    with pytest.raises(CorpusError, match="give the token that ends them"):
        prepare(asking(flat, tokenizer, None), tmp_path)
    with pytest.raises(TokenizerError, match="has no token 60000"):
        prepare(asking(flat, tokenizer, 60_000), tmp_path)
    with pytest.raises(CorpusError, match="holds no token 299 that would end"):
        prepare(asking(write(tmp_path / "none", "flat", [[1] * 50] * 9), tokenizer, 299), tmp_path)
    odd = write(tmp_path / "odd", "pair", [*documents, [5, 300, end]])
    with pytest.raises(CorpusError, match="holds the token 300, and the tokenizer has 300"):
        prepare(asking(odd, tokenizer, None), tmp_path)
    wide = asking(flat, tokenizer, end)
    with pytest.raises(CorpusError, match="no number of uint32 tokens"):
        prepare(replace(wide, corpus=replace(wide.corpus, dtype="uint32")), tmp_path)
    pair.with_suffix(".bin").unlink()
    with pytest.raises(CorpusError, match=r"no file .*tokens\.bin; an \.idx and a \.bin"):
        prepare(asking(pair, tokenizer, None), tmp_path)
    shutil.copy(odd, flat)
    shutil.copy(odd.with_suffix(".bin"), flat)
    with pytest.raises(CorpusError, match="are of two formats"):
        prepare(wide, tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], "holds no texts"),
        ([[0.5], [1.5]], "neither texts nor lists of tokens"),
        ([[1], None], "rows or tokens that are null"),
    ],
)
def test_a_column_of_something_else_is_refused(
    tmp_path: Path, tokenizer: str, values: list[Any], message: str
) -> None:
    import datasets

    datasets.Dataset.from_dict({"input_ids": values}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(CorpusError, match=message):
        prepare(asking(tmp_path / "saved", tokenizer, None), tmp_path)


STUDY = """\
study: Tokens of others
recipe:
  data:
    corpus: {corpus}
    tokenizer: {tokenizer}
    sequence: 64
    heldout: 30%
    attention: {attention}
  model: {{width: 16, layers: 1, heads: 2}}
  batch: 4
  length: 160 steps
  allow_changed: 20%
questions:
  - {{id: memory, treatment: {{method: memorization, doses: [0, 2], passages: 2, canaries: 2,
     tokens: 16}}}}
"""


def study(folder: Path, corpus: str, tokenizer: str, attention: str = "across") -> Path:
    file = folder / "study.yaml"
    file.write_text(STUDY.format(corpus=corpus, tokenizer=tokenizer, attention=attention))
    return file


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("pair", "tokens/tokens.idx"),
        ("pair", "tokens/tokens.bin"),
        ("pair", "tokens/tokens"),
        ("pair", "tokens"),
        ("flat", "{{name: tokens, end: {end}}}"),
        ("flat", "{{name: tokens, end: {end}, dtype: uint16}}"),
        ("dataset", "{{name: tokens/saved, field: input_ids}}"),
    ],
)
def test_a_study_names_tokens(
    tmp_path: Path, corpus: Corpus, documents: Documents, tokenizer: str, kind: str, named: str
) -> None:
    write(tmp_path / "tokens", kind, documents)
    named = named.format(end=corpus.tokenizer.end_of_text).replace("{{", "{").replace("}}", "}")
    found = plan(load(study(tmp_path, named, tokenizer, "within")), tmp_path / "home")
    assert found.changed_share > 0


def test_documents_that_nothing_closes_cannot_be_kept_apart(
    tmp_path: Path, documents: Documents, tokenizer: str
) -> None:
    write(tmp_path / "tokens", "pair", [document[:-1] for document in documents])
    plan(load(study(tmp_path, "tokens", tokenizer)), tmp_path / "home")
    with pytest.raises(StudyError, match=r"400 documents of this corpus do not end") as error:
        plan(load(study(tmp_path, "tokens", tokenizer, "within")), tmp_path / "home")
    assert error.value.problems[0].field == "recipe.data.attention"


def test_the_given_end_ends_and_opens_documents(
    tmp_path: Path, corpus: Corpus, documents: Documents, tokenizer: str
) -> None:
    """Insertions are marked by the token that the corpus has, not by the tokenizer's own."""
    other = 7
    marked = [
        [*(token for token in document[:-1] if token != other), other] for document in documents
    ]
    path = write(tmp_path / "given", "flat", marked)
    found = prepare(asking(path, tokenizer, other), tmp_path)
    assert found.tokenizer.end_of_text == other != corpus.tokenizer.end_of_text
    assert Corpus(found.folder).tokenizer.end_of_text == other
    token = found.tokenizer.decode([other])
    assert as_hugging_face(found.tokenizer).eos_token == token != END_OF_TEXT
