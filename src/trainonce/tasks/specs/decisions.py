"""The specs of jobs that decide which arms go on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from trainonce.tasks.keys import adapter, spec_hash
from trainonce.tasks.specs.runs import StateSpec, TrainSpec


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """How losing arms are stopped: all that decides it, fixed before any of them is trained.

    Attributes:
        checkpoints: equal parts of a run; its curve is the mean training loss of each.
        rungs: the parts, counted from 1, after which it is decided.
        spend: what predictions may think that they spend (`trainonce.plan.early.stopping`).
        chance: of a wrong stop that this came to in rehearsals.
        share: of the arms' steps that were trained in these.
        curves: those of finished runs, which predictions are learned from; the last value of each
            is its held-out loss.
    """

    checkpoints: int
    rungs: tuple[int, ...]
    spend: float
    chance: float
    share: float
    curves: tuple[tuple[float, ...], ...]

    def step(self, rung: int, steps: int) -> int:
        """The step of a run of ``steps`` at which a part ends."""
        return rung * steps // self.checkpoints


@dataclass(frozen=True, kw_only=True)
class DecideSpec:
    """All that determines which arms go on after a rung.

    Attributes:
        runs: those of each arm, a seed each.
        rule: by which it is decided.
        rung: one of the rule's.
    """

    kind: Literal["decide"] = "decide"
    runs: tuple[tuple[TrainSpec, ...], ...]
    rule: StopRule
    rung: int

    @property
    def trained(self) -> TrainSpec:
        """The first of the runs."""
        return self.runs[0][0]

    @property
    def step(self) -> int:
        """The step after which it is decided."""
        return self.rule.step(self.rung, self.trained.train.steps)

    @property
    def states(self) -> tuple[tuple[StateSpec, ...], ...]:
        """What is looked at of each arm."""
        return tuple(tuple(StateSpec(trained=r, step=self.step) for r in arm) for arm in self.runs)

    @property
    def earlier(self) -> DecideSpec | None:
        """The decision at the rung before."""
        before = [rung for rung in self.rule.rungs if rung < self.rung]
        return replace(self, rung=before[-1]) if before else None

    @property
    def parents(self) -> tuple[str, ...]:
        """Keys of the jobs whose results it needs."""
        states = tuple(state.key for arm in self.states for state in arm)
        return (*states, self.earlier.key) if self.earlier else states

    @property
    def key(self) -> str:
        """The job's key."""
        return spec_hash(adapter(DecideSpec).dump_python(self, mode="json"))
