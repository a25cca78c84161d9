"""What a rule for stopping arms is, and what it would have done to curves that are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do after a checkpoint.

    Attributes:
        stop: ``(arms,)`` which arms to stop now.
        chance: that one of these would have ended best; counts towards what a rule may spend over
            the whole study.
        reason: why, in a sentence.
    """

    stop: Flags
    chance: float
    reason: str


class Rule(Protocol):
    """A rule for stopping arms."""

    def decide(self, seen: Floats, living: Flags, spent: float) -> Decision:
        """Which arms to stop.

        Args:
            seen: ``(arms, checkpoints so far)`` curves; of an arm that was stopped, what is there
                is not looked at.
            living: ``(arms,)`` which have not been stopped.
            spent: the chances of the decisions before, summed.
        """


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a rule would have done.

    Attributes:
        checkpoints: ``(arms,)`` how many checkpoints each arm was trained for.
        wrong: whether it stopped the arm that ended best.
        regret: the last value of the best arm that it left, minus that of the best of all.
        share: of all arms' steps, those that were trained, checkpoints being equally far apart.
        spent: the chance of a wrong stop that the rule stated on the way.
    """

    checkpoints: npt.NDArray[np.int64]
    wrong: bool
    regret: float
    share: float
    spent: float


def replay(rule: Rule, curves: Floats) -> Replay:
    """Carry ``rule`` out on ``(arms, checkpoints)`` curves of arms that were trained to the end."""
    arms, checkpoints = curves.shape
    living = np.ones(arms, dtype=np.bool_)
    trained = np.full(arms, checkpoints)
    spent = 0.0
    for seen in range(1, checkpoints):
        decision = rule.decide(curves[:, :seen], living, spent)
        trained[decision.stop & living] = seen
        living &= ~decision.stop
        spent += decision.chance
    last = curves[:, -1]
    best = int(np.argmin(last))
    return Replay(
        checkpoints=trained,
        wrong=not bool(living[best]),
        regret=float(last[living].min() - last[best]),
        share=float(trained.sum() / (arms * checkpoints)),
        spent=spent,
    )
