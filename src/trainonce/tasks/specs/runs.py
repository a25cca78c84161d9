"""The specs of jobs that leave a model: training runs, their states, and averages of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from pydantic import TypeAdapter

from trainonce.methods.registry import Method, methods
from trainonce.models.decoder import DecoderSettings
from trainonce.stream.corpus import Corpus
from trainonce.stream.mixture import Mixed, Mixture
from trainonce.stream.parts import Parts
from trainonce.stream.stream import TokenStream
from trainonce.tasks.keys import adapter, hashed, spec_hash, text_of
from trainonce.train.settings import ProcessSettings, TrainSettings


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
        window: the shares of the run between which it acts.
    """

    question: str
    method: str
    version: int
    settings: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    lane: int = 0
    window: tuple[float, float] = (0.0, 1.0)

    def apply(self, stream: TokenStream) -> TokenStream:
        """``stream`` with this treatment applied under its question's key."""
        known = methods()[self.method]
        treatment: Any = known.adapter.validate_python(self.settings)
        treated: TokenStream = treatment(stream.keyed(self.question, self.lane, self.window))
        return treated

    @cached_property
    def text(self) -> str:
        """Its part of a key's text: kept, as every run that it is in asks for it."""
        return text_of(adapter(Treated).dump_python(self, mode="json"))


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A method at its site in a run.

    Attributes:
        method: its name.
        version: its version.
        settings: its settings as plain data.
    """

    method: str
    version: int
    settings: dict[str, Any]

    @classmethod
    def of(cls, known: Method, settings: Any) -> Placed:
        """``known`` with ``settings``, an instance of its class."""
        adapter: TypeAdapter[Any] = TypeAdapter(known.cls)
        plain = dict(adapter.dump_python(settings, mode="json"))
        return cls(method=known.name, version=known.version, settings=plain)

    def build(self) -> Any:
        """The method, to be called."""
        return TypeAdapter(methods()[self.method].cls).validate_python(self.settings)


@dataclass(frozen=True)
class Fork:
    """Where a run begins that is not at its own step 0: in another run, after ``step`` steps."""

    parent: TrainSpec
    step: int

    @property
    def state(self) -> StateSpec:
        """The state that it begins with."""
        return StateSpec(trained=self.parent, step=self.step)

    @property
    def text(self) -> str:
        """Its part of a key's text."""
        return text_of({"step": self.step}, parent=self.parent.text)


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
        attention: whether a token attends ``across`` the documents packed in its sequence, or
            ``within`` its own only.
        fork: the run that it leaves, None for one that begins at step 0. Its own numbers hold from
            there on; what it reads is laid out as that run's.
        stack: names the runs that it is trained with as stacked parameters (see `stacked`), which
            moves its last bits; None for a run by itself.
        processes: that train it together; one when None. Left out of the key then.
        recompute: whether layers are computed twice, see `trainonce.models.layers.recompute`. Left
            out of the key when they are not.
        compiled: whether the model is compiled, which moves its last bits. Left out of the key when
            it is not.
        mixture: the parts of the corpus that it reads; the corpus as a whole when None, and left
            out of the key then.
        objective: what it minimizes; cross-entropy, and left out of the key, when None.
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
    attention: Literal["across", "within"] = "across"
    fork: Fork | None = None
    stack: str | None = None
    processes: ProcessSettings | None = None
    recompute: bool = False
    compiled: bool = False
    mixture: Mixture | None = None
    objective: Placed | None = None

    def __post_init__(self) -> None:
        """Refuse a fork that would read other positions than the run that it leaves."""
        if self.fork is None:
            return
        parent = self.fork.parent
        if (parent.train.batch, parent.sequence) != (self.train.batch, self.sequence):
            raise ValueError("a fork reads batches and sequences of the same size as its parent")
        if not parent.begins <= self.fork.step <= min(parent.train.steps, self.train.steps):
            raise ValueError(
                f"a fork after {self.fork.step} steps lies outside of its parent's steps "
                f"{parent.begins} to {parent.train.steps}, or its own {self.train.steps}"
            )

    def stream(self, corpus: Corpus) -> TokenStream:
        """What the run reads, without insertions."""
        mixture = self.mixture
        mixed = Mixed(Parts(corpus, mixture.parts), mixture.counts) if mixture else None
        return TokenStream(corpus, self.sequence, self.rows, self.seed, mixed=mixed)

    @property
    def rows(self) -> int:
        """Sequences among which insertions are laid out: those of the run that all forks left."""
        return self.fork.parent.rows if self.fork else self.train.steps * self.train.batch

    @property
    def begins(self) -> int:
        """Steps that it need not do itself."""
        return self.fork.step if self.fork else 0

    def after(self, step: int) -> StateSpec:
        """Its state after ``step`` steps: up to where it forks off, that of the run it leaves."""
        run = self
        while run.fork and step <= run.fork.step:
            run = run.fork.parent
        return StateSpec(trained=run, step=step)

    @cached_property
    def name(self) -> str:
        """What it has in common with the same run on other threads, stacked, or compiled."""
        return replace(self, stack=None, threads=1, compiled=False).key

    @property
    def trained(self) -> TrainSpec:
        """The training run that this job is about."""
        return self

    @cached_property
    def key(self) -> str:
        """The job's key."""
        return hashed(self.text)

    @cached_property
    def text(self) -> str:
        """What its key is the hash of; what measures the run asks for it again."""
        own = adapter(TrainSpec).dump_python(self, mode="json", exclude={"treatments", "fork"})
        return text_of(
            own,
            treatments=f"[{','.join(treated.text for treated in self.treatments)}]",
            fork=self.fork.text if self.fork else "null",
        )


@dataclass(frozen=True, kw_only=True)
class StateSpec:
    """The whole state of a run after ``step`` steps, for forks to begin with.

    The run itself goes on from it with the same bits, so that it does not matter to its key.
    """

    kind: Literal["state"] = "state"
    trained: TrainSpec
    step: int

    def __post_init__(self) -> None:
        """Refuse a step that the run does not reach."""
        if not self.trained.begins <= self.step <= self.trained.train.steps:
            raise ValueError(
                f"step {self.step} lies outside of the run's steps {self.trained.begins} to "
                f"{self.trained.train.steps}"
            )

    @property
    def key(self) -> str:
        """The job's key: that of the run, ``@`` and the step."""
        return f"{self.trained.key}@{self.step}"


@dataclass(frozen=True, kw_only=True)
class AverageSpec:
    """The weighted average of the parameters that runs of one seed end with.

    Attributes:
        models: the runs.
        weights: of each run's parameters, in proportion.
        version: that of `trainonce.methods.weights.merging.average`.
    """

    kind: Literal["average"] = "average"
    models: tuple[TrainSpec, ...]
    weights: tuple[int, ...]
    version: int

    def __post_init__(self) -> None:
        """Refuse runs that have no average."""
        if not self.models or len(self.models) != len(self.weights):
            raise ValueError(f"{len(self.weights)} weights for {len(self.models)} runs")
        if len({(run.seed, run.corpus, run.model_files, run.model) for run in self.models}) > 1:
            raise ValueError("runs that are averaged have one seed, one corpus and one model")

    @property
    def trained(self) -> TrainSpec:
        """A run with this model's shape, seed and corpus."""
        return self.models[0]

    @property
    def key(self) -> str:
        """The job's key."""
        return spec_hash(adapter(AverageSpec).dump_python(self, mode="json"))


Model = TrainSpec | StateSpec | AverageSpec
"""A job that leaves a model."""


def stacked(specs: Sequence[TrainSpec], threads: int) -> tuple[TrainSpec, ...]:
    """``specs`` as runs that are trained together, on ``threads`` threads."""
    name = spec_hash({"stack": sorted(spec.name for spec in specs), "threads": threads})
    return tuple(replace(spec, stack=name, threads=threads) for spec in specs)
