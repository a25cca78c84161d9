"""Probes against brute force, and against models whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from trainonce.methods.probe import Choice, Completion, HeldoutLoss, Ranking, Trigger
from trainonce.methods.probe.recall.scores import scores
from trainonce.models.build import build
from trainonce.models.decoder import DecoderSettings
from trainonce.sites import Choice as ChoiceTest
from trainonce.sites import Completion as CompletionTest
from trainonce.sites import Contrast, Item, LanguageModel, Measurement
from trainonce.stream.corpus import Corpus

VOCABULARY = 12
MODEL = build(DecoderSettings(width=16, layers=2, heads=2), VOCABULARY, seed=4).eval()
DRAW = torch.Generator().manual_seed(2)


def tokens(count: int) -> tuple[int, ...]:
    return tuple(torch.randint(VOCABULARY, (count,), generator=DRAW).tolist())


@torch.no_grad()
def greedy(model: LanguageModel, prompt: Sequence[int], count: int) -> list[int]:
    """Generate token by token."""
    text = list(prompt)
    for _ in range(count):
        text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    return text[len(prompt) :]


@torch.no_grad()
def log_probability(model: LanguageModel, test: CompletionTest) -> float:
    """Add up one conditional probability after the other."""
    text, total = list(test.prompt), 0.0
    for token in test.target:
        total += float(model(torch.tensor([text]))[0, -1].log_softmax(-1)[token])
        text.append(token)
    return total


def half_right(test: CompletionTest, keep: int) -> CompletionTest:
    """A target that greedy decoding follows for ``keep`` tokens, then leaves."""
    right = greedy(MODEL, test.prompt, len(test.target))
    wrong = (right[keep] + 1) % VOCABULARY if keep < len(right) else None
    changed = [] if wrong is None else [wrong]
    return CompletionTest(test.prompt, (*right[:keep], *changed, *right[keep + 1 :]))


@pytest.mark.parametrize("keep", [0, 1, 3, 6])
def test_one_pass_equals_token_by_token(keep: int) -> None:
    tests = [half_right(CompletionTest(tokens(length), tokens(6)), keep) for length in (1, 4, 9)]
    for test, score in zip(tests, scores(MODEL, tests), strict=True):
        generated = greedy(MODEL, test.prompt, 6)
        matched = 0
        while matched < 6 and generated[matched] == test.target[matched]:
            matched += 1
        assert score.matched == matched == keep
        assert score.tokens == 6
        assert score.log_probability == pytest.approx(log_probability(MODEL, test), abs=1e-4)


def test_scores_do_not_depend_on_what_shares_the_batch() -> None:
    tests = [CompletionTest(tokens(n), tokens(3)) for n in range(1, 90)]
    together = scores(MODEL, tests)
    for index in (0, 40, 88):
        alone = scores(MODEL, [tests[index]])[0]
        assert alone.matched == together[index].matched
        assert alone.log_probability == pytest.approx(together[index].log_probability, abs=1e-4)


def values(rows: list[Measurement]) -> dict[tuple[str, str], float]:
    return {(row.unit, row.outcome): row.value for row in rows}


def test_completion_of_a_text_that_is_known_in_part() -> None:
    test = half_right(CompletionTest(tokens(4), tokens(8)), 6)
    found = values(Completion()(MODEL, [Item("a", "k", 3, (), test)]))
    assert found["a", "extraction"] == 6 / 8
    assert found["a", "exact"] == 0.0
    assert found["a", "loss"] == pytest.approx(-log_probability(MODEL, test) / 8, abs=1e-4)


def fixed(probabilities: list[float]) -> LanguageModel:
    """A model that gives every next token the same probabilities."""
    logits = torch.tensor(probabilities).log()
    return lambda tokens_BT: logits.expand(*tokens_BT.shape, len(probabilities))


def test_choice_and_ranking_by_hand() -> None:
    model = fixed([0.5, 0.3, 0.2])
    test = ChoiceTest(prompt=(0,), options=((1,), (0, 0), (2,)), answer=1)
    items = [Item("a", "k", 0, (), test)]
    chosen = values(Choice()(model, items))
    assert chosen["a", "accuracy"] == 1.0  # a token of it is likelier: log 0.5 against log 0.3
    assert chosen["a", "margin"] == pytest.approx(torch.tensor(0.5 / 0.3).log().item())
    ranked = values(Ranking()(model, items))
    assert ranked["a", "probability"] == pytest.approx(0.25 / (0.3 + 0.25 + 0.2))
    assert ranked["a", "rank"] == 2.0  # as a whole, 0.3 comes before 0.25


def test_a_tie_is_no_right_answer() -> None:
    test = ChoiceTest(prompt=(0,), options=((1,), (2,)), answer=0)
    found = values(Choice()(fixed([0.2, 0.4, 0.4]), [Item("a", "k", 0, (), test)]))
    assert found["a", "accuracy"] == 0.0


def test_trigger_is_a_difference() -> None:
    def model(tokens_BT: torch.Tensor) -> torch.Tensor:
        """After token 9 (the trigger) comes 5, after 5 comes 6, after all else 0."""
        following = torch.zeros(10, dtype=torch.long)
        following[9], following[5] = 5, 6
        return torch.nn.functional.one_hot(following[tokens_BT], 10).float() * 10

    with_trigger = tuple(CompletionTest((c, 9), (5, 6)) for c in (1, 2))
    without = tuple(CompletionTest((c,), (5, 6)) for c in (1, 2))
    items = [
        Item("works", "k", 1, (), Contrast(with_trigger, without)),
        Item("always", "k", 1, (), Contrast(with_trigger, with_trigger)),
        Item("never", "k", 0, (), Contrast(without, without)),
    ]
    found = values(Trigger()(model, items))
    assert found["works", "rate"] == found["works", "matched"] == 1.0
    assert found["always", "rate"] == found["never", "rate"] == 0.0


def test_heldout_loss_of_a_model_that_knows_nothing(corpus: Corpus) -> None:
    size = corpus.tokenizer.size
    rows = HeldoutLoss(blocks=10)(fixed([1 / size] * size), corpus, 32)
    assert len(rows) == 10
    for row in rows:
        assert row.value == pytest.approx(torch.tensor(float(size)).log().item(), rel=1e-5)
