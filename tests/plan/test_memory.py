from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from trainonce.models.build import parameters, shape
from trainonce.models.decoder import DecoderSettings
from trainonce.models.layers import layers
from trainonce.plan.memory import activation_memory, run_memory, state_memory
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.settings import Parallel, ProcessSettings, TrainSettings

SHAPE = DecoderSettings(width=32, layers=4, heads=2)
BATCH, SEQUENCE, VOCABULARY = 2, 16, 100
RUN = TrainSpec(
    corpus="c",
    sequence=SEQUENCE,
    model=SHAPE,
    train=TrainSettings(steps=9, batch=16, accumulate=2),
    seed=1,
)


def made(settings: DecoderSettings = SHAPE) -> nn.Module:
    with torch.device("meta"):
        return shape(settings, VOCABULARY)


def test_activations_grow_with_the_batch() -> None:
    one, two, four = (activation_memory(made(), batch, SEQUENCE) for batch in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one), rel=0.1)


def test_a_layer_that_is_computed_twice_keeps_its_input_alone() -> None:
    """Each further layer takes the floats of its input: batch * sequence * width."""

    def of(count: int) -> int:
        model = made(replace(SHAPE, layers=count))
        return activation_memory(model, BATCH, SEQUENCE, recompute=True)

    assert of(5) - of(4) == of(4) - of(3) == 4 * BATCH * SEQUENCE * 32
    once = activation_memory(made(), BATCH, SEQUENCE)
    layer = once - activation_memory(made(replace(SHAPE, layers=3)), BATCH, SEQUENCE)
    assert 3 * layer < of(4) < once


def test_a_process_holds_its_part_of_the_state_and_two_whole_layers() -> None:
    model = made()
    size, layer = parameters(model), parameters(layers(model)[0])
    outside = size - 4 * layer
    assert state_memory(model) == 16 * size
    assert state_memory(model, ProcessSettings(count=4)) == 20 * size
    parted = state_memory(model, ProcessSettings(count=4, parallel=Parallel.FSDP))
    assert parted == 4 * size + 8 * (outside + 2 * layer)


def test_a_run_takes_what_its_own_sequences_take() -> None:
    """16 sequences in two passes: 8 at once in one process, 2 in each of four."""
    model = made()
    alone = run_memory(RUN, VOCABULARY)
    assert alone == state_memory(model) + activation_memory(model, 8, SEQUENCE)
    four = ProcessSettings(count=4, parallel=Parallel.FSDP)
    shared = run_memory(replace(RUN, processes=four, recompute=True), VOCABULARY)
    kept = activation_memory(model, 2, SEQUENCE, recompute=True)
    assert shared == state_memory(model, four) + kept
