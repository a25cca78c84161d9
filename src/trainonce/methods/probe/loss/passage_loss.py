"""The loss on the passages of single items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainonce.methods.probe.recall.scores import measured, scores
from trainonce.methods.registry import Outcome, method
from trainonce.sites import Completion, Item, LanguageModel, Measurement, Site

OUTCOMES = (
    Outcome(
        name="passage_loss",
        says="loss on the whole passage, nats a token",
        direction=-1,
        smallest=0.1,
        spread=0.6,
        low=0.0,
    ),
)


@method(site=Site.PROBE, outcomes=OUTCOMES)
@dataclass(frozen=True)
class PassageLoss:
    """Measures the loss on whole passages, each as a document of its own."""

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """One row an item."""
        tests = [item.test for item in items if isinstance(item.test, Completion)]
        rows = []
        for item, score in zip(items, scores(model, tests), strict=True):
            rows += measured(item, OUTCOMES, (-score.log_probability / score.tokens,))
        return rows
