"""Which answer a model picks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainonce.methods.probe.recall.scores import Score, measured, scores
from trainonce.methods.registry import Outcome, method
from trainonce.sites import Choice as ChoiceTest
from trainonce.sites import Completion, Item, LanguageModel, Measurement, Site

OUTCOMES = (
    Outcome(
        name="accuracy",
        says="share of items whose right answer has the highest log-probability a token",
        direction=1,
        smallest=0.1,
        spread=0.5,
        low=0.0,
        high=1.0,
    ),
    Outcome(
        name="margin",
        says="log-probability of the right answer above the best wrong one, nats a token",
        direction=1,
        smallest=0.2,
        spread=1.0,
    ),
)


@method(site=Site.PROBE, paper="2005.14165", outcomes=OUTCOMES)
@dataclass(frozen=True)
class Choice:
    """Measures whether the right one of several answers is the likeliest, normalized by length."""

    def __call__(self, model: LanguageModel, items: Sequence[Item]) -> list[Measurement]:
        """Two rows an item: ``accuracy`` and ``margin``."""
        rows = []
        for item, answer, options in option_scores(model, items):
            a_token = [score.log_probability / score.tokens for score in options]
            best_wrong = max(value for index, value in enumerate(a_token) if index != answer)
            values = (float(a_token[answer] > best_wrong), a_token[answer] - best_wrong)
            rows += measured(item, OUTCOMES, values)
        return rows


def option_scores(
    model: LanguageModel, items: Sequence[Item]
) -> list[tuple[Item, int, list[Score]]]:
    """Each item with the number of its right answer and the scores of its options."""
    tests = [item.test for item in items if isinstance(item.test, ChoiceTest)]
    flat = iter(
        scores(
            model,
            [Completion(test.prompt, option) for test in tests for option in test.options],
        )
    )
    return [
        (item, test.answer, [next(flat) for _ in test.options])
        for item, test in zip(items, tests, strict=True)
    ]
