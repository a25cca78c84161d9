"""The probe of orders against literal sums, a random forest, and models whose answers are known."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from trainonce.methods.probe import OptionOrder
from trainonce.methods.probe.recall.option_order import isolation, order_scores, rendered
from trainonce.models.build import build
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.measuring import tokens_read
from trainonce.sites import Item, LanguageModel, Options, SettingError

VOCABULARY = 12
MODEL = build(DecoderSettings(width=16, layers=2, heads=2), VOCABULARY, seed=4).eval()
LABELS = ((0,), (1,), (2,))
TEST = Options((9, 10), LABELS, ((3, 4), (5,), (6, 7, 8)))


def item(test: Options) -> Item:
    return Item(name="one", kind="item", dose=1, documents=(), test=test)


@torch.no_grad()
def literal(model: LanguageModel, test: Options) -> dict[tuple[tuple[int, ...], ...], float]:
    """The sum of log-probabilities over the whole text, question included, a token at a time."""
    found = {}
    for order in permutations(test.options):
        text = list(test.prompt)
        for label, option in zip(test.labels, order, strict=True):
            text += [*label, *option]
        logits = model(torch.tensor([text]))[0].log_softmax(-1)
        found[order] = sum(float(logits[t - 1, text[t]]) for t in range(1, len(text)))
    return found


def test_scores_are_sums_over_tokens_but_for_the_question() -> None:
    expected = list(literal(MODEL, TEST).values())
    found = order_scores(MODEL, TEST)
    assert np.subtract(found, found[0]) == pytest.approx(
        np.subtract(expected, expected[0]), abs=1e-4
    )


def test_another_order_of_the_options_permutes_the_scores() -> None:
    again = Options(TEST.prompt, LABELS, (TEST.options[2], TEST.options[0], TEST.options[1]))
    assert sorted(order_scores(MODEL, TEST)) == pytest.approx(sorted(order_scores(MODEL, again)))


def test_exactly_one_order_of_a_question_is_its_likeliest() -> None:
    """So that of orders drawn at random one in n! is flagged."""
    flagged = [
        OptionOrder()(MODEL, [item(Options(TEST.prompt, LABELS, order))])[0].value
        for order in permutations(TEST.options)
    ]
    assert sum(flagged) == 1


def reads(text: tuple[int, ...], sure: float) -> LanguageModel:
    """A model that expects ``text`` after its question, and nothing in particular elsewhere."""

    def model(tokens_BT: Tensor) -> Tensor:
        logits_BTV = torch.zeros(*tokens_BT.shape, VOCABULARY)
        for at in range(min(tokens_BT.shape[1], len(text) - 1)):
            known_B = (tokens_BT[:, : at + 1] == torch.tensor(text[: at + 1])).all(1)
            logits_BTV[known_B, at, text[at + 1]] = sure
        return logits_BTV

    return model


def test_the_order_that_was_read_is_found_and_stands_out() -> None:
    options = ((3,), (4,), (5,), (6,))
    labels = ((0,), (1,), (2,), (0,))
    read = (options[2], options[0], options[3], options[1])
    model = reads((9, *rendered(labels, read)), 3.0)
    rows = OptionOrder()(model, [item(Options((9,), labels, read))])
    values = {row.outcome: row.value for row in rows}
    assert (values["likeliest"], values["outlier"]) == (1, 1)
    assert values["lead"] > 0
    shuffled = OptionOrder()(model, [item(Options((9,), labels, options))])
    values = {row.outcome: row.value for row in shuffled}
    assert (values["likeliest"], values["outlier"]) == (0, 1)
    assert values["lead"] < 0


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
def test_isolation_is_that_of_a_large_forest(spread: float) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    values = np.random.default_rng(3).normal(size=24)
    values[5] = values.max() + spread
    forest = ensemble.IsolationForest(n_estimators=300, random_state=0).fit(values[:, None])
    expected = forest.decision_function([[values[5]]])[0]
    assert isolation(list(values)) == pytest.approx(expected, abs=0.02)


def test_isolation_of_two_and_of_equal_values() -> None:
    assert isolation([0.0, 1.0]) == 0.0  # one cut, which is the mean depth of two
    assert isolation([2.0] * 24) == 0.0  # none can be cut off: the mean depth
    assert isolation([0.0] * 23 + [1.0]) == pytest.approx(
        0.5 - 2 ** (-1 / (2 * (math.log(23) + 0.5772156649015329) - 46 / 24))
    )


def test_plans_count_the_tokens_that_it_reads() -> None:
    read = []

    def model(tokens_BT: Tensor) -> Tensor:
        read.append(tokens_BT.numel())
        return torch.zeros(*tokens_BT.shape, VOCABULARY)

    OptionOrder()(model, [item(TEST)])
    assert tokens_read(item(TEST)) == sum(read)


@pytest.mark.parametrize("threshold", [-0.5, 0.5, math.nan])
def test_a_threshold_out_of_reach_is_refused(threshold: float) -> None:
    with pytest.raises(SettingError) as caught:
        OptionOrder(threshold=threshold)
    assert caught.value.field == "threshold"


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (Options((1,), ((0,),), ((2,),)), "from 2 to 5 options"),
        (Options((1,), ((0,),) * 6, ((2,),) * 6), "from 2 to 5 options"),
        (Options((1,), ((0,),), ((2,), (3,))), "1 labels for 2 options"),
    ],
)
def test_questions_that_have_no_orders_are_refused(test: Options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        order_scores(MODEL, test)
