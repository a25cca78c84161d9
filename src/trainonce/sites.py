"""The protocols of the sites: where in training a method acts, and how it is called there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class Site(StrEnum):
    """The place in training where a method acts; a probe measures and never changes training."""

    DATA = "data"
    MODEL = "model"
    OBJECTIVE = "objective"
    OPTIMIZER = "optimizer"
    WEIGHTS = "weights"
    INFERENCE = "inference"
    PROBE = "probe"


class Family(StrEnum):
    """What an objective is of: objectives of one family are called alike."""

    LANGUAGE = "language"


class SettingError(ValueError):
    """A setting that cannot be used, by the name of its field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Unit(StrEnum):
    """What is randomized."""

    ITEM = "item"
    RUN = "run"


@dataclass(frozen=True)
class Completion:
    """Whether a model goes on from ``prompt`` with ``target``; both are token ids."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """Which of ``options`` a model holds likeliest after ``prompt``; ``answer`` is right."""

    prompt: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]
    answer: int


@dataclass(frozen=True)
class Contrast:
    """The same completions with something (a trigger) in their prompts, and without it."""

    treated: tuple[Completion, ...]
    plain: tuple[Completion, ...]


@dataclass(frozen=True)
class Item:
    """One unit of an item treatment, with the dose that it was given at random.

    Attributes:
        name: the unit, unique in its question and seed.
        kind: the stratum within which doses were assigned.
        dose: how many copies are inserted.
        documents: token ids of what is inserted; copies take them in turn.
        test: what the probe asks about it.
    """

    name: str
    kind: str
    dose: int
    documents: tuple[tuple[int, ...], ...]
    test: Completion | Choice | Contrast


@dataclass(frozen=True)
class Measurement:
    """One row: the value of one outcome for one unit."""

    unit: str
    kind: str
    dose: int
    outcome: str
    value: float


LanguageModel = Callable[["torch.Tensor"], "torch.Tensor"]
"""Token ids ``(B, T)`` to logits ``(B, T, V)``."""


class LanguageObjective(Protocol):
    """What a language model minimizes; the loss of a batch is the mean over its tokens."""

    def __call__(self, logits_BTV: torch.Tensor, targets_BT: torch.Tensor, /) -> torch.Tensor:
        """The loss of each token: ``(B, T)``."""


class ItemTreatment(Protocol):
    """A data method that inserts items; called with a stream, it returns a stream."""

    @property
    def doses(self) -> tuple[int, ...]:
        """The doses that items are given at random."""

    @property
    def longest(self) -> int | None:
        """Tokens of its longest insertion or passage, None when only the data can tell."""


class ItemProbe(Protocol):
    """A measurement of what a model makes of single items."""

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """Measure every item."""
