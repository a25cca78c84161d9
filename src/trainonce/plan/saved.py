"""A plan as a file: written once, read and carried out later or on another machine.

The file is JSON. It holds the plan whole, and the study's text to prepare the corpus from where it
is not there yet. Runs and treatments that many jobs share are written once and named.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from trainonce.methods.registry import methods
from trainonce.plan.plan import Plan
from trainonce.stream.corpora import CorpusError
from trainonce.stream.corpus import Corpus, Progress, prepare
from trainonce.stream.tokenizers import TokenizerError
from trainonce.study.load import load
from trainonce.study.problems import StudyError
from trainonce.tasks.keys import ENGINE, content_hash
from trainonce.tasks.specs.runs import TrainSpec, Treated

VERSION = 1
"""Raised when a file is written in another form."""

_MARK = "trainonce_plan"
_MARK_WITHIN = 200
_SHARED = (TrainSpec, Treated)
_PART = "part"


class PlanFileError(ValueError):
    """A saved plan that cannot be used; the message says what differs and what would help."""


def is_saved_plan(file: Path) -> bool:
    """Whether ``file`` is a saved plan, be it a damaged one, rather than a study."""
    try:
        with file.open("rb") as opened:
            return _MARK.encode() in opened.read(_MARK_WITHIN)
    except OSError:
        return False


def save(plan: Plan, file: Path) -> None:
    """Write ``plan`` to ``file``; whatever was there is replaced."""
    parts: list[dict[str, Any]] = []
    described = _plain(plan, parts, {})
    del described["home"]
    content = {
        "made_by": _made_by(),
        "home": str(plan.home.resolve()),
        "hash": plan.hash,
        "keys": [job.key for job in plan.jobs],
        "parts": parts,
        "plan": described,
    }
    document = {_MARK: VERSION, "digest": _digest(content), **content}
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
    temporary.replace(file)


def read(file: Path, home: Path, progress: Progress | None = None) -> Plan:
    """The plan in ``file``, with its corpora prepared where they are not there.

    Args:
        file: what `save` wrote.
        home: where corpora and jobs are kept here.
        progress: told how far a corpus is prepared.

    Raises:
        PlanFileError: when it was changed since it was saved, or its jobs would not be the same
            ones here: another torch or trainonce, other methods, files or devices, another corpus.
    """
    document = _document(file)
    _refuse_others(file, document["made_by"])
    moved = _moved(file, document, home)
    content = _replaced(document, moved) if moved else document
    specs = [*_mappings([content["parts"], [job["spec"] for job in content["plan"]["jobs"]]])]
    problems = [*_other_methods(specs), *_other_files(specs), *_other_devices(specs)]
    if problems:
        raise PlanFileError(f"{file} cannot be carried out here: {'; '.join(problems)}")
    found = _plan(file, content, home)
    for corpus in sorted({job.trained.corpus for job in found.jobs if job.kind != "trial"}):
        _prepared(file, found, corpus, progress)
    return found


def _plain(value: Any, parts: list[dict[str, Any]], known: dict[int, int]) -> Any:
    """``value`` as JSON data, with what is shared put into ``parts`` and named by its number."""
    if isinstance(value, tuple):
        return [_plain(inner, parts, known) for inner in value]
    if id(value) in known:
        return {_PART: known[id(value)]}
    held = {f.name for f in dataclasses.fields(value) if _holds(getattr(value, f.name))}
    kind: type = type(value)
    plain: dict[str, Any] = _adapter(kind).dump_python(value, mode="json", exclude=held)
    plain |= {name: _plain(getattr(value, name), parts, known) for name in sorted(held)}
    if not isinstance(value, _SHARED):
        return plain
    known[id(value)] = len(parts)
    parts.append({"type": type(value).__name__, "value": plain})
    return {_PART: known[id(value)]}


def _holds(value: Any) -> bool:
    """Whether something that is shared is in ``value``, a field of a data class."""
    if isinstance(value, tuple):
        return any(map(_holds, value))
    if isinstance(value, _SHARED):
        return True
    if not dataclasses.is_dataclass(value):
        return False
    return any(_holds(getattr(value, field.name)) for field in dataclasses.fields(value))


def _whole(value: Any, parts: Sequence[Any]) -> Any:
    """``value`` with what it names put back."""
    if isinstance(value, list):
        return [_whole(inner, parts) for inner in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_PART}:
        return parts[value[_PART]]
    return {key: _whole(inner, parts) for key, inner in value.items()}


def _plan(file: Path, content: Mapping[str, Any], home: Path) -> Plan:
    kinds = {kind.__name__: kind for kind in _SHARED}
    parts: list[Any] = []
    try:
        for part in content["parts"]:
            kind = kinds[part["type"]]
            parts.append(_adapter(kind).validate_python(_whole(part["value"], parts)))
        described = {**_whole(content["plan"], parts), "home": home}
        found: Plan = _adapter(Plan).validate_python(described)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PlanFileError(
            f"{file} cannot be read by this version of trainonce: {place}: {first['msg']}; plan "
            "the study again"
        ) from None
    keys = [job.key for job in found.jobs]
    other = [now for now, before in zip(keys, content["keys"], strict=True) if now != before]
    if other or found.hash != content["hash"]:
        raise PlanFileError(
            f"{file} was saved as plan {content['hash']} and reads as {found.hash} here "
            f"({len(other)} of {len(keys)} jobs have other keys): this version of trainonce reads "
            "it otherwise; plan the study again"
        )
    return found


def _document(file: Path) -> dict[str, Any]:
    """What is in ``file``, when it is as it was written."""
    again = "save it again with `trainonce plan STUDY --save FILE`"
    try:
        document = dict(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise PlanFileError(f"{file}: {error.strerror}") from None
    except ValueError:
        raise PlanFileError(f"{file} is damaged: it is not JSON; {again}") from None
    found = document.pop(_MARK, None)
    if found != VERSION:
        raise PlanFileError(f"{file} is of form {found!r}, and this trainonce reads form {VERSION}")
    if document.pop("digest", None) != _digest(document):
        raise PlanFileError(
            f"{file} was changed or damaged after it was saved: its hash does not hold; change "
            f"the study instead, and {again}"
        )
    return document


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _made_by() -> dict[str, Any]:
    """What decides, beside a spec, which bits a job gives; and who wrote the file."""
    return {"torch": torch.__version__, "engine": ENGINE, "trainonce": version("trainonce")}


def _refuse_others(file: Path, before: Mapping[str, Any]) -> None:
    now = _made_by()
    differ = [
        f"{what} {now[name]} and the plan was made with {before[name]}"
        for name, what in (("torch", "torch is"), ("engine", "trainonce's engine is"))
        if now[name] != before[name]
    ]
    if differ:
        raise PlanFileError(
            f"{file} cannot be carried out here: {'; '.join(differ)}, so that the same job would "
            "give other bits; install that, or plan the study again"
        )


def _moved(file: Path, document: Mapping[str, Any], home: Path) -> dict[str, str]:
    """Where files lie here that are not where they were: beside the plan, or in this home.

    Returns:
        The new path by the old one; nothing for a file that is not found.
    """
    folder = Path(document["plan"]["file"]).parent
    found = {}
    for old in map(Path, _paths(_mappings(document["parts"]))):
        for before, now in ((folder, file.resolve().parent), (Path(document["home"]), home)):
            if not old.exists() and old.is_relative_to(before):
                new = now / old.relative_to(before)
                if new.exists():
                    found[str(old)] = str(new)
    return found


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """All mappings in JSON data, with those inside them: runs, treatments, methods placed."""
    if isinstance(value, dict):
        yield value
        value = [*value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from _mappings(inner)


def _paths(specs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Paths of files and folders whose content is in a key."""
    for spec in specs:
        yield from (spec["settings"][field] for field in spec.get("files") or ())
        if spec.get("model_files"):
            yield spec["model"]


def _replaced(value: Any, by: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, by) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, by) for inner in value]
    return by.get(value, value) if isinstance(value, str) else value


def _other_files(specs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    named = [
        (spec["settings"][field], before)
        for spec in specs
        for field, before in (spec.get("files") or {}).items()
    ]
    named += [(spec["model"], spec["model_files"]) for spec in specs if spec.get("model_files")]
    for path, before in dict(named).items():
        if not Path(path).exists():
            yield f"there is no {path}; put {Path(path).name} beside the plan, as it lay there"
        elif content_hash(Path(path)) != before:
            yield f"{path} holds something else than when the plan was made"


def _other_methods(specs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    named = {
        (spec[kind], spec["version"])
        for spec in specs
        for kind in ("method", "probe")
        if kind in spec and "version" in spec
    }
    for name, before in sorted(named):
        known = methods().get(name)
        if known is None:
            yield f"there is no method {name!r}; install the package that brought it"
        elif known.version != before:
            yield f"method {name!r} is of version {known.version} and was of version {before}"


def _other_devices(specs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    wanted = {spec["device"] for spec in specs if spec.get("kind") == "train"}
    if "cuda" in wanted and not torch.cuda.is_available():
        yield "its runs are for a GPU, and there is none"


def _prepared(file: Path, plan: Plan, corpus: str, progress: Progress | None) -> None:
    """Hold that a corpus is there; what is not is prepared from the study's recipe."""
    if not Corpus(plan.home / "corpora" / corpus).harmed():
        return
    place = plan.file if plan.file.is_file() else file.resolve().parent / plan.file.name
    missing = f"{file} needs corpus {corpus}, which is not in {plan.home}"
    try:
        found = prepare(load(place, plan.text).recipe.data, plan.home, progress)
    except (StudyError, CorpusError, TokenizerError) as error:
        raise PlanFileError(f"{missing} and cannot be prepared again: {error}") from None
    if found.fingerprint != corpus:
        raise PlanFileError(
            f"{missing}; prepared again from the recipe it is corpus {found.fingerprint}: its "
            "documents or its tokenizer are not what they were when the plan was made"
        )


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
