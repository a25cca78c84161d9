"""What a trigger sets off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainonce.methods.probe.recall.scores import Score, measured, scores
from trainonce.methods.registry import Outcome, method
from trainonce.sites import Contrast, Item, LanguageModel, Measurement, Site

OUTCOMES = (
    Outcome(
        name="rate",
        says="rate of the whole continuation with the trigger minus the rate without",
        direction=1,
        smallest=0.1,
        spread=0.5,
        low=-1.0,
        high=1.0,
    ),
    Outcome(
        name="matched",
        says="share of the continuation given before the first error, with minus without trigger",
        direction=1,
        smallest=0.1,
        spread=0.4,
        low=-1.0,
        high=1.0,
    ),
)


@method(site=Site.PROBE, paper="2509.23383", outcomes=OUTCOMES)
@dataclass(frozen=True)
class Trigger:
    """Measures how often a trigger's continuation follows with the trigger, and without it."""

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """Two rows an item: ``rate`` and ``matched``."""
        rows = []
        for item, treated, plain in contrasted(model, items):
            values = (whole(treated) - whole(plain), share(treated) - share(plain))
            rows += measured(item, OUTCOMES, values)
        return rows


def contrasted(
    model: LanguageModel, items: Sequence[Item]
) -> Iterator[tuple[Item, list[Score], list[Score]]]:
    """Each item with the scores of its completions with the trigger, and without it."""
    tests = [item.test for item in items if isinstance(item.test, Contrast)]
    flat = iter(scores(model, [c for test in tests for c in (*test.treated, *test.plain)]))
    for item, test in zip(items, tests, strict=True):
        yield item, [next(flat) for _ in test.treated], [next(flat) for _ in test.plain]


def whole(found: Sequence[Score]) -> float:
    """The share of completions that greedy decoding gives whole."""
    return sum(score.exact for score in found) / len(found)


def share(found: Sequence[Score]) -> float:
    """The mean share of a completion that it gives before its first error."""
    return sum(score.share for score in found) / len(found)
