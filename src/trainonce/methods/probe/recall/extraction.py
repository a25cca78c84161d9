"""How much of a text a model gives back, by how much of it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainonce.methods.probe.recall.scores import measured, scores
from trainonce.methods.registry import Outcome, method
from trainonce.sites import Item, LanguageModel, Measurement, Prefixes, Site


def _extraction(name: str, prefix: str) -> Outcome:
    return Outcome(
        name=name,
        says=f"share of the target that greedy decoding gives before its first error, {prefix}",
        direction=1,
        smallest=0.1,
        spread=0.4,
        low=0.0,
        high=1.0,
    )


OUTCOMES = (
    _extraction("extraction", "after the longest prefix"),
    _extraction("extraction_medium", "after the medium prefix"),
    _extraction("extraction_short", "after the shortest prefix"),
    Outcome(
        name="exact",
        says="share of items whose whole target greedy decoding gives, after the longest prefix",
        direction=1,
        smallest=0.1,
        spread=0.5,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="loss",
        says="loss of the target after the longest prefix, nats a token",
        direction=-1,
        smallest=0.2,
        spread=0.8,
        low=0.0,
    ),
)


@method(site=Site.PROBE, paper="2202.07646", outcomes=OUTCOMES)
@dataclass(frozen=True)
class Extraction:
    """Measures how far greedy decoding gives one target after three lengths of its prefix."""

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """Five rows an item: extraction after each prefix, ``exact`` and ``loss``."""
        tests = [item.test for item in items if isinstance(item.test, Prefixes)]
        flat = iter(scores(model, [one for test in tests for one in test.completions]))
        rows = []
        for item, test in zip(items, tests, strict=True):
            short, medium, full = (next(flat) for _ in test.completions)
            values = (full.share, medium.share, short.share, full.exact, full.loss)
            rows += measured(item, OUTCOMES, values)
        return rows
