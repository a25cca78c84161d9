from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from trainonce.methods.data.insertion.forgetting import Forgetting
from trainonce.methods.probe.loss.passage_loss import PassageLoss
from trainonce.sites import Completion, SettingError
from trainonce.stream.stream import TokenStream


def rows_with(stream: TokenStream, plain: TokenStream) -> set[int]:
    positions = np.arange(stream.rows)
    changed = (stream.read(positions) != plain.read(positions)).any(axis=1)
    return set(np.flatnonzero(changed).tolist())


def test_passages_are_seen_as_often_as_their_dose_and_in_the_window_only(
    stream: TokenStream,
) -> None:
    treated = Forgetting(doses=(0, 1, 3), items=4, tokens=20)(
        stream.keyed("seen", window=(0.25, 0.5))
    )
    items = treated.items["seen"]
    assert [item.dose for item in sorted(items, key=lambda i: i.dose)] == [0] * 4 + [1] * 4 + [
        3
    ] * 4
    changed = rows_with(treated, stream)
    assert len(changed) == 4 * 1 + 4 * 3
    assert all(160 <= row < 320 for row in changed)
    rows = treated.read(np.arange(stream.rows)).tolist()
    for item in items:
        text = " ".join(map(str, item.documents[0]))
        assert sum(f" {text} " in " ".join(map(str, row)) + " " for row in rows) == item.dose


def test_the_probe_is_the_loss_of_the_whole_passage(stream: TokenStream) -> None:
    items = Forgetting(items=3, tokens=20)(stream.keyed("seen")).items["seen"]
    vocabulary = stream.corpus.tokenizer.size

    def even(tokens_BT: Tensor) -> Tensor:
        return torch.zeros(*tokens_BT.shape, vocabulary)

    rows = PassageLoss()(even, items)
    assert [row.value for row in rows] == pytest.approx([math.log(vocabulary)] * 6)
    assert {row.outcome for row in rows} == {"passage_loss"}
    for item in items:
        assert isinstance(item.test, Completion)
        assert item.test.target == item.documents[0]


def test_settings_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(SettingError, match="dose 0 is missing"):
        Forgetting(doses=(1, 2))
    with pytest.raises(SettingError, match="at least 2"):
        Forgetting(tokens=1)
