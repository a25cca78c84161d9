"""The numbers of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from trainonce.train.precision import Precision
from trainonce.train.schedules import Schedule, WarmupStableDecay


class OnNan(StrEnum):
    """What a run does at a step whose loss, or whose gradient's norm, is not finite."""

    STOP = "stop"
    SKIP = "skip"
    REWIND = "rewind"


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
        accumulate: in how many equal parts a batch goes through the model, to save memory; the
            update is that of the whole batch, up to float rounding.
        on_nan: ``stop`` ends the run; ``skip`` leaves the update of that step out; ``rewind`` goes
            back to the state of up to ``rewind_steps`` before and leaves out all updates since, as
            Chowdhery et al. did by hand (2022, arXiv 2204.02311, section 5.1).
        rewind_steps: how often the state that a rewind goes back to is taken. Steps and not
            seconds, so that the result does not depend on the machine's speed.
    """

    steps: int
    batch: int
    optimizer: AdamWSettings = field(default_factory=AdamWSettings)
    schedule: Schedule = field(default_factory=WarmupStableDecay)
    clip: float = 1.0
    precision: Precision = Precision.FLOAT32
    accumulate: int = 1
    on_nan: OnNan = OnNan.STOP
    rewind_steps: int = 100

    def __post_init__(self) -> None:
        """Refuse numbers that no run can use."""
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise ValueError(
                f"accumulate must divide the batch of {self.batch}, and {self.accumulate} does not"
            )
        if self.rewind_steps < 1:
            raise ValueError(f"rewind_steps must be at least 1, not {self.rewind_steps}")


class Parallel(StrEnum):
    """What processes that train one run share: ``ddp`` gradients, ``fsdp`` parameters as well."""

    DDP = "ddp"
    FSDP = "fsdp"


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """Several processes for one run; other numbers of them give other last bits.

    Attributes:
        count: processes, each with its own device or share of the cores.
        parallel: ``ddp`` keeps the whole model in each; ``fsdp`` a part of parameters, gradients
            and the optimizer's state.
    """

    count: int
    parallel: Parallel = Parallel.DDP

    def __post_init__(self) -> None:
        """Refuse numbers that no run can use."""
        if self.count < 2:
            raise ValueError(f"count must be at least 2, not {self.count}")


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """When a run saves its state, and how many of these it keeps; no result depends on it.

    Attributes:
        seconds: between two checkpoints, where ``steps`` is None.
        steps: between two checkpoints.
        keep: how many are kept, the newest ones. With 1 there is none to fall back on when the
            newest is damaged.
    """

    seconds: float = 15.0
    steps: int | None = None
    keep: int = 2

    def __post_init__(self) -> None:
        """Refuse numbers that no run can use."""
        if self.keep < 1:
            raise ValueError(f"keep must be at least 1, not {self.keep}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
