"""Language: a decoder on a text corpus, with item treatments in its data and probes on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from trainonce.methods.registry import methods
from trainonce.methods.weights.merging.average import Average
from trainonce.models.build import build, shape
from trainonce.models.embedding import Change, changed
from trainonce.models.layers import recompute
from trainonce.sites import Item, LanguageModel, Measurement, Pursuit
from trainonce.stream.corpus import Corpus
from trainonce.stream.keys import stable_hash
from trainonce.stream.parts import Parts
from trainonce.stream.reserved import Decisions
from trainonce.stream.stream import TokenStream
from trainonce.tasks.keys import spec_hash
from trainonce.tasks.specs.measurements import STEERING, MeasureSpec
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec, Treated
from trainonce.train.checkpoints import Checkpoints, State
from trainonce.train.clock import Progress
from trainonce.train.guard import DivergedError
from trainonce.train.journal import Track
from trainonce.train.loop import StoppedError, Trained, train
from trainonce.train.losses import token_losses
from trainonce.train.processes import ALONE, Processes
from trainonce.train.replicas import train_replicas
from trainonce.train.state import load_weights, reseeded


def run_training(
    spec: TrainSpec,
    corpus: Corpus,
    checkpoints: Checkpoints | None,
    report: Callable[[Progress], None] | None,
    stop: Callable[[], bool] | None = None,
    *,
    start: Callable[[], State | None] = lambda: None,
    until: int | None = None,
    processes: Processes = ALONE,
    track: Track | None = None,
) -> tuple[nn.Module, Trained]:
    """Train the model of ``spec``.

    Args:
        spec: the run.
        corpus: what it reads.
        checkpoints: where its state is saved.
        report: told how far it is.
        stop: asked whether to save and stop.
        start: finds an earlier state of the run, or that of the run which it forks from.
        until: the step to end at, the state there being the newest checkpoint.
        processes: that train it together, each of which calls this.
        track: told of each step once.
    """
    torch.manual_seed(stable_hash(spec.seed, "torch", bits=63))
    stream = treated_stream(spec, corpus)
    model = untrained(spec, corpus)
    if spec.recompute:
        recompute(model)
    if spec.compiled:
        model.compile()
    device = torch.device(spec.device)
    trained = train(
        model,
        stream,
        spec.train,
        checkpoints=checkpoints,
        report=report,
        stop=stop,
        device=device,
        start=lambda: _begun(spec, start()),
        until=until,
        processes=processes,
        track=track,
        objective=spec.objective.build() if spec.objective else token_losses,
    )
    return model, trained


def _begun(spec: TrainSpec, state: State | None) -> State | None:
    """``state`` with the draws of ``spec``'s own seed, where it is of a run with another one."""
    if state is None or spec.fork is None or spec.seed == spec.fork.parent.seed:
        return state
    if int(state.facts["step"]) > spec.fork.step:
        return state  # one of its own
    return reseeded(state, stable_hash(spec.seed, "torch", spec.fork.step, bits=63))


def run_stacked(
    specs: Sequence[TrainSpec],
    corpora: Sequence[Corpus],
    checkpoints: Checkpoints | None,
    report: Callable[[Progress], None] | None,
    stop: Callable[[], bool] | None = None,
) -> tuple[list[nn.Module], tuple[Trained | DivergedError, ...]]:
    """Train the models of ``specs`` as stacked parameters; runs that read the same read it once."""
    read: dict[str, TokenStream] = {}
    streams = []
    for spec, corpus in zip(specs, corpora, strict=True):
        treatments = TypeAdapter(tuple[Treated, ...]).dump_python(spec.treatments, mode="json")
        facts = {"corpus": spec.corpus, "seed": spec.seed, "rows": spec.rows, "by": treatments}
        mixture = asdict(spec.mixture) if spec.mixture else None
        name = spec_hash({**facts, "mixture": mixture})
        if name not in read:
            read[name] = treated_stream(spec, corpus)
        streams.append(read[name])
    models = [untrained(spec, corpus) for spec, corpus in zip(specs, corpora, strict=True)]
    outcomes = train_replicas(
        models,
        streams,
        [spec.train for spec in specs],
        checkpoints=checkpoints,
        report=report,
        stop=stop,
        device=torch.device(specs[0].device),
    )
    return models, outcomes


def treated_stream(spec: TrainSpec, corpus: Corpus) -> TokenStream:
    """What the run of ``spec`` reads."""
    stream = spec.stream(corpus)
    for treated in spec.treatments:
        stream = treated.apply(stream)
    return stream


def untrained(spec: TrainSpec, corpus: Corpus) -> nn.Module:
    """The model of ``spec`` before its first step."""
    seed = stable_hash(spec.seed, "weights", bits=63)
    return build(spec.model, corpus.tokenizer.size, seed, _boundary(spec, corpus))


def shell(spec: TrainSpec, corpus: Corpus) -> nn.Module:
    """A module of the shape of ``spec``'s model, for the weights of a trained one."""
    return shape(spec.model, corpus.tokenizer.size, _boundary(spec, corpus))


def _boundary(spec: TrainSpec, corpus: Corpus) -> int | None:
    return corpus.tokenizer.end_of_text if spec.attention == "within" else None


def run_averaging(
    spec: AverageSpec, corpus: Corpus, weights: Callable[[TrainSpec], dict[str, Tensor]]
) -> nn.Module:
    """The average of ``spec``, on the CPU.

    Args:
        spec: what is averaged.
        corpus: what its runs read.
        weights: those that a run ended with.
    """
    models = []
    for run in spec.models:
        model = shell(run, corpus)
        load_weights(model, weights(run))
        models.append(model)
    average = Average(weights=tuple(float(weight) for weight in spec.weights))
    return average(models)


def run_measurement(
    spec: MeasureSpec,
    model: nn.Module,
    corpus: Corpus,
    stop: Callable[[], bool] | None = None,
    steering: Sequence[nn.Module] = (),
    decided: Mapping[str, Decisions] = MappingProxyType({}),
) -> list[Measurement]:
    """Measure ``model``, which is moved to the device that it was trained on.

    Args:
        spec: what is measured.
        model: the model.
        corpus: what the probe reads.
        stop: asked before each pass through the model whether to stop.
        steering: the tuned and the untuned model that steer it, where ``spec`` says so.
        decided: what controllers decided while it trained, by question.

    Raises:
        StoppedError: when ``stop``, asked before each pass through the model, said so.
    """
    device = torch.device(spec.trained.device)
    for one in (model, *steering):
        one.to(device).eval()
    predicts: LanguageModel = model
    if spec.steered:
        predicts = methods()[STEERING].cls(alpha=spec.steered.alpha)(model, *steering)
    probe = methods()[spec.probe].cls()

    measured = _Measured(model, predicts, device, stop)
    rows: list[Measurement]
    if spec.part is not None:
        parts = Parts(corpus, spec.part.parts)
        rows = probe.on_part(measured, parts, spec.part.name, spec.trained.sequence)
    elif spec.treated is None:
        rows = probe(measured, corpus, spec.trained.sequence)
    else:
        own, items = decided.get(spec.treated.question), spec.items(corpus)
        rows = probe(measured, [_pursued(item, number, own) for number, item in enumerate(items)])
    return rows


class _Measured:
    """A model as probes see it: one that may be stopped before each pass."""

    def __init__(
        self,
        model: nn.Module,
        predicts: LanguageModel,
        device: torch.device,
        stop: Callable[[], bool] | None,
    ) -> None:
        self._model = model
        self._predicts = predicts
        self._device = device
        self._stop = stop

    def __call__(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        if self._stop is not None and self._stop():
            raise StoppedError("stopped inside a measurement, which starts anew next time")
        return self._predicts(tokens_BT.to(self._device))

    def embedded(self, tokens_BT: torch.Tensor, change: Change) -> torch.Tensor:
        with changed(self._model, change):
            return self(tokens_BT)

    def changed(self, by: Callable[[nn.Module], nn.Module]) -> _Measured:
        found = by(self._model)
        return _Measured(found, found, self._device, self._stop)


def _pursued(item: Item, number: int, decided: Decisions | None) -> Item:
    """``item`` with what a controller, where it has one, saw and did."""
    if not isinstance(item.test, Pursuit) or decided is None:
        return item
    seen = tuple((float(known), float(rate)) for known, rate in decided[:, number])
    return replace(item, test=replace(item.test, seen=seen))
