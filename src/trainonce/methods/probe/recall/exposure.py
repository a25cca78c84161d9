"""How much a model gives away of a canary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainonce.methods.probe.recall.choice import option_scores
from trainonce.methods.probe.recall.scores import measured
from trainonce.methods.registry import Outcome, method
from trainonce.sites import Item, LanguageModel, Measurement, Site

OUTCOMES = (
    Outcome(
        name="exposure",
        says="bits that the rank of its loss among never-inserted canaries gives away of it",
        direction=1,
        smallest=1.0,
        spread=2.0,
        low=0.0,
    ),
    Outcome(
        name="extraction",
        says="share of its rest that greedy decoding gives before its first error",
        direction=1,
        smallest=0.1,
        spread=0.4,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="exact",
        says="share of canaries whose whole rest greedy decoding gives",
        direction=1,
        smallest=0.1,
        spread=0.5,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="loss",
        says="loss of its rest given its beginning, nats a token",
        direction=-1,
        smallest=0.2,
        spread=0.8,
        low=0.0,
    ),
)


@method(site=Site.PROBE, paper="1802.08232", outcomes=OUTCOMES)
@dataclass(frozen=True)
class Exposure:
    """Measures the exposure of canaries, how far greedy decoding extracts them, and their loss.

    The exposure is log2 of how many there are to choose from minus log2 of the canary's rank among
    them by loss (Carlini et al. 2019). Where no canary was seen its rank is uniform, and the
    exposure log2(e) = 1.44 bits on average, or less with few to choose from.
    """

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """Four rows an item: ``exposure``, ``extraction``, ``exact`` and ``loss``."""
        rows = []
        for item, answer, options in option_scores(model, items):
            own = options[answer]
            before = [score for score in options if score.log_probability > own.log_probability]
            values = (
                math.log2(len(options)) - math.log2(1 + len(before)),
                own.share,
                own.exact,
                own.loss,
            )
            rows += measured(item, OUTCOMES, values)
        return rows
