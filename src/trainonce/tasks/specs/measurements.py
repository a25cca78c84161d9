"""The specs of jobs that measure a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from trainonce.methods.registry import methods
from trainonce.sites import Item
from trainonce.stream.corpus import Corpus
from trainonce.tasks.keys import adapter, hashed, text_of
from trainonce.tasks.specs.runs import AverageSpec, Model, StateSpec, TrainSpec, Treated

HELDOUT_PROBE = "heldout_loss"
STEERING = "proxy_tuning"


@dataclass(frozen=True, kw_only=True)
class PartOf:
    """A part of a corpus, as a measurement's spec says it.

    Attributes:
        parts: fingerprint of the parts.
        name: the part's.
    """

    parts: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Steered:
    """How a model is steered while it is measured: by what tuning did to a small one.

    Attributes:
        tuned: the small model after it was tuned.
        untuned: the same without.
        alpha: strength, see `trainonce.methods.inference.steering.proxy_tuning`.
        version: of the method.
    """

    tuned: TrainSpec
    untuned: TrainSpec
    alpha: float = 1.0
    version: int = field(default_factory=lambda: methods()[STEERING].version)


@dataclass(frozen=True, kw_only=True)
class MeasureSpec:
    """All that determines the measurements of one probe on one trained model.

    Attributes:
        trained: the run that trains the model.
        probe: the probe's name.
        version: its version.
        treated: whose items are measured; None for a probe of the model as a whole.
        step: after how many steps of the run; None for its end.
        part: the part of the held-out documents that it reads; all of them when None. Left out of
            the key then.
        average: the average that is measured in place of ``trained``, which is a run of its shape.
            Left out of the key when None.
        steered: what steers the model; None for the model as it is. Left out of the key then.
    """

    kind: Literal["measure"] = "measure"
    trained: TrainSpec
    probe: str
    version: int
    treated: Treated | None = None
    step: int | None = None
    part: PartOf | None = None
    average: AverageSpec | None = None
    steered: Steered | None = None

    def __post_init__(self) -> None:
        """Refuse an average of other runs."""
        if self.average and self.average.trained != self.trained:
            raise ValueError("an average is measured with the first of its own runs as `trained`")

    @property
    def parents(self) -> tuple[Model, ...]:
        """The jobs that leave the models it takes: the measured one, and those that steer it."""
        steering = (self.steered.tuned, self.steered.untuned) if self.steered else ()
        return (self.measured, *steering)

    @property
    def measured(self) -> Model:
        """The job that leaves the model which is measured."""
        if self.average is not None:
            return self.average
        if self.step is None:
            return self.trained
        return StateSpec(trained=self.trained, step=self.step)

    @cached_property
    def key(self) -> str:
        """The job's key."""
        own = adapter(MeasureSpec).dump_python(self, mode="json", exclude={"trained", "treated"})
        treated = self.treated.text if self.treated else "null"
        return hashed(text_of(own, trained=self.trained.text, treated=treated))

    def items(self, corpus: Corpus) -> tuple[Item, ...]:
        """The items to measure: the same ones that the trained run inserts, if it does."""
        if self.treated is None:
            return ()
        stream = self.treated.apply(self.trained.stream(corpus))
        return stream.items[self.treated.question]
