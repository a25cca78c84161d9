"""How high a model ranks a fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trainonce.methods.probe.recall.choice import option_scores
from trainonce.methods.probe.recall.scores import measured
from trainonce.methods.registry import Outcome, method
from trainonce.sites import Item, LanguageModel, Measurement, Site

OUTCOMES = (
    Outcome(
        name="probability",
        says="probability of the right fact among the candidates",
        direction=1,
        smallest=0.1,
        spread=0.3,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="rank",
        says="rank of the right fact among the candidates, 1 being the likeliest",
        direction=-1,
        smallest=0.5,
        spread=2.3,
        low=1.0,
    ),
)


@method(site=Site.PROBE, paper="1909.01066", outcomes=OUTCOMES)
@dataclass(frozen=True)
class Ranking:
    """Measures the probability and rank of the right fact among candidates (Petroni et al.)."""

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """Two rows an item: ``probability`` and ``rank``."""
        rows = []
        for item, answer, options in option_scores(model, items):
            logs = torch.tensor([score.log_probability for score in options], dtype=torch.float64)
            values = (float(logs.softmax(0)[answer]), 1.0 + float((logs > logs[answer]).sum()))
            rows += measured(item, OUTCOMES, values)
        return rows
