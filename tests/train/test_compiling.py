from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from trainonce.models.build import build
from trainonce.models.decoder import DecoderSettings
from trainonce.stream.corpus import Corpus
from trainonce.stream.stream import TokenStream
from trainonce.train.checkpoints import Checkpoints
from trainonce.train.compiling import Compiling, measure, remember, remembered
from trainonce.train.loop import StoppedError, train
from trainonce.train.measured import CalibrationError
from trainonce.train.rehearsal import REFERENCES
from trainonce.train.settings import TrainSettings

CPU = torch.device("cpu")


def test_it_pays_for_runs_that_save_more_than_two_first_steps() -> None:
    found = Compiling(faster=1.25, first=30.0)
    assert found.least == pytest.approx(300.0)
    assert found.pays(301.0)
    assert not found.pays(299.0)
    assert Compiling(faster=1.0, first=0.0).least is None
    assert not Compiling(faster=1.01, first=0.0).pays(1e9)


def test_one_of_two_models_is_compiled() -> None:
    called: list[nn.Module] = []
    found = measure(CPU, reference=REFERENCES["mlp"], compiler=called.append)
    assert len(called) == 1
    assert found.why_not == ""
    assert math.isfinite(found.faster)
    assert math.isfinite(found.first)


def test_a_compiler_that_fails_never_pays_and_says_why() -> None:
    def broken(model: nn.Module) -> None:
        def fail(*_inputs: object) -> None:
            raise RuntimeError("no C++ compiler was found\nlong story")

        model.forward = fail

    found = measure(CPU, reference=REFERENCES["mlp"], compiler=broken)
    assert found.why_not == "no C++ compiler was found"
    assert not found.pays(1e9)


def test_what_was_measured_is_remembered(tmp_path: Path) -> None:
    assert remembered(tmp_path, CPU) is None
    found = Compiling(faster=1.5, first=20.0)
    remember(tmp_path, CPU, found)
    assert remembered(tmp_path, CPU) == found
    (tmp_path / "compiling.json").write_text("{")
    with pytest.raises(CalibrationError, match="is damaged; delete it, then: trainonce doctor"):
        remembered(tmp_path, CPU)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's compiler itself
def test_a_compiled_run_goes_on_with_its_bits(
    stream: TokenStream, corpus: Corpus, tmp_path: Path
) -> None:
    """It takes a compiler, and its time."""

    def fresh() -> nn.Module:
        model = build(DecoderSettings(width=16, layers=1, heads=2), corpus.tokenizer.size, seed=1)
        model.compile()
        return model

    settings = TrainSettings(steps=40, batch=4)
    plain = build(DecoderSettings(width=16, layers=1, heads=2), corpus.tokenizer.size, seed=1)
    expected = train(whole := fresh(), stream, settings)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 20

    checkpoints = Checkpoints(tmp_path, seconds=1e9)
    with pytest.raises(StoppedError):
        train(fresh(), stream, settings, checkpoints=checkpoints, stop=stop)
    torch._dynamo.reset()
    found = train(resumed := fresh(), stream, settings, checkpoints=checkpoints)
    assert (found.losses == expected.losses).all()
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name])
    near = train(plain, stream, settings)
    assert abs(near.losses - expected.losses).max() < 1e-3
