from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trainonce.methods.data.insertion.acquisition import Acquisition
from trainonce.methods.probe.recall.pursuit import Pursuit
from trainonce.sites import Pursuit as PursuitTest
from trainonce.sites import SettingError
from trainonce.stream.stream import TokenStream


def test_what_is_probed_and_asked_is_never_stated(stream: TokenStream) -> None:
    items = Acquisition(people=2, copies=8).__call__(stream.keyed("pace")).items["pace"]
    for item in items:
        assert isinstance(item.test, PursuitTest)
        assert item.test.target == item.dose / 100
        probed, asked = item.test.probed, item.test.asked
        assert probed.prompt != asked.prompt
        assert (probed.options, probed.answer) == (asked.options, asked.answer)
        for document in item.documents:
            for prompt in (probed.prompt[1:], asked.prompt[1:]):
                assert document[: len(prompt)] != prompt


def test_the_probe_tells_error_rate_and_accuracy(stream: TokenStream) -> None:
    items = Acquisition(doses=(0, 60), people=2, copies=4)(stream.keyed("pace")).items["pace"]

    def even(tokens_BT: Tensor) -> Tensor:
        return torch.zeros(*tokens_BT.shape, 300)

    item = next(item for item in items if item.dose == 60)
    assert isinstance(item.test, PursuitTest)
    seen = ((float("nan"), 0.0), (0.1, 1.0), (0.5, 0.4), (0.7, 0.25))
    steered = replace(item, test=replace(item.test, seen=seen))
    plain, found = (
        {row.outcome: row.value for row in Pursuit()(even, [one])} for one in (item, steered)
    )
    now = plain["probability"]
    assert 0 < now < 0.6
    assert plain["error"] == pytest.approx(0.6 - now)
    assert plain["rate"] == 0
    assert found["error"] == pytest.approx((0.1 + 0.6 - now) / 2)  # of 0.1, 0.5, 0.7 and now
    assert found["rate"] == 0.25
    assert found["accuracy"] == plain["accuracy"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"doses": (0, 120)}, "at most 100 %"),
        ({"doses": (20, 50)}, "dose 0 is missing"),
        ({"every": 0}, "at least 1"),
        ({"people": 1}, "at least 2"),
        ({"templates": 8}, "at most 7, not 8"),
        ({"integral": -0.1}, "0 or more"),
        ({"proportional": float("nan")}, "0 or more"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        Acquisition(**settings)  # type: ignore[arg-type]
