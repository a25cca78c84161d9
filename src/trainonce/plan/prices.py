"""What jobs cost, in run-equivalents."""

from __future__ import annotations

from dataclasses import dataclass

_FORWARD_SHARE = 1 / 3  # of a training step's operations: 2 of the 6 a parameter and token


@dataclass(frozen=True)
class Prices:
    """What things cost, in run-equivalents: the base run of ``steps`` and ``tokens``, ``seeds``."""

    steps: int
    tokens: int
    seeds: int

    def training(self, steps: int, weight: float = 1.0) -> float:
        """Steps of training."""
        return steps * weight / self.steps / self.seeds

    def reading(self, tokens: int, weight: float = 1.0) -> float:
        """Tokens that a measurement reads."""
        return tokens * weight * _FORWARD_SHARE / self.tokens / self.seeds
