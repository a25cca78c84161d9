"""The numbers of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainonce.train.precision import Precision
from trainonce.train.schedules import Schedule, WarmupStableDecay


@dataclass(frozen=True, kw_only=True)
class AdamWSettings:
    """AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101); matrices decay, vectors do not."""

    lr: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        """Refuse numbers that no run can use."""
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), not {self.betas}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, not {self.weight_decay}")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training run.

    Attributes:
        steps: optimizer updates.
        batch: sequences an update.
        optimizer: AdamW's numbers.
        schedule: factor of the learning rate over the run.
        clip: largest norm of the gradient; larger ones are scaled down to it.
        precision: of the matrix products.
    """

    steps: int
    batch: int
    optimizer: AdamWSettings = field(default_factory=AdamWSettings)
    schedule: Schedule = field(default_factory=WarmupStableDecay)
    clip: float = 1.0
    precision: Precision = Precision.FLOAT32
