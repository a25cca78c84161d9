"""What a checkpoint or a job is: how far, what it has seen, from which parents, and whether whole.

Only files are read, and nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import xxhash
from pydantic import TypeAdapter

from trainonce.run.cache import JobCache
from trainonce.run.verify import damages
from trainonce.stream.corpora import CorpusError
from trainonce.stream.corpus import Corpus
from trainonce.stream.reserved import Decisions
from trainonce.tasks.ledger import QuestionSeen, token_ledger
from trainonce.tasks.specs.decisions import DecideSpec
from trainonce.tasks.specs.kinds import OfRun, Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec
from trainonce.tasks.trial import TrialSpec
from trainonce.train.checkpoints import (
    CheckpointError,
    Checkpoints,
    content,
    is_checkpoint,
    load,
    peek,
)
from trainonce.train.state import decisions


class TargetError(ValueError):
    """Neither a checkpoint nor a job; the message says what there is."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a checkpoint or a finished job is.

    Attributes:
        what: ``checkpoint`` or ``job``.
        place: its folder.
        job: the job's key.
        kind: ``train``, ``state``, ``average`` or ``measure``.
        step: steps done, of ``steps``.
        steps: of the whole run; for an average, of each of its runs, as all that follows.
        tokens_seen: tokens of the updates so far.
        seed: of the run.
        left_out: steps, counted from 1, whose update was left out because of ``on_nan``.
        parents: keys of the jobs whose results it was made from.
        hash: of the bytes that it holds; None when they cannot be read.
        damage: what is wrong with it; None when every checksum holds.
        ledger: what it has seen of each question; None when the corpus is not there to tell.
        plan: hash of the plan that it was run for first; None where nothing says.
    """

    what: str
    place: Path
    job: str
    kind: str
    step: int
    steps: int
    tokens_seen: int
    seed: int
    left_out: tuple[int, ...]
    parents: tuple[str, ...]
    hash: str | None
    damage: str | None
    ledger: tuple[QuestionSeen, ...] | None
    plan: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The findings as one JSON document."""
        return {**asdict(self), "place": str(self.place), "whole": self.damage is None}


def inspect(target: str, home: Path) -> Inspection:
    """Look at ``target``: a checkpoint's folder, a job's key, or the unique start of one.

    Raises:
        TargetError: when it is none of these, or a job that has saved nothing yet.
    """
    folder = Path(target).expanduser()
    if is_checkpoint(folder):
        return _checkpoint(folder.resolve(), home)
    cache = JobCache(home)
    key = _key(target, cache)
    if cache.done(key):
        return _job(key, cache)
    saved = Checkpoints(cache.work(key) / "checkpoints").folders()
    if not saved:
        raise TargetError(f"job {key} has begun and saved nothing yet")
    return _checkpoint(saved[-1], home)


def _key(target: str, cache: JobCache) -> str:
    folders = (cache.home / "jobs").glob("*/")
    known = sorted({folder.name.removesuffix(".work") for folder in folders})
    states = "@" in target
    found = [k for k in known if target and k.startswith(target) and ("@" in k) == states]
    if target in found:
        return target
    if len(found) == 1:
        return found[0]
    if found:
        raise TargetError(f"{len(found)} jobs start with {target!r}: {', '.join(found[:5])}")
    raise TargetError(
        f"{target!r} is no folder of a checkpoint, and no job under {cache.home} starts with it; "
        "`trainonce plan STUDY` lists the keys of a study's jobs"
    )


def _checkpoint(folder: Path, home: Path) -> Inspection:
    try:
        facts = peek(folder)
        if "stack" in facts:
            jobs = ", ".join(facts["stack"])
            raise TargetError(
                f"{folder} is of runs that train as one; inspect a finished one: {jobs}"
            )
        spec = TypeAdapter(TrainSpec).validate_python(facts["spec"])
    except (CheckpointError, ValueError, KeyError) as error:
        raise TargetError(f"{folder} is too damaged to say what it is: {error}") from error
    damage = held = None
    decided: dict[str, Decisions] = {}
    try:
        decided = decisions(load(folder))
        held = content(folder)
    except CheckpointError as error:
        damage = str(error)
    return _inspection(
        "checkpoint",
        folder,
        spec,
        home,
        step=int(facts["step"]),
        left_out=[int(step) for step in facts["left_out"]],
        decided=decided,
        hash=held,
        damage=damage,
    )


def _job(key: str, cache: JobCache) -> Inspection:
    folder, facts = cache.folder(key), cache.result(key)
    if is_checkpoint(folder):
        return _checkpoint(folder, cache.home)
    spec: Spec = TypeAdapter(Spec).validate_python(facts["spec"])
    sums: Mapping[str, str] = facts.get("files", {})
    damage = wrong[0] if (wrong := damages(folder, sums)) else None
    if isinstance(spec, TrialSpec):
        raise TargetError(
            f"{folder} is a trial of task {spec.task} at seed {spec.seed}: it keeps what it "
            "measured, and no steps or insertions"
        )
    trained = spec.trained
    left_out = facts if isinstance(spec, TrainSpec) else _facts_of(trained.key, cache)
    text = json.dumps(dict(sums), sort_keys=True)
    found = _inspection(
        "job",
        folder,
        spec,
        cache.home,
        step=_step(spec),
        left_out=[int(step) - 1 for step in left_out.get("left_out", ())],
        decided=cache.decided(trained) if isinstance(spec, TrainSpec) else {},
        hash=xxhash.xxh3_128_hexdigest(text.encode()) if sums else None,
        damage=damage,
    )
    return replace(found, plan=facts.get("plan"))


def _facts_of(key: str, cache: JobCache) -> Mapping[str, Any]:
    return cache.result(key) if cache.done(key) else {}


def parents(spec: Spec) -> tuple[str, ...]:
    """Keys of the jobs whose results the job of ``spec`` is made from."""
    if isinstance(spec, TrialSpec):
        return ()
    if isinstance(spec, MeasureSpec):
        return tuple(parent.key for parent in spec.parents)
    if isinstance(spec, DecideSpec):
        return spec.parents
    if isinstance(spec, AverageSpec):
        return tuple(run.key for run in spec.models)
    fork = spec.trained.fork
    return (fork.state.key,) if fork else ()


def _step(spec: OfRun) -> int:
    at = None if isinstance(spec, TrainSpec | AverageSpec) else spec.step
    return spec.trained.train.steps if at is None else at


def _inspection(
    what: str,
    place: Path,
    spec: OfRun,
    home: Path,
    *,
    step: int,
    left_out: list[int],
    decided: Mapping[str, Decisions],
    hash: str | None,
    damage: str | None,
) -> Inspection:
    run = spec.trained
    try:
        corpus = Corpus(home / "corpora" / run.corpus)
        ledger = token_ledger(run, corpus, step, left_out, decided)
    except (CorpusError, OSError):
        ledger = None
    return Inspection(
        what=what,
        place=place,
        job=spec.key,
        kind=spec.kind,
        step=step,
        steps=run.train.steps,
        tokens_seen=(step - len(left_out)) * run.train.batch * run.sequence,
        seed=run.seed,
        left_out=tuple(number + 1 for number in left_out),
        parents=parents(spec),
        hash=hash,
        damage=damage,
        ledger=ledger,
    )
