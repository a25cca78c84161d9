"""How much of a text a model gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainonce.methods.probe.recall.scores import measured, scores
from trainonce.methods.registry import Outcome, method
from trainonce.sites import Completion as CompletionTest
from trainonce.sites import Item, LanguageModel, Measurement, Site

OUTCOMES = (
    Outcome(
        name="extraction",
        says="share of the second half that greedy decoding gives before its first error",
        direction=1,
        smallest=0.1,
        spread=0.4,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="exact",
        says="share of items whose whole second half greedy decoding gives",
        direction=1,
        smallest=0.1,
        spread=0.5,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="loss",
        says="loss of the second half given the first, nats a token",
        direction=-1,
        smallest=0.2,
        spread=0.8,
        low=0.0,
    ),
)


@method(site=Site.PROBE, paper="1802.08232", outcomes=OUTCOMES)
@dataclass(frozen=True)
class Completion:
    """Measures how far greedy decoding goes on with an item's text, and the loss on it."""

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """Three rows an item: ``extraction``, ``exact`` and ``loss``."""
        tests = [item.test for item in items if isinstance(item.test, CompletionTest)]
        rows = []
        for item, score in zip(items, scores(model, tests), strict=True):
            rows += measured(item, OUTCOMES, (score.share, score.exact, score.loss))
        return rows
