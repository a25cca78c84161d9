"""What is left of texts after a model was made to forget them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from trainonce.methods.probe.recall.scores import measured, scores
from trainonce.methods.registry import Outcome, method
from trainonce.methods.weights.unlearning.gradient_ascent import GradientAscent
from trainonce.methods.weights.unlearning.gradient_difference import GradientDifference
from trainonce.methods.weights.unlearning.negative_preference import NegativePreference
from trainonce.methods.weights.unlearning.texts import Updates
from trainonce.sites import Item, LanguageModel, Measurement, Site, Unlearning, WholeModel

_WAYS = {
    "preference": "negative preference optimization",
    "difference": "gradient difference",
    "ascent": "gradient ascent",
    "before": "no unlearning",
}
_KEPT = Outcome(name="", says="", direction=1, smallest=0.1, spread=0.3, low=0.0, high=1.0)
_LOSS = Outcome(name="", says="", direction=-1, smallest=0.2, spread=0.8, low=0.0)
OUTCOMES = tuple(
    outcome
    for way, said in _WAYS.items()
    for outcome in (
        replace(
            _KEPT,
            name=f"{way}_extraction",
            says=f"share of the second half given back before the first error, after {said}",
        ),
        replace(
            _LOSS,
            name=f"{way}_loss",
            says=f"loss of the second half given the first, nats a token, after {said}",
        ),
    )
)
_FORGET, _RETAIN = 2, 1
_BATCH = 8


@method(site=Site.PROBE, paper="2407.06460", outcomes=OUTCOMES)
@dataclass(frozen=True)
class Unlearned:
    """Unlearns the items of dose 2 in copies of the model, and measures all items on each.

    By negative preference optimization with retaining (beta 0.1), gradient difference and gradient
    ascent, each from the weights that are measured, which stay as they are.
    """

    def __call__(self, model: WholeModel, items: Sequence[Item]) -> list[Measurement]:
        """Eight rows an item: ``extraction`` and ``loss`` after each way, and before."""
        tests = [item.test for item in items if isinstance(item.test, Unlearning)]
        texts = [(*test.again.prompt, *test.again.target) for test in tests]
        forget = [text for item, text in zip(items, texts, strict=True) if item.dose == _FORGET]
        retain = [text for item, text in zip(items, texts, strict=True) if item.dose == _RETAIN]
        given = Updates(
            steps=tests[0].epochs * -(-len(forget) // _BATCH), lr=tests[0].lr, batch=_BATCH
        )
        ways: dict[str, Callable[[nn.Module], nn.Module]] = {
            "preference": lambda own: NegativePreference(**vars(given), weight=1.0)(
                own, forget, retain
            ),
            "difference": lambda own: GradientDifference(**vars(given))(own, forget, retain),
            "ascent": lambda own: GradientAscent(**vars(given))(own, forget),
        }
        found = {name: _values(model.changed(way), tests) for name, way in ways.items()}
        found["before"] = _values(model, tests)
        rows = []
        for number, item in enumerate(items):
            values = [value for way in _WAYS for value in found[way][number]]
            rows += measured(item, OUTCOMES, values)
        return rows


def _values(model: LanguageModel, tests: Sequence[Unlearning]) -> list[tuple[float, float]]:
    """Extraction and loss of each."""
    return [(score.share, score.loss) for score in scores(model, [test.again for test in tests])]
