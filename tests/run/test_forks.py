"""Forks begin with another run's state, and a run that was cut for them keeps its bits."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trainonce.models.decoder import DecoderSettings
from trainonce.run.cache import JobCache
from trainonce.run.execute import execute
from trainonce.run.inspection import inspect
from trainonce.stream.corpus import Corpus, DataSettings, prepare
from trainonce.tasks.keys import content_hash
from trainonce.tasks.language import treated_stream
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import Fork, StateSpec, TrainSpec, Treated
from trainonce.train.checkpoints import CheckpointError
from trainonce.train.loop import StoppedError
from trainonce.train.schedules import Cosine, WarmupStableDecay
from trainonce.train.settings import AdamWSettings, CheckpointSettings, TrainSettings

MEMORY = Treated(
    question="memory",
    method="memorization",
    version=1,
    settings={"doses": [0, 4], "passages": 0, "canaries": 2, "tokens": 16},
)
LATE = replace(MEMORY, question="late", window=(0.5, 1.0))


def carry_out(home: Path, *specs: Spec) -> JobCache:
    for spec in specs:
        execute(spec, home, lambda _progress: None, lambda: False)
    return JobCache(home)


def start(spec: TrainSpec) -> StateSpec:
    assert spec.fork
    return spec.fork.state


def copy_of(home: Path, folder: Path) -> Path:
    shutil.copytree(home / "corpora", folder / "corpora")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, settings: DataSettings) -> Corpus:
    return prepare(settings, tmp_path_factory.mktemp("forks"))


@pytest.fixture
def home(corpus: Corpus, tmp_path: Path) -> Path:
    return copy_of(corpus.folder.parents[1], tmp_path / "home")


@pytest.fixture(scope="module")
def trunk(corpus: Corpus) -> TrainSpec:
    return TrainSpec(
        corpus=corpus.fingerprint,
        sequence=64,
        model=DecoderSettings(width=8, layers=1, heads=2),
        train=TrainSettings(steps=30, batch=4, optimizer=AdamWSettings(lr=1e-2)),
        seed=3,
        treatments=(MEMORY,),
    )


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_was_cut_keeps_its_key_and_its_bits(trunk: TrainSpec, home: Path) -> None:
    whole = carry_out(copy_of(home, home.parent / "whole"), trunk)
    states = [StateSpec(trained=trunk, step=step) for step in (12, 20)]
    cut = carry_out(home, *states, trunk)
    assert equal(cut.weights(trunk.key), whole.weights(trunk.key))
    np.testing.assert_array_equal(cut.losses(trunk.key), whole.losses(trunk.key))
    assert [found.step for found in cut.states(trunk)] == [20, 12]
    assert cut.state(states[1]).facts["step"] == 20


def test_a_fork_that_changes_nothing_is_the_run_that_it_left(trunk: TrainSpec, home: Path) -> None:
    same = replace(trunk, fork=Fork(trunk, 12))
    cache = carry_out(home, start(same), trunk, same)
    assert same.key != trunk.key
    assert equal(cache.weights(same.key), cache.weights(trunk.key))


def test_a_fork_has_its_own_numbers_from_there_on(trunk: TrainSpec, home: Path) -> None:
    cooled = replace(trunk.train, steps=20, schedule=WarmupStableDecay(warmup=0, decay=0.5))
    fork = replace(trunk, train=cooled, fork=Fork(trunk, 12))
    heavy = replace(
        trunk, train=replace(trunk.train, optimizer=AdamWSettings(lr=1e-2, weight_decay=5.0))
    )
    heavy = replace(heavy, fork=Fork(trunk, 12))
    cache = carry_out(home, start(fork), trunk, fork, heavy)
    whole, cut = cache.losses(trunk.key), cache.losses(fork.key)
    assert len(cut) == 20
    np.testing.assert_array_equal(cut[:13], whole[:13])  # the update after it is another one
    assert (cut[13:] != whole[13:20]).all()
    own = cache.losses(heavy.key)
    np.testing.assert_array_equal(own[:13], whole[:13])
    assert (own[13:] != whole[13:]).all()


def test_a_fork_reads_what_its_parent_would_have_read(trunk: TrainSpec, corpus: Corpus) -> None:
    """Also when it is shorter or longer: insertions are laid out as its parent's."""
    for steps in (20, 45):
        fork = replace(trunk, train=replace(trunk.train, steps=steps), fork=Fork(trunk, 12))
        positions = np.arange(min(steps, 30) * 4)
        read = treated_stream(fork, corpus).read(positions)
        np.testing.assert_array_equal(read, treated_stream(trunk, corpus).read(positions))
    beyond = treated_stream(fork, corpus).read(np.arange(120, 180))
    np.testing.assert_array_equal(beyond, fork.stream(corpus).read(np.arange(120, 180)))


def test_a_late_treatment_acts_in_its_fork_alone(trunk: TrainSpec, home: Path) -> None:
    fork = replace(trunk, treatments=(MEMORY, LATE), fork=Fork(trunk, 15))
    cache = carry_out(home, start(fork), trunk, fork)
    np.testing.assert_array_equal(cache.losses(fork.key)[:15], cache.losses(trunk.key)[:15])
    assert not equal(cache.weights(fork.key), cache.weights(trunk.key))
    seen = {found.question: found for found in inspect(fork.key, home).ledger or ()}
    (late,) = (dose for dose in seen["late"].doses if dose.dose)
    assert late.first is not None
    assert late.first > 15
    assert late.seen == late.copies == 8
    unread = replace(fork, treatments=(MEMORY, replace(LATE, window=(0.0, 0.5))))
    assert unread.key != fork.key


def test_another_seed_draws_another_order(trunk: TrainSpec, home: Path) -> None:
    fork = replace(trunk, seed=4, fork=Fork(trunk, 12))
    cache = carry_out(home, start(fork), fork)
    state = cache.state(start(fork))
    losses = cache.losses(fork.key)
    np.testing.assert_array_equal(losses[:12], state.tensors["losses"][:12].numpy())
    assert np.isfinite(losses).all()


def test_forks_of_forks_and_their_parents(trunk: TrainSpec, home: Path) -> None:
    first = replace(trunk, train=replace(trunk.train, schedule=Cosine()), fork=Fork(trunk, 12))
    second = replace(first, fork=Fork(first, 20))
    cache = carry_out(home, start(first), start(second), second, first)
    assert equal(cache.weights(first.key), cache.weights(second.key))
    assert inspect(second.key, home).parents == (f"{first.key}@20",)
    found = inspect(f"{first.key}@20", home)
    assert (found.what, found.step, found.damage, found.job) == ("checkpoint", 20, None, first.key)
    assert inspect(first.key[:8], home).kind == "train"


def test_a_fork_stopped_and_started_again_keeps_its_bits(trunk: TrainSpec, home: Path) -> None:
    fork = replace(trunk, train=replace(trunk.train, schedule=Cosine()), fork=Fork(trunk, 12))
    whole = carry_out(copy_of(home, home.parent / "whole"), start(fork), fork)
    cache = carry_out(home, start(fork))
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 8

    with pytest.raises(StoppedError):
        execute(fork, home, lambda _p: None, stop, CheckpointSettings(steps=3))
    assert not cache.done(fork.key)
    carry_out(home, fork)
    assert equal(cache.weights(fork.key), whole.weights(fork.key))


def test_a_state_can_be_measured(trunk: TrainSpec, home: Path) -> None:
    early = MeasureSpec(trained=trunk, probe="heldout_loss", version=1, step=12)
    late = replace(early, step=None)
    cache = carry_out(home, early.measured, trunk, early, late)
    assert set(cache.rows(early.key)["step"]) == {12}
    assert set(cache.rows(late.key)["step"]) == {30}
    assert cache.rows(early.key)["value"].mean() != cache.rows(late.key)["value"].mean()
    assert inspect(early.key, home).parents == (f"{trunk.key}@12",)
    assert inspect(early.key, home).step == 12


def test_what_a_fork_does_not_change_is_not_copied(trunk: TrainSpec, home: Path) -> None:
    """A fork that ends where it begins has changed nothing, so its own folder holds nothing."""
    still = replace(trunk, train=replace(trunk.train, steps=12), fork=Fork(trunk, 12))
    cache = carry_out(home, start(still), trunk, still)
    kept = cache.folder(still.key) / "model.safetensors"
    assert kept.stat().st_size < 100
    state = cache.state(start(still))
    weights = cache.weights(still.key)
    assert weights
    assert all(torch.equal(t, state.tensors[f"model.{name}"]) for name, t in weights.items())


def test_a_damaged_state_of_its_own_is_passed_over(trunk: TrainSpec, home: Path) -> None:
    states = [StateSpec(trained=trunk, step=step) for step in (12, 20)]
    whole = carry_out(copy_of(home, home.parent / "whole"), trunk)
    cache = carry_out(home, *states)
    with (cache.folder(states[1].key) / "state.safetensors").open("r+b") as file:
        file.truncate(200)
    with pytest.warns(UserWarning, match="damaged.*using what is before it"):
        carry_out(home, trunk)
    assert equal(cache.weights(trunk.key), whole.weights(trunk.key))


def test_a_damaged_parent_is_named(trunk: TrainSpec, home: Path) -> None:
    fork = replace(trunk, train=replace(trunk.train, schedule=Cosine()), fork=Fork(trunk, 12))
    state = start(fork)
    with pytest.raises(CheckpointError, match=f"{trunk.key}@12 is no whole checkpoint"):
        carry_out(home, fork)
    cache = carry_out(home, state)
    with (cache.folder(state.key) / "state.safetensors").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(CheckpointError, match="is damaged: its checksum does not match"):
        carry_out(home, fork)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": TrainSettings(steps=30, batch=8)}, "batches and sequences of the same size"),
        ({"sequence": 32}, "batches and sequences of the same size"),
        ({"train": TrainSettings(steps=10, batch=4)}, "outside of its parent's steps 0 to 30"),
    ],
)
def test_forks_that_cannot_be(trunk: TrainSpec, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(trunk, fork=Fork(trunk, 12), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="outside of the run's steps 0 to 30"):
        StateSpec(trained=trunk, step=31)


def test_a_hugging_face_model_is_forked_and_measured_like_ours(
    trunk: TrainSpec, corpus: Corpus, home: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=corpus.tokenizer.size,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    folder = home.parent / "llama"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    own = replace(trunk, model=str(folder), model_files=content_hash(folder))
    same = replace(own, fork=Fork(own, 12))
    loss = MeasureSpec(trained=same, probe="heldout_loss", version=1)
    cache = carry_out(home, start(same), own, same, loss)
    assert equal(cache.weights(same.key), cache.weights(own.key))
    assert cache.rows(loss.key)["value"].is_finite().all()
