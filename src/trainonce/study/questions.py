"""Questions: what is asked of a study's runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter

from trainonce.methods.registry import Method, Outcome
from trainonce.sites import ItemTreatment, Unit
from trainonce.study.recipe import Recipe
from trainonce.study.schema import Strategy


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What every question has.

    Attributes:
        id: its name in the study.
        ask: the question as the user asks it.
        outcome: the outcome that decides.
        direction: +1, -1 or 0: where the effect is expected.
        smallest: the smallest effect of interest.
        how: the strategy that the user wants, None for the cheapest.
        forbidden: strategies that the user does not want.
    """

    id: str
    ask: str
    outcome: Outcome
    direction: int
    smallest: float
    how: Strategy | None = None
    forbidden: tuple[Strategy, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ItemQuestion(_Asked):
    """Items are inserted, each as often as a dose drawn at random; doses are compared with dose 0.

    Attributes:
        method: the treatment's method.
        treatment: the method with its settings.
        lane: see `trainonce.stream.lanes`.
        window: the shares of the run between which items are inserted.
    """

    unit: ClassVar = Unit.ITEM
    method: Method
    treatment: ItemTreatment
    lane: int = 0
    window: tuple[float, float] = (0.0, 1.0)

    @property
    def treated_by(self) -> str:
        """What acts: the method's name."""
        return self.method.name

    @property
    def settings(self) -> dict[str, Any]:
        """The treatment's settings as plain JSON data."""
        adapter: TypeAdapter[Any] = TypeAdapter(self.method.cls)
        return dict(adapter.dump_python(self.treatment, mode="json"))


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A run that differs from the base run.

    Attributes:
        label: what differs, in a few words.
        recipe: its own.
        since: the step after which it may differ from the base run; 0 for from the start.
    """

    label: str
    recipe: Recipe
    since: int


@dataclass(frozen=True, kw_only=True)
class StopEarly:
    """That arms which are losing may be stopped.

    Attributes:
        chance: of a wrong stop that is allowed: of the arm which would have ended best.
        rungs: the shares of the run after which it is decided.
    """

    chance: float
    rungs: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RunQuestion(_Asked):
    """Runs with another recipe are compared with the base run of the same seed.

    Attributes:
        kind: ``change`` for another recipe, ``lengths`` for shorter runs.
        base: what the base run is called beside the arms.
        arms: the last one decides.
        late: whether an arm has the base run's recipe up to a step, and its own after it.
        stop: whether and how losing arms stop early, None where all are trained to the end.
    """

    unit: ClassVar = Unit.RUN
    kind: Literal["change", "lengths"]
    base: str
    arms: tuple[Arm, ...]
    late: bool = False
    stop: StopEarly | None = None

    @property
    def treated_by(self) -> str:
        """What acts."""
        return self.kind


Question = ItemQuestion | RunQuestion
"""A treatment, what it is compared with, and the outcome that decides."""
