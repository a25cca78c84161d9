from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from trainonce.models.build import build
from trainonce.models.decoder import DecoderSettings
from trainonce.stream.corpus import Corpus
from trainonce.stream.stream import TokenStream
from trainonce.train.checkpoints import Checkpoints, SaveError
from trainonce.train.journal import StepFacts
from trainonce.train.loop import StoppedError, train
from trainonce.train.settings import AdamWSettings, TrainSettings

SETTINGS = TrainSettings(steps=40, batch=4, optimizer=AdamWSettings(lr=1e-2))


def fresh(corpus: Corpus) -> nn.Module:
    return build(DecoderSettings(width=16, layers=1, heads=2), corpus.tokenizer.size, seed=1)


def test_each_step_is_told_with_what_the_run_did(stream: TokenStream, corpus: Corpus) -> None:
    told: list[StepFacts] = []
    trained = train(fresh(corpus), stream, SETTINGS, track=told.extend)
    assert [facts.step for facts in told] == list(range(1, 41))
    np.testing.assert_array_equal([facts.loss for facts in told], trained.losses)
    rates = [1e-2 * SETTINGS.schedule(step, 40) for step in range(40)]
    assert [facts.learning_rate for facts in told] == rates
    assert all(facts.gradient_norm > 0 and facts.tokens_per_second > 0 for facts in told)


def test_a_run_that_goes_on_tells_no_step_twice(
    stream: TokenStream, corpus: Corpus, tmp_path: Path
) -> None:
    """It dies after step 27 and goes on from its checkpoint of step 20."""
    checkpoints = Checkpoints(tmp_path, steps=10)
    told: list[StepFacts] = []
    asked: list[int] = []

    def die_after_27() -> bool:
        asked.append(1)
        if len(asked) == 27:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        train(
            fresh(corpus),
            stream,
            SETTINGS,
            checkpoints=checkpoints,
            stop=die_after_27,
            track=told.extend,
        )
    assert [facts.step for facts in told] == list(range(1, 21))
    train(fresh(corpus), stream, SETTINGS, checkpoints=checkpoints, track=told.extend)
    assert [facts.step for facts in told] == list(range(1, 41))


def test_a_stopped_run_has_told_what_it_saved(
    stream: TokenStream, corpus: Corpus, tmp_path: Path
) -> None:
    told: list[StepFacts] = []
    asked: list[int] = []

    def stop_at_5() -> bool:
        asked.append(1)
        return len(asked) == 5

    with pytest.raises(StoppedError):
        train(
            fresh(corpus),
            stream,
            SETTINGS,
            checkpoints=Checkpoints(tmp_path, seconds=1e9),
            stop=stop_at_5,
            track=told.extend,
        )
    assert [facts.step for facts in told] == [1, 2, 3, 4, 5]


def test_what_could_not_be_saved_is_not_told(
    stream: TokenStream, corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    told: list[Sequence[StepFacts]] = []
    with pytest.raises(SaveError):
        train(
            fresh(corpus),
            stream,
            SETTINGS,
            checkpoints=Checkpoints(tmp_path / "file", steps=10),
            track=told.append,
        )
    assert not told
