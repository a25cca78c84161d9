"""How well a controller kept what a model knows near a target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainonce.methods.probe.recall.choice import Choice
from trainonce.methods.probe.recall.ranking import Ranking
from trainonce.methods.probe.recall.scores import measured
from trainonce.methods.registry import Outcome, method
from trainonce.sites import Item, LanguageModel, Measurement, Site
from trainonce.sites import Pursuit as PursuitTest

OUTCOMES = (
    Outcome(
        name="probability",
        says="probability of the right fact among the candidates, as the controller asks",
        direction=1,
        smallest=0.1,
        spread=0.3,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="error",
        says="distance of that probability from the target, mean over the later half of probes",
        direction=0,
        smallest=0.1,
        spread=0.2,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="rate",
        says="share of a fact's slots that are filled, as decided last",
        direction=1,
        smallest=0.1,
        spread=0.4,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="accuracy",
        says="share of facts that are the likeliest candidate in words never seen or probed",
        direction=1,
        smallest=0.1,
        spread=0.5,
        low=0.0,
        high=1.0,
    ),
)


@method(site=Site.PROBE, paper="2509.23383", outcomes=OUTCOMES)
@dataclass(frozen=True)
class Pursuit:
    """Measures what a controller reached, how it got there, and what is known in other words.

    On a run without the controller nothing was decided: the error is that of the model as it is.
    """

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """Four rows an item: ``probability``, ``error``, ``rate`` and ``accuracy``."""
        tests = [(item, item.test) for item in items if isinstance(item.test, PursuitTest)]
        probed = Ranking()(model, [replace(item, test=test.probed) for item, test in tests])
        asked = Choice()(model, [replace(item, test=test.asked) for item, test in tests])
        known = [row.value for row in probed if row.outcome == "probability"]
        right = [row.value for row in asked if row.outcome == "accuracy"]
        rows = []
        for (item, test), now, accuracy in zip(tests, known, right, strict=True):
            rate = test.seen[-1][1] if test.seen else 0.0
            values = (now, _error(test, now), rate, accuracy)
            rows += measured(item, OUTCOMES, values)
        return rows


def _error(test: PursuitTest, now: float) -> float:
    found = [*(known for known, _ in test.seen if math.isfinite(known)), now]
    later = found[len(found) // 2 :]
    return sum(abs(known - test.target) for known in later) / len(later)
