from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.methods.whole import Whole
from trainonce.methods.data.insertion.news import News
from trainonce.methods.probe.trace.unlearned import OUTCOMES, Unlearned
from trainonce.methods.weights.unlearning.gradient_ascent import GradientAscent
from trainonce.methods.weights.unlearning.texts import mean_losses
from trainonce.models.build import build
from trainonce.models.decoder import DecoderSettings
from trainonce.sites import Completion, Item, SettingError, Unlearning
from trainonce.stream.stream import TokenStream


def whole_text(item: Item) -> tuple[int, ...]:
    assert isinstance(item.test, Unlearning)
    return (*item.test.again.prompt, *item.test.again.target)


def test_news_that_are_seen_are_inserted_equally_often_and_the_others_never(
    stream: TokenStream,
) -> None:
    treated = News(items=3, tokens=40, copies=5)(stream.keyed("news"))
    items = treated.items["news"]
    assert Counter(item.dose for item in items) == {0: 3, 1: 3, 2: 3}
    assert len({item.documents for item in items}) == 9
    rows = treated.read(np.arange(stream.rows))
    for item in items:
        text = np.array(item.documents[0])
        windows = np.lib.stride_tricks.sliding_window_view(rows, len(text), axis=1)
        assert (windows == text).all(-1).sum() == (5 if item.dose else 0)


def test_what_is_forgotten_goes_and_the_model_stays(stream: TokenStream) -> None:
    """On a model that knows all that it has seen by heart."""
    items = News(items=3, tokens=40, copies=5, epochs=15, lr=3e-3)(stream.keyed("news")).items[
        "news"
    ]
    seen = [whole_text(item) for item in items if item.dose]
    model = build(DecoderSettings(width=32, layers=1, heads=2), 300, seed=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        loss = mean_losses(model, seen).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    before = copy.deepcopy(model.state_dict())
    rows = Unlearned()(Whole(model), items)
    assert len(rows) == len(OUTCOMES) * len(items)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    means = {
        (outcome.name, dose): np.mean(
            [row.value for row in rows if (row.outcome, row.dose) == (outcome.name, dose)]
        )
        for outcome in OUTCOMES
        for dose in (0, 1, 2)
    }
    found = {(row.unit, row.outcome): row.value for row in rows}
    for item in items:
        for way in ("preference", "difference", "ascent"):
            extraction = found[item.name, f"{way}_extraction"]
            change = extraction - found[item.name, "before_extraction"]
            assert found[item.name, f"{way}_retained"] == change
            assert found[item.name, f"{way}_forgotten"] == change
            assert found[item.name, f"{way}_heldout"] != 0
    # never seen, the model tells neither from what it knows by heart; unlearned, it does
    assert means["before_min_k", 2] > means["before_min_k", 0] + 1
    assert means["ascent_min_k", 2] < means["before_min_k", 2] - 1
    assert means["before_extraction", 1] > 0.8
    assert means["before_extraction", 2] > 0.8
    for way in ("preference", "difference", "ascent"):
        assert means[f"{way}_loss", 2] > means["before_loss", 2] + 0.5
    for way in ("preference", "difference"):
        assert means[f"{way}_loss", 1] < means[f"{way}_loss", 2] - 0.3
        assert means[f"{way}_loss", 1] < means["ascent_loss", 1]


def test_what_is_measured_of_whole_texts_and_of_the_ordinary_ones_beside_them() -> None:
    """Against the definition, on a model of one layer."""
    model = build(DecoderSettings(width=32, layers=1, heads=2), 300, seed=1)
    texts = [tuple(range(first, first + 12)) for first in (1, 20, 40, 60)]
    ordinary = [tuple(range(first, first + 9)) for first in (100, 120, 140, 160)]
    items = [
        Item(
            str(number),
            "news",
            dose,
            (text[1:],),
            Unlearning(Completion(text[:5], text[5:]), Completion(beside[:1], beside[1:]), 2, 1e-2),
        )
        for number, (dose, text, beside) in enumerate(
            zip((0, 1, 2, 2), texts, ordinary, strict=True)
        )
    ]
    rows = {(row.unit, row.outcome): row.value for row in Unlearned()(Whole(model), items)}

    def losses(of: nn.Module, text: tuple[int, ...]) -> Tensor:
        with torch.no_grad():
            logits_TV = of(torch.tensor([text[:-1]]))[0]
        return nn.functional.cross_entropy(logits_TV, torch.tensor(text[1:]), reduction="none")

    after = GradientAscent(steps=2, lr=1e-2)(model, texts[2:])
    for number, (text, beside) in enumerate(zip(texts, ordinary, strict=True)):
        highest = losses(model, text).sort(descending=True).values[:4]  # of 11, the nearest to 40 %
        assert rows[str(number), "before_min_k"] == pytest.approx(-float(highest.mean()), abs=1e-5)
        change = float((losses(after, beside) - losses(model, beside)).mean())
        assert rows[str(number), "ascent_heldout"] == pytest.approx(change, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"doses": (0, 1)}, "never seen, to be retained, to be forgotten"),
        ({"doses": (0, 2, 5)}, "never seen"),
        ({"doses": (1, 2)}, "dose 0 is missing"),
        ({"items": 1}, "at least 2"),
        ({"tokens": 7}, "at least 8"),
        ({"copies": 0}, "at least 1"),
        ({"epochs": 0}, "at least 1"),
        ({"lr": 0.0}, "above 0"),
        ({"lr": float("nan")}, "above 0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        News(**settings)  # type: ignore[arg-type]
