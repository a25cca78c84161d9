"""What a scaling law is fitted on: losses of runs of several sizes, checkpoints included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class ScalingError(ValueError):
    """The points cannot determine the law; the message names what is missing."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The loss of one run at one moment.

    Attributes:
        run: the run's name. Points of one run share what its seed did, and are never taken for
            independent ones.
        parameters: of the model; their average over the run so far, where they are pruned on the
            way (`trainonce.analysis.scaling.average`).
        tokens: read so far.
        loss: in nats a token; above 0.
        batch: tokens a step, where a law asks for them.
    """

    run: str
    parameters: float
    tokens: float
    loss: float
    batch: float | None = None

    def __post_init__(self) -> None:
        for name in ("parameters", "tokens", "loss"):
            number = getattr(self, name)
            if not (math.isfinite(number) and number > 0):
                raise ScalingError(f"run {self.run!r}: {name} is {number:g}, not a number above 0")


@dataclass(frozen=True)
class Columns:
    """Points as columns of ``(n,)`` numbers; ``runs`` numbers the runs from 0."""

    parameters: Floats
    tokens: Floats
    losses: Floats
    runs: npt.NDArray[np.int64]

    @classmethod
    def of(cls, points: Sequence[Point]) -> Columns:
        """The columns of ``points``."""
        names = {name: index for index, name in enumerate(dict.fromkeys(p.run for p in points))}
        return cls(
            np.array([p.parameters for p in points], dtype=np.float64),
            np.array([p.tokens for p in points], dtype=np.float64),
            np.array([p.loss for p in points], dtype=np.float64),
            np.array([names[p.run] for p in points], dtype=np.int64),
        )


def without_start(points: Sequence[Point], share: float = 0.1) -> tuple[Point, ...]:
    """The points without the first ``share`` of each run, where warmup rules and no law holds.

    Choshen, Zhang and Andreas (2024, arXiv 2410.11840) find checkpoints worth their place in a fit,
    but for those of the very start; they leave the first 10 % or 10 billion tokens out.
    """
    ordered = sorted(points, key=lambda point: point.run)
    kept: list[Point] = []
    for _, group in groupby(ordered, key=lambda point: point.run):
        run = list(group)
        end = max(point.tokens for point in run)
        kept += [point for point in run if point.tokens > share * end]
    return tuple(kept)
