"""Learning curves of made-up arms: power laws towards ends that differ, with noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CHECKPOINTS = 16
AFTER = (2, 3, 4, 6, 8, 10, 12, 14)


def arms(count: int, random: np.random.Generator) -> Floats:
    """``(count, 16)`` curves. Fast starters may end badly, so that curves cross."""
    time = np.arange(1, CHECKPOINTS + 1) / CHECKPOINTS
    end = random.normal(2, 0.1, (count, 1))
    height = 0.3 * random.lognormal(-0.5, 0.4, (count, 1))
    rate = random.uniform(0.4, 1.2, (count, 1))
    noise = 0.01 * random.standard_t(3, (count, CHECKPOINTS))
    found: Floats = end + height * (time**-rate - 1) + noise
    return found


def unknown(count: int) -> Floats:
    """Nothing is known of arms beforehand."""
    return np.zeros((count, 0))
