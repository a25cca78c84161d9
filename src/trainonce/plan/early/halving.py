"""Successive halving: at each rung only the best share of the arms goes on.

Jamieson and Talwalkar (2016, arXiv 1502.07943). What it risks depends on how often curves cross, so
that the share is set by `trainonce.plan.early.calibration` from studies that are finished.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainonce.plan.early.rule import Decision, Flags, Floats


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Keep the best ``keep`` of the living arms at each rung.

    Attributes:
        rungs: checkpoints, counted from 1, after which arms are stopped.
        keep: share of the living arms that goes on, rounded up; 1 stops none.
        chance: of a wrong stop in a study, all rungs together, as calibrated.
    """

    rungs: tuple[int, ...]
    keep: float = 0.5
    chance: float = 1.0

    def decide(self, seen: Floats, living: Flags, spent: float) -> Decision:
        """Stop the worst arms when a rung is reached."""
        stop = np.zeros(len(living), dtype=np.bool_)
        if seen.shape[1] not in self.rungs:
            return Decision(stop=stop, chance=0.0, reason="no rung")
        left = int(living.sum())
        kept = max(1, math.ceil(self.keep * left - 1e-9))
        order = np.argsort(np.where(living, seen[:, -1], np.inf), kind="stable")
        stop[order[kept:left]] = True
        return Decision(
            stop=stop,
            chance=max(0.0, self.chance - spent) if stop.any() else 0.0,
            reason=f"rung at checkpoint {seen.shape[1]}: the best {kept} of {left} arms go on",
        )


def rungs(checkpoints: int, first: float = 0.125, factor: float = 2.0) -> tuple[int, ...]:
    """Rungs at ``first`` of a run and at every ``factor`` times that before its end."""
    found = []
    share = first
    while share < 1 - 1e-9:
        found.append(max(1, round(share * checkpoints)))
        share *= factor
    return tuple(dict.fromkeys(rung for rung in found if rung < checkpoints))
