"""Language: a decoder on a text corpus, with item treatments in its data and probes on it.

The specs here say all that determines a result, and nothing else; a job's key is their hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import xxhash
from pydantic import TypeAdapter
from torch import nn

from trainonce.methods.registry import methods
from trainonce.models.build import build, shape
from trainonce.models.decoder import DecoderSettings
from trainonce.models.layers import recompute
from trainonce.sites import Item, Measurement
from trainonce.stream.corpus import Corpus
from trainonce.stream.keys import stable_hash
from trainonce.stream.stream import TokenStream
from trainonce.train.checkpoints import Checkpoints
from trainonce.train.clock import Progress
from trainonce.train.journal import Track
from trainonce.train.loop import StoppedError, Trained, train
from trainonce.train.processes import ALONE, Processes
from trainonce.train.settings import ProcessSettings, TrainSettings

HELDOUT_PROBE = "heldout_loss"
ENGINE = 1
"""Raised when the same spec gives other bits than before, so that no cached job is reused."""
_LATER = frozenset({"processes", "recompute"})
"""Fields that came later, and are left out of the key where they ask for nothing."""


@dataclass(frozen=True, kw_only=True)
class Treated:
    """A question's treatment as a job sees it.

    Attributes:
        question: the question's id.
        method: the method's name.
        version: the method's version.
        settings: the method's settings as plain data.
        files: content hash of each setting that names a file.
        lane: the question's lane number.
    """

    question: str
    method: str
    version: int
    settings: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    lane: int = 0

    def apply(self, stream: TokenStream) -> TokenStream:
        """``stream`` with this treatment applied under its question's key."""
        known = methods()[self.method]
        treatment: Any = TypeAdapter(known.cls).validate_python(self.settings)
        treated: TokenStream = treatment(stream.keyed(self.question, self.lane))
        return treated


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """All that determines one training run.

    Attributes:
        corpus: fingerprint of the tokenized corpus.
        sequence: tokens a sequence.
        model: what `trainonce.models.build.build` takes.
        model_files: content hash of the model's files, when it is read from a folder.
        train: the run's numbers.
        seed: of weights, order and all draws.
        treatments: what is inserted, by question id.
        device: ``cpu`` or ``cuda``.
        threads: threads of the matrix products; other numbers give other last bits.
        processes: that train it together; one when None. Left out of the key then.
        recompute: whether layers are computed twice, see `trainonce.models.layers.recompute`. Left
            out of the key when they are not.
    """

    kind: Literal["train"] = "train"
    corpus: str
    sequence: int
    model: str | DecoderSettings
    model_files: str | None = None
    train: TrainSettings
    seed: int
    treatments: tuple[Treated, ...] = ()
    device: str = "cpu"
    threads: int = 1
    processes: ProcessSettings | None = None
    recompute: bool = False

    def stream(self, corpus: Corpus) -> TokenStream:
        """What the run reads, without insertions."""
        rows = self.train.steps * self.train.batch
        return TokenStream(corpus, self.sequence, rows, self.seed)

    @property
    def key(self) -> str:
        """The job's key."""
        return _hash(TypeAdapter(TrainSpec).dump_python(self, mode="json"))


@dataclass(frozen=True, kw_only=True)
class MeasureSpec:
    """All that determines the measurements of one probe on one trained model.

    Attributes:
        trained: the run that trains the model.
        probe: the probe's name.
        version: its version.
        treated: whose items are measured; None for a probe of the model as a whole.
    """

    kind: Literal["measure"] = "measure"
    trained: TrainSpec
    probe: str
    version: int
    treated: Treated | None = None

    @property
    def key(self) -> str:
        """The job's key."""
        return _hash(TypeAdapter(MeasureSpec).dump_python(self, mode="json"))

    def items(self, corpus: Corpus) -> tuple[Item, ...]:
        """The items to measure: the same ones that the trained run inserts, if it does."""
        if self.treated is None:
            return ()
        stream = self.treated.apply(self.trained.stream(corpus))
        return stream.items[self.treated.question]


Spec = TrainSpec | MeasureSpec


def run_training(
    spec: TrainSpec,
    corpus: Corpus,
    checkpoints: Checkpoints | None,
    report: Callable[[Progress], None] | None,
    stop: Callable[[], bool] | None = None,
    processes: Processes = ALONE,
    track: Track | None = None,
) -> tuple[nn.Module, Trained]:
    """Train the model of ``spec``, with the other ``processes``, each of which calls this."""
    torch.manual_seed(stable_hash(spec.seed, "torch", bits=63))
    stream = spec.stream(corpus)
    for treated in spec.treatments:
        stream = treated.apply(stream)
    model = untrained(spec, corpus)
    if spec.recompute:
        recompute(model)
    device = torch.device(spec.device)
    trained = train(
        model,
        stream,
        spec.train,
        checkpoints=checkpoints,
        report=report,
        stop=stop,
        device=device,
        processes=processes,
        track=track,
    )
    return model, trained


def untrained(spec: TrainSpec, corpus: Corpus) -> nn.Module:
    """The model of ``spec`` before its first step."""
    return build(spec.model, corpus.tokenizer.size, stable_hash(spec.seed, "weights", bits=63))


def shell(spec: TrainSpec, corpus: Corpus) -> nn.Module:
    """A module of the shape of ``spec``'s model, for the weights of a trained one."""
    return shape(spec.model, corpus.tokenizer.size)


def run_measurement(
    spec: MeasureSpec,
    model: nn.Module,
    corpus: Corpus,
    stop: Callable[[], bool] | None = None,
) -> list[Measurement]:
    """Measure ``model``, which is moved to the device that it was trained on.

    Raises:
        StoppedError: when ``stop``, asked before each pass through the model, said so.
    """
    device = torch.device(spec.trained.device)
    model.to(device).eval()
    probe = methods()[spec.probe].cls()

    def logits(tokens_BT: torch.Tensor) -> torch.Tensor:
        if stop is not None and stop():
            raise StoppedError("stopped inside a measurement, which starts anew next time")
        found: torch.Tensor = model(tokens_BT.to(device))
        return found

    if spec.treated is None:
        rows: list[Measurement] = probe(logits, corpus, spec.trained.sequence)
    else:
        rows = probe(logits, spec.items(corpus))
    return rows


def content_hash(path: Path) -> str:
    """A hash of a file, or of all files below a folder with their names."""
    digest = xxhash.xxh3_128()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode())
            with file.open("rb") as opened:
                while chunk := opened.read(1 << 22):
                    digest.update(chunk)
    return digest.hexdigest()


def _hash(spec: Mapping[str, Any]) -> str:
    code = {"engine": ENGINE, "torch": torch.__version__}
    text = json.dumps([code, _by_content(spec)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _by_content(value: Any) -> Any:
    """``value`` with the paths of files replaced by what the files hold."""
    if isinstance(value, Mapping):
        plain = {key: _by_content(inner) for key, inner in value.items()}
        if plain.get("files"):
            plain["settings"] = {**plain["settings"], **plain["files"]}
        if plain.get("model_files"):
            plain["model"] = plain["model_files"]
        if plain.get("kind") == "train":
            plain = {key: inner for key, inner in plain.items() if key not in _LATER or inner}
        return plain
    if isinstance(value, (list, tuple)):
        return [_by_content(inner) for inner in value]
    return value
