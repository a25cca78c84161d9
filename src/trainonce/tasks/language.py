"""Language: a decoder on a text corpus, with item treatments in its data and probes on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import TypeAdapter
from torch import nn

from trainonce.methods.registry import methods
from trainonce.models.build import build, shape
from trainonce.models.layers import recompute
from trainonce.sites import Measurement
from trainonce.stream.corpus import Corpus
from trainonce.stream.keys import stable_hash
from trainonce.stream.stream import TokenStream
from trainonce.tasks.specs import MeasureSpec, TrainSpec, Treated, spec_hash
from trainonce.train.checkpoints import Checkpoints, State
from trainonce.train.clock import Progress
from trainonce.train.guard import DivergedError
from trainonce.train.journal import Track
from trainonce.train.loop import StoppedError, Trained, train
from trainonce.train.losses import token_losses
from trainonce.train.processes import ALONE, Processes
from trainonce.train.replicas import train_replicas
from trainonce.train.state import reseeded


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
        name = spec_hash(facts)
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
