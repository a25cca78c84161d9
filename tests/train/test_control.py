"""Runs whose data a controller decides while they go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from trainonce.methods.data.insertion.acquisition import Acquisition
from trainonce.models.decoder import Decoder, DecoderSettings
from trainonce.sites import Item, LanguageModel
from trainonce.stream.reserved import Decisions
from trainonce.stream.stream import TokenStream
from trainonce.train.checkpoints import Checkpoints
from trainonce.train.loop import StoppedError, Trained, train
from trainonce.train.replicas import train_replicas
from trainonce.train.settings import TrainSettings

RUN = TrainSettings(steps=24, batch=4)
PACE = Acquisition(doses=(0, 50, 100), people=2, copies=12, every=5)


@pytest.fixture
def controlled(stream: TokenStream) -> TokenStream:
    return PACE(replace(stream, rows=RUN.steps * RUN.batch).keyed("pace"))


def fresh(vocabulary: int) -> nn.Module:
    model = Decoder(DecoderSettings(width=16, layers=1, heads=2), vocabulary)
    return model.initialize(torch.Generator().manual_seed(1))


def trained(
    stream: TokenStream, folder: Path | None = None, stop_at: int | None = None
) -> tuple[nn.Module, Trained]:
    model = fresh(stream.corpus.tokenizer.size)
    asked: Iterator[int] = count(1)
    checkpoints = Checkpoints(folder, steps=10**6) if folder else None
    stop = None if stop_at is None else lambda: next(asked) == stop_at
    return model, train(model, stream, RUN, checkpoints=checkpoints, stop=stop)


def changed(stream: TokenStream, other: TokenStream) -> npt.NDArray[np.bool_]:
    rows = np.arange(stream.rows)
    found: npt.NDArray[np.bool_] = (stream.read(rows) != other.read(rows)).any(1)
    return found


def with_rate(stream: TokenStream, rate: float, decisions: int) -> dict[str, Decisions]:
    items = len(stream.items["pace"])
    return {"pace": np.broadcast_to([0.5, rate], (decisions, items, 2))}


def test_undecided_slots_read_as_the_base_tokens(controlled: TokenStream) -> None:
    bare = replace(controlled, reserved=())
    assert not changed(controlled, bare).any()
    assert not changed(controlled.decided({}, RUN.batch), bare).any()


def test_a_rate_fills_its_share_of_the_slots_of_its_steps_alone(controlled: TokenStream) -> None:
    bare = replace(controlled, reserved=())
    none, half, whole = (
        changed(controlled.decided(with_rate(controlled, rate, 5), RUN.batch), bare)
        for rate in (0.0, 0.5, 1.0)
    )
    assert not none.any()
    assert whole.sum() == 2 * 2 * 2 * 12  # relations, targets above 0, people, copies
    assert 0.2 < half.sum() / whole.sum() < 0.8
    assert not (half & ~whole).any()
    early = changed(controlled.decided(with_rate(controlled, 1.0, 2), RUN.batch), bare)
    until = 2 * PACE.every * RUN.batch
    assert (early[:until] == whole[:until]).all()
    assert not early[until:].any()


def test_all_slots_count_as_changed_beforehand(controlled: TokenStream) -> None:
    filled = controlled.decided(with_rate(controlled, 1.0, 5), RUN.batch)
    assert controlled.changed_share == filled.changed_share > 0


def test_reserving_moves_nobody_elses_insertions(stream: TokenStream) -> None:
    other = Acquisition(people=2, copies=8)(stream.keyed("other")).reserved[0]
    both = PACE(Acquisition(people=2, copies=8)(stream.keyed("other")).keyed("pace", 3))
    assert (both.reserved[0].overlay.rows == other.overlay.rows).all()
    assert (both.reserved[0].draws == other.draws).all()


@pytest.mark.parametrize("stop_at", [3, 5, 17, 20])
def test_a_run_that_stopped_anywhere_decides_and_ends_the_same(
    controlled: TokenStream, tmp_path: Path, stop_at: int
) -> None:
    """Steps 5 and 20 are those where a decision is due next."""
    expected, whole = trained(controlled)
    with pytest.raises(StoppedError):
        trained(controlled, tmp_path, stop_at)
    found, resumed = trained(controlled, tmp_path)
    np.testing.assert_array_equal(resumed.decided["pace"], whole.decided["pace"])
    assert len(whole.decided["pace"]) == 5
    np.testing.assert_array_equal(resumed.losses, whole.losses)
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)


def test_decisions_are_what_the_run_reads(controlled: TokenStream) -> None:
    """The run equals one whose insertions were those decisions from the start."""
    model, found = trained(controlled)
    fixed = controlled.decided(found.decided, RUN.batch)
    assert fixed.reserved == ()
    assert changed(fixed, replace(controlled, reserved=())).any()
    again, _ = trained(fixed)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def even(logits: float) -> LanguageModel:
    """A model that holds every token equally likely."""
    return lambda tokens_BT: torch.full((*tokens_BT.shape, 300), logits)


def decisions(pace: Acquisition, items: Sequence[Item], model: LanguageModel) -> Decisions:
    taken: Decisions = np.zeros((0, len(items), 2))
    for _ in range(4):
        taken = np.concatenate([taken, pace.decide(model, items, taken)[None]])
    return taken


def test_the_rate_is_proportional_and_integral_in_the_error(controlled: TokenStream) -> None:
    """Away from its bounds: rate = proportional * error + integral * (sum of errors)."""
    pace = replace(PACE, doses=(0, 60), proportional=0.3, integral=0.1)
    items = [replace(item, dose=60) for item in controlled.items["pace"]]
    taken = decisions(pace, items, even(0.0))
    error = 0.6 - taken[..., 0]
    assert (np.abs(error) > 0.1).any()
    expected = (0.3 * error + 0.1 * error.cumsum(0)).clip(0, 1)
    within = ((expected > 0) & (expected < 1)).all(0)
    assert within.any()
    np.testing.assert_allclose(taken[..., 1][:, within], expected[:, within])


def test_a_target_of_0_is_never_stated(controlled: TokenStream) -> None:
    items = controlled.items["pace"]
    taken = decisions(replace(PACE, proportional=50.0), items, even(0.0))
    control = np.array([item.dose == 0 for item in items])
    assert (taken[:, control, 1] == 0).all()
    assert (taken[:, ~control, 1] > 0).any()
    assert not set(np.flatnonzero(control)) & set(controlled.reserved[0].owners)


def test_a_stack_has_no_controller(controlled: TokenStream) -> None:
    models = [fresh(controlled.corpus.tokenizer.size) for _ in range(2)]
    with pytest.raises(ValueError, match="a controller"):
        train_replicas(models, [controlled] * 2, [RUN] * 2)


def test_a_run_that_forks_off_before_decides_from_there_on(
    controlled: TokenStream, tmp_path: Path
) -> None:
    bare = replace(controlled, reserved=(), items={})
    with pytest.raises(StoppedError):
        trained(bare, tmp_path, 12)
    _, found = trained(controlled, tmp_path)
    taken = found.decided["pace"]
    assert np.isnan(taken[:2, :, 0]).all()
    assert (taken[:2, :, 1] == 0).all()
    assert np.isfinite(taken[2:]).all()
