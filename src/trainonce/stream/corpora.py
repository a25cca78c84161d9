"""Corpora by name or path, as documents."""

from __future__ import annotations

import ast
import gzip
import itertools
import json
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import xxhash

_PIECE_CHARACTERS = 4_000
_READ_CHARACTERS = 1_000_000
_PARQUET_ROWS = 50_000
_DATASET_ROWS = 1_000
_TEXT_SUFFIXES = (".txt", ".md", ".rst", ".py", ".text")
_SKIPPED_FOLDERS = frozenset({"test", "tests", "idle_test", "site-packages", "__pycache__"})


class CorpusError(ValueError):
    """A corpus that cannot be read; the message says which, and what would help."""


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """Where documents come from.

    Attributes:
        name: ``stdlib``, a file or folder, or a Hugging Face dataset id.
        field: the field (column) that holds the text, in JSONL, Parquet and datasets; or a list of
            tokens, in datasets.
        split: the split of a Hugging Face dataset.
        end: where the corpus is tokens: the one that ends a document; the tokenizer's own end of
            text when left out.
        dtype: of the tokens in flat files, which do not say it; as the vocabulary needs when left
            out.
    """

    name: str
    field: str = "text"
    split: str = "train"
    end: int | None = None
    dtype: str | None = None


class Document(NamedTuple):
    """A text with the name of where it stood.

    Attributes:
        name: the path of its file below the corpus's folder, with ``/``; a help topic of the
            standard library is ``topics/NAME``; a dataset gives its own name to all documents.
        text: what is read.
    """

    name: str
    text: str


def documents(source: CorpusSource) -> Iterator[str]:
    """The texts of `named_documents`."""
    return (document.text for document in named_documents(source))


def named_documents(source: CorpusSource) -> Iterator[Document]:
    """The documents of ``source``, in an order that is the same on every call.

    Raises:
        CorpusError: when there is no such corpus, or it has no such field.
    """
    if source.name == "stdlib":
        return _stdlib()
    path = Path(source.name)
    if path.is_dir():
        return _folder(path, source)
    if path.is_file():
        return _named(path.name, _file(path, source.field))
    if looks_like_a_path(source.name):
        raise CorpusError(f"there is no file or folder {source.name}")
    return _named(source.name, _hugging_face(source))


def _named(name: str, texts: Iterable[str]) -> Iterator[Document]:
    return (Document(name, text) for text in texts)


def looks_like_a_path(name: str) -> bool:
    """Whether ``name`` can only be meant as a file or folder, not as a dataset id."""
    path = Path(name)
    suffixes = {*_TEXT_SUFFIXES, ".jsonl", ".json", ".parquet", ".gz", ".idx", ".bin", ".npy"}
    return path.is_absolute() or name.startswith((".", "~")) or path.suffix in suffixes


class Fingerprint:
    """A hash of all documents in order: the corpus, whatever it was read from.

    Attributes:
        documents: how many there were so far.
    """

    def __init__(self) -> None:
        self.documents = 0
        self._digest = xxhash.xxh3_128()

    def of(self, texts: Iterable[str]) -> Iterator[str]:
        """``texts`` as they are, each counted in as it passes."""
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            self._digest.update(len(data).to_bytes(8, "little"))
            self._digest.update(data)
            self.documents += 1
            yield text

    @property
    def hash(self) -> str:
        """The hash of what has passed."""
        return self._digest.hexdigest()


def fingerprint(texts: Iterable[str]) -> Fingerprint:
    """The fingerprint of all of ``texts``, none of which is kept."""
    found = Fingerprint()
    for _ in found.of(texts):
        pass
    return found


def unique(texts: Iterable[str]) -> Iterator[str]:
    """Each text once, where it first comes. Hashes are kept, some 80 bytes a text."""
    return (document.text for document in unique_documents(_named("", texts)))


def unique_documents(found: Iterable[Document]) -> Iterator[Document]:
    """Each text once, under the name that it first has."""
    seen = set()
    for document in found:
        hashed = xxhash.xxh3_128_intdigest(document.text.encode("utf-8", "surrogatepass"))
        if hashed not in seen:
            seen.add(hashed)
            yield document


def _stdlib() -> Iterator[Document]:
    """Each module of the Python standard library, and each help topic, as found on this machine.

    A module's source holds its documentation strings; the topics' own module is left out, so that
    no text stands in two documents.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if _SKIPPED_FOLDERS.isdisjoint(relative.parts) and relative.parts[0] != "pydoc_data":
            text = path.read_text(encoding="utf-8", errors="replace")
            if text.strip():
                yield Document(relative.as_posix(), text)
    topics = root / "pydoc_data" / "topics.py"
    if topics.is_file():
        yield from _string_values(topics.read_text(encoding="utf-8"))


def _string_values(source: str) -> Iterator[Document]:
    """The string values of the first dictionary literal in ``source``, which is not executed."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    name = str(key.value) if isinstance(key, ast.Constant) else "unnamed"
                    yield Document(f"topics/{name}", value.value)
            return


def _folder(path: Path, source: CorpusSource) -> Iterator[Document]:
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        yield from _named(path.name, _hugging_face(source))
        return
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and _readable(file)]
    if not files:
        raise CorpusError(f"{path} holds no text, JSONL or Parquet file")
    for file in files:
        yield from _named(file.relative_to(path).as_posix(), _file(file, source.field))


def _readable(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((*_TEXT_SUFFIXES, ".jsonl", ".parquet"))


def _file(path: Path, field: str) -> Iterator[str]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return _parquet(path, field)
    if name.endswith(".jsonl"):
        return _json_lines(path, field)
    if name.endswith(_TEXT_SUFFIXES) or "." not in name:
        return _text(path)
    raise CorpusError(
        f"{path} is none of text ({', '.join(_TEXT_SUFFIXES)}), .jsonl and .parquet, plain or .gz; "
        "nor tokens: a pair of .idx and .bin, or .npy"
    )


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")


def _text(path: Path) -> Iterator[str]:
    with _opened(path) as file:
        yield from pieces(iter(lambda: file.read(_READ_CHARACTERS), ""))


def pieces(chunks: Iterable[str], characters: int = _PIECE_CHARACTERS) -> Iterator[str]:
    """Cut one long text into documents of about ``characters``, at blank lines where it has them.

    A book in one file must be many documents, so that some can be held out.

    Args:
        chunks: the text, in chunks of any length; no more than one and a paragraph are kept.
        characters: about how long a document is.
    """
    parts = (
        paragraph[start : start + characters]
        for paragraph in _paragraphs(chunks)
        for start in range(0, max(1, len(paragraph)), characters)
    )
    piece = ""
    for paragraph in parts:
        if piece and len(piece) + len(paragraph) > characters:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{paragraph}" if piece else paragraph
    if piece.strip():
        yield piece


def _paragraphs(chunks: Iterable[str]) -> Iterator[str]:
    """What splitting the whole text at blank lines gives."""
    unfinished: list[str] = []
    newlines = ""
    for chunk in chunks:
        text = newlines + chunk
        body = text.rstrip("\n")  # a separator may go on in the next chunk
        newlines = text[len(body) :]
        first, *others = body.split("\n\n")
        unfinished.append(first)
        for other in others:
            yield "".join(unfinished)
            unfinished = [other]
    yield from ("".join(unfinished) + newlines).split("\n\n")


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The line number and value of each line of a JSONL file, plain or ``.gz``.

    Raises:
        CorpusError: with file and line, when a line is not JSON.
    """
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise CorpusError(f"{path}:{number}: not JSON ({error.msg})") from None


def _json_lines(path: Path, field: str) -> Iterator[str]:
    for number, row in json_lines(path):
        if not isinstance(row, dict) or not isinstance(row.get(field), str):
            found = ", ".join(sorted(row)) if isinstance(row, dict) else type(row).__name__
            raise CorpusError(f"{path}:{number}: no text in field {field!r}; found: {found}")
        yield row[field]


def _parquet(path: Path, field: str) -> Iterator[str]:
    import polars as pl

    columns = pl.read_parquet_schema(path)
    if columns.get(field) != pl.String:
        raise CorpusError(f"{path}: no text in column {field!r}; columns: {', '.join(columns)}")
    rows = pl.scan_parquet(path).select(field)
    for start in itertools.count(0, _PARQUET_ROWS):
        texts = rows.slice(start, _PARQUET_ROWS).collect()[field]
        yield from (text for text in texts if text is not None)
        if len(texts) < _PARQUET_ROWS:
            return


def _hugging_face(source: CorpusSource) -> Iterator[str]:
    data = load_dataset(source)
    kind = getattr(data.features[source.field], "dtype", None)
    if kind not in ("string", "large_string"):
        raise CorpusError(
            f"field {source.field!r} of dataset {source.name!r} holds no texts; "
            f"it has: {', '.join(data.column_names)}"
        )
    for rows in data.select_columns([source.field]).iter(_DATASET_ROWS):
        yield from (text for text in rows[source.field] if text is not None)


def load_dataset(source: CorpusSource) -> Any:
    """The Hugging Face dataset of ``source``, saved in a folder or by its id.

    Raises:
        CorpusError: when it cannot be loaded, or has no such field.
    """
    try:
        import datasets
    except ImportError:
        raise CorpusError(
            f"{source.name!r} is read as a Hugging Face dataset, which needs: "
            "pip install 'trainonce[hf]'"
        ) from None
    try:
        if Path(source.name).is_dir():
            loaded = datasets.load_from_disk(source.name)
            data = loaded[source.split] if isinstance(loaded, datasets.DatasetDict) else loaded
        else:
            data = datasets.load_dataset(source.name, split=source.split)
    except Exception as error:  # whatever the hub, the network or a loader raises
        raise CorpusError(
            f"no file or folder {source.name!r}, and Hugging Face datasets cannot load it: {error}"
        ) from error
    if source.field not in data.column_names:
        raise CorpusError(
            f"dataset {source.name!r} has no field {source.field!r}; "
            f"it has: {', '.join(data.column_names)}"
        )
    return data
