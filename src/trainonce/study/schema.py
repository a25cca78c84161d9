"""The schema of a study file: the keys that it may have, with their types and defaults."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from trainonce.study.quantities import Share
from trainonce.study.recipe_keys import ModelKeys, RecipeKeys, RungKeys, Strict, named
from trainonce.study.trackers import Tracker

AA = "aa"
"""The id of the A/A question, which every study has unasked."""


FEWEST_RUNGS = 3
"""Sizes of a ladder, beside the base run's: a law of size has three numbers."""


class Strategy(StrEnum):
    """How a question shares training."""

    MULTIPLEX = "multiplex"
    FORK = "fork"
    REPLICATE = "replicate"
    AVERAGE = "average"
    EXTRAPOLATE = "extrapolate"
    EMULATE = "emulate"


class TreatmentKeys(BaseModel):
    """``questions[].treatment``: what is done.

    ``method`` with that method's own settings beside it, which inserts items; ``change``, another
    recipe; or ``lengths``, shorter runs.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    method: str | None = None
    change: dict[str, Any] | None = None
    lengths: Annotated[list[Share], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> TreatmentKeys:
        if sum(part is not None for part in (self.method, self.change, self.lengths)) != 1:
            raise ValueError("one of method, change and lengths")
        return self


class StopKeys(Strict):
    """``questions[].stop``: ``early``, or the chance of a wrong stop and when it is decided."""

    early: Share = 0.05
    rungs: Annotated[list[Share], Field(min_length=1, default_factory=lambda: [0.25, 0.5])]

    @field_validator("early")
    @classmethod
    def _can_be_held(cls, chance: float) -> float:
        if not 0.02 <= chance <= 0.5:
            raise ValueError(
                "a chance of a wrong stop from 2% to 50%: rehearsals can show no smaller one, and "
                "a larger one is a coin"
            )
        return chance

    @field_validator("rungs")
    @classmethod
    def _in_the_middle_and_in_order(cls, rungs: list[float]) -> list[float]:
        if sorted({*rungs}) != rungs or not 0 < rungs[0] <= rungs[-1] < 1:
            raise ValueError("ascending shares of the run between 0 and 100%, such as [25%, 50%]")
        return rungs


def _early(value: Any) -> Any:
    """Let ``early`` stand for its defaults."""
    if value == "early":
        return {}
    if not isinstance(value, dict):
        raise ValueError("`early`, or the chance of a wrong stop that is allowed: `{early: 5%}`")
    return value


class QuestionKeys(Strict):
    """``questions[]``."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    ask: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    treatment: Annotated[TreatmentKeys, named("method")]
    at: Share = 0.0
    window: tuple[Share, Share] = (0.0, 1.0)
    measure_at: Annotated[list[Share], Field(default_factory=list)]
    outcome: str | None = None
    expect: Literal["increase", "decrease", "change"] | None = None
    smallest_effect: Annotated[float, Field(gt=0)] | None = None
    lane: Annotated[int, Field(ge=0)] = 0
    stop: Annotated[StopKeys, BeforeValidator(_early)] | None = None
    ladder: list[RungKeys] | None = None
    small: Annotated[ModelKeys, named("name")] | None = None
    how: Strategy | None = None
    forbidden: Annotated[list[Strategy], Field(alias="not", default_factory=list)]
    check: Annotated[int, Field(ge=0)] = 2

    @field_validator("at")
    @classmethod
    def _before_the_end(cls, share: float) -> float:
        if share == 1:
            raise ValueError("a share under 100%: nothing comes after the end")
        return share

    @field_validator("ladder")
    @classmethod
    def _enough_rungs(cls, ladder: list[RungKeys] | None) -> list[RungKeys] | None:
        if ladder is not None and len(ladder) < FEWEST_RUNGS:
            raise ValueError(
                f"{FEWEST_RUNGS} sizes at least: with the base run that is one more than the law "
                "of size has numbers"
            )
        return ladder

    @field_validator("window")
    @classmethod
    def _in_order(cls, window: tuple[float, float]) -> tuple[float, float]:
        if not window[0] < window[1]:
            raise ValueError("two shares of the run, the first one below the second")
        return window

    @field_validator("measure_at", mode="before")
    @classmethod
    def _one_share_is_a_list(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @field_validator("measure_at")
    @classmethod
    def _after_the_start(cls, shares: list[float]) -> list[float]:
        if 0 in shares or sorted(set(shares)) != shares:
            raise ValueError("shares of the run above 0, each above the one before")
        return shares

    @field_validator("forbidden", mode="before")
    @classmethod
    def _one_strategy_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class CheckKeys(Strict):
    """``checks``: what tests that sharing did no harm."""

    plain: bool = True


class StudyKeys(Strict):
    """A study file."""

    study: Annotated[str, Field(min_length=1, max_length=200)]
    recipe: RecipeKeys = RecipeKeys()
    questions: Annotated[list[QuestionKeys], Field(min_length=1)]
    checks: CheckKeys = CheckKeys()
    tracking: Annotated[list[Tracker], Field(default_factory=list)]

    @field_validator("tracking", mode="before")
    @classmethod
    def _one_tracker_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value
