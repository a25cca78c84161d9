"""Ladders and small models in a study file: what they mean, and what each mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.test_changes import asked, problems
from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.study.ladders import narrower

WIDE = "treatment: {change: {model.width: 64}}\n"
LADDER = "questions[0].ladder"


def test_shares_are_of_the_width_of_the_arm(tmp_path: Path) -> None:
    found = asked(tmp_path, f"{WIDE}ladder: [13%, 0.25, 70%]")
    assert [rung.recipe.model for rung in found.ladder] == [
        DecoderSettings(width=width, layers=1, heads=2) for width in (8, 16, 44)
    ]
    assert [rung.label for rung in found.ladder] == ["width 8", "width 16", "width 44"]
    assert {rung.recipe.steps for rung in found.ladder} == {200}
    assert {rung.since for rung in found.ladder} == {0}


def test_rungs_can_be_models(tmp_path: Path) -> None:
    text = "treatment: {change: {model: mini}}\nladder: [nano, {width: 16, layers: 1, heads: 2}, "
    found = asked(tmp_path, text + "{name: micro, layers: 2}]")
    assert [rung.recipe.model for rung in found.ladder] == [
        SIZES["nano"],
        DecoderSettings(width=16, layers=1, heads=2),
        DecoderSettings(width=192, layers=2, heads=6, kv_heads=2),
    ]
    assert found.ladder[2].label == "width 192, layers 2, heads 6, kv_heads 2"


@given(
    heads=st.integers(1, 16),
    head=st.integers(1, 64),
    share=st.floats(0.001, 0.999),
    hidden=st.none() | st.integers(1, 4096),
)
def test_any_share_is_a_decoder_that_can_be_built(
    heads: int, head: int, share: float, hidden: int | None
) -> None:
    large = DecoderSettings(width=2 * head * heads, layers=3, heads=heads, hidden=hidden)
    found = narrower(large, share)  # which checks itself
    assert (found.layers, found.heads) == (3, heads)
    assert abs(found.width - share * large.width) <= 2 * heads
    assert (found.hidden is None) == (hidden is None)


def test_a_small_model_is_a_name_or_numbers(tmp_path: Path) -> None:
    late = "at: 50%\ntreatment: {change: {clip: 2}}\nsmall: "
    numbers = asked(tmp_path, late + "{width: 16, layers: 1, heads: 2}").small
    assert numbers is not None
    assert numbers.recipe.model == DecoderSettings(width=16, layers=1, heads=2)
    assert numbers.label == "width 16, layers 1, heads 2"
    assert numbers.recipe.clip == 1.0
    named = asked(tmp_path, late + "nano").small
    assert named is not None
    assert (named.recipe.model, named.label) == (SIZES["nano"], "nano")


def test_a_whole_model_and_a_longer_run_can_be_changed_together(tmp_path: Path) -> None:
    change = "{model: {width: 64, layers: 2, heads: 4}, length: 800 steps}"
    (arm,) = asked(tmp_path, f"treatment: {{change: {change}}}").arms
    assert arm.recipe.model == DecoderSettings(width=64, layers=2, heads=4)
    assert arm.recipe.steps == 800
    assert arm.label == "model width 64, layers 2, heads 4, length 800 steps"


BROKEN = {
    "too few": (f"{WIDE}ladder: [25%, 50%]", 10, LADDER, "3 sizes at least"),
    "no share": (f"{WIDE}ladder: [25%, 50%, 100%]", 10, f"{LADDER}[2]", "above 0 and under 100%"),
    "a number": (f"{WIDE}ladder: [25%, 50%, 3]", 10, f"{LADDER}[2]", "share between 0 and 1"),
    "a share and more": (
        f"{WIDE}ladder: [20%, 30%, {{share: 10%, layers: 2}}]",
        10,
        f"{LADDER}[2].share",
        "stands alone",
    ),
    "half a model": (
        f"{WIDE}ladder: [20%, 30%, {{width: 8}}]",
        10,
        f"{LADDER}[2]",
        "a name, or width, layers and heads",
    ),
    "an unknown key": (
        f"{WIDE}ladder: [20%, 30%, {{wide: 8}}]",
        10,
        f"{LADDER}[2].wide",
        "no such key",
    ),
    "a pretrained rung": (f"{WIDE}ladder: [20%, 30%, gpt2]", 10, f"{LADDER}[2]", "'gpt2' a size ("),
    "the base run": (
        f"{WIDE}ladder: [20%, 30%, 50%]",
        10,
        f"{LADDER}[2]",
        "the base run, which costs nothing more, is on the ladder anyway",
    ),
    "a size twice": (
        f"{WIDE}ladder: [20%, 30%, 20.1%]",
        10,
        f"{LADDER}[2]",
        "width 12 is there twice",
    ),
    "several arms": (
        "treatment: {change: {model.width: [48, 64]}}\nladder: [10%, 20%, 30%]",
        10,
        LADDER,
        "this question has 2: ask apart",
    ),
    "a pretrained arm": (
        "treatment: {change: {model: gpt2}}\nladder: [10%, 20%, 30%]",
        10,
        LADDER,
        "on no ladder",
    ),
    "a ladder for lengths": (
        "treatment: {lengths: [50%]}\nladder: [10%, 20%, 30%]",
        10,
        LADDER,
        "belongs to `treatment: {change: ...}`",
    ),
    "a small model for items": (
        "treatment: {method: memorization, tokens: 16}\nsmall: nano",
        10,
        "questions[0].small",
        "belongs to `treatment: {change: ...}`",
    ),
    "half a small model": (
        "at: 50%\ntreatment: {change: {clip: 2}}\nsmall: {width: 8}",
        11,
        "questions[0].small",
        "a name, or width, layers and heads",
    ),
    "another length late": (
        "at: 50%\ntreatment: {change: {length: 900 steps}}",
        10,
        "questions[0].treatment.change.length",
        "acts from step 0 (leave `at` away)",
    ),
    "no length": (
        "treatment: {change: {length: 900}}",
        9,
        "questions[0].treatment.change.length",
        "a length with its unit",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_ladder_gives_its_message(tmp_path: Path, name: str) -> None:
    question, line, field, message = BROKEN[name]
    found = problems(tmp_path, question)
    assert len(found) == 1, found
    assert found[0][:2] == (line, field)
    assert message in found[0][2]
