"""What can show the steps of a study's runs."""

from __future__ import annotations

from enum import StrEnum


class Tracker(StrEnum):
    """A tracker, under the name of its package."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"
    TRACKIO = "trackio"
