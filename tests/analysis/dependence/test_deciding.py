"""Matrices, interactions and pairs from forks whose outcomes are made up."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from trainonce.analysis.dependence.contrasts import Decision
from trainonce.analysis.dependence.deciding import Column, judged, pairs
from trainonce.analysis.dependence.results import Examined
from trainonce.analysis.effects import Sample
from trainonce.plan.factorial import Factorial, factorial

NAMES = tuple("abcdef")
UNITS = 24


def experiments(names: tuple[str, ...]) -> list[Examined]:
    return [
        Examined(
            id=name,
            outcome="loss",
            margin=0.2,
            units=UNITS,
            fewest=UNITS // 2,
            copies=50,
            inside=0 if name == "idle" else 5,
        )
        for name in names
    ]


def columns(
    names: tuple[str, ...],
    present: list[tuple[str, ...]],
    outcome: Callable[[set[str], str], float],
    noise: float = 0.02,
) -> dict[str, Column]:
    """Items of each experiment in each fork: ``outcome(present, measured)`` and noise."""
    random = np.random.default_rng(3)
    sample = Sample(np.zeros(UNITS), np.tile([0, 8], UNITS // 2), np.zeros(UNITS, dtype=np.int64))
    return {
        name: Column(
            sample,
            np.array([outcome(set(fork), name) for fork in present])
            + random.normal(0, noise, (UNITS, len(present))),
        )
        for name in names
    }


def alone(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [names, (), *((name,) for name in names)]


def crossed(names: tuple[str, ...]) -> tuple[Factorial, list[tuple[str, ...]]]:
    design = factorial(len(names))
    rows = [
        tuple(name for name, sign in zip(names, row, strict=True) if sign > 0)
        for row in design.signs
    ]
    return design, rows if () in rows else [*rows, ()]


def test_each_alone_tells_who_moves_whom() -> None:
    names = NAMES[:3]

    def outcome(present: set[str], measured: str) -> float:
        return 1.0 * ("a" in present and measured == "b") + 3.0 * (measured in present)

    own = experiments(names)
    cells, joint, mixed, higher = judged(
        own, columns(names, alone(names), outcome), alone(names), None
    )
    by_place = {(cell.present, cell.measured): cell for cell in cells}
    assert by_place["a", "b"].change.level.value == pytest.approx(1.0, abs=0.03)
    assert by_place["b", "b"].change.level.value == pytest.approx(3.0, abs=0.03)
    assert by_place["b", "b"].decision is None
    assert by_place["b", "b"].p_adjusted is None
    assert {place for place, cell in by_place.items() if cell.decision is Decision.SPLIT} == {
        ("a", "b")
    }
    assert [row.decision for row in joint] == [Decision.SHARE, Decision.SPLIT, Decision.SHARE]
    assert not mixed
    assert not higher
    decided = {(pair.first, pair.second): pair.decision for pair in pairs(own, cells, mixed)}
    assert decided == {
        ("a", "b"): Decision.SPLIT,
        ("a", "c"): Decision.SHARE,
        ("b", "c"): Decision.SHARE,
    }


def test_what_inserts_nothing_is_never_said_to_share() -> None:
    names = ("a", "idle")
    own = experiments(names)
    found = columns(names, alone(names), lambda _present, _measured: 0.0)
    cells, *_ = judged(own, found, alone(names), None)
    assert {cell.present: cell.decision for cell in cells if cell.decision} == {
        "a": Decision.SHARE,
        "idle": Decision.CANNOT_TELL,
    }


def test_a_factorial_tells_main_effects_and_interactions() -> None:
    """Five factors in 16 runs, of resolution V: nothing of the second order is mixed."""
    names = NAMES[:5]
    design, present = crossed(names)
    assert len(present) == 17

    def outcome(forked: set[str], measured: str) -> float:
        if measured != "b":
            return 0.0
        return 0.7 * ("a" in forked) + 1.2 * ({"b", "c"} <= forked)

    own = experiments(names)
    cells, joint, mixed, higher = judged(own, columns(names, present, outcome), present, design)
    effect = {cell.present: cell.change.level.value for cell in cells if cell.measured == "b"}
    # b and c each move the items by 1.2 in the half of the runs that has the other one
    assert effect == pytest.approx({"a": 0.7, "b": 0.6, "c": 0.6, "d": 0, "e": 0}, abs=0.03)
    assert next(row for row in joint if row.measured == "b").change.level.value == pytest.approx(
        1.3, abs=0.05
    )
    assert all(len(one.pairs) == 1 for one in mixed)
    found = {one.pairs[0]: one for one in mixed if one.measured == "b"}
    assert found["b", "c"].change.level.value == pytest.approx(0.6, abs=0.03)
    assert found["b", "c"].p_adjusted < 0.05 < found["a", "d"].p_adjusted
    decided = {(pair.first, pair.second): pair.decision for pair in pairs(own, cells, mixed)}
    assert {names for names, told in decided.items() if told is Decision.SPLIT} == {
        ("a", "b"),
        ("b", "c"),
    }
    assert {bound.columns for bound in higher} == {1}
    assert all(bound.level < 0.15 for bound in higher)


@pytest.mark.parametrize("names", [NAMES[:5], NAMES])
def test_higher_interactions_are_seen_where_a_contrast_is_left(names: tuple[str, ...]) -> None:
    """In a contrast of their own, or at the corner without any experiment."""
    design, present = crossed(names)
    words = dict(zip(names, design.words, strict=True))
    threes = list(itertools.combinations(names, 3))
    kept = [t for t in threes if words[t[0]] ^ words[t[1]] ^ words[t[2]] in design.left]
    three = set((kept or threes)[0])

    def outcome(forked: set[str], measured: str) -> float:
        return 2.0 * (not forked & three)

    own = experiments(names)
    *_, higher = judged(own, columns(names, present, outcome), present, design)
    assert all(bound.level > 0.2 for bound in higher)
    still = columns(names, present, lambda _forked, _measured: 0.0)
    *_, higher = judged(own, still, present, design)
    assert all(bound.level < 0.2 for bound in higher)


def test_pairs_that_are_mixed_are_neither_split_nor_shared() -> None:
    """Six factors in 16 runs: a pair stands for two more."""
    design, present = crossed(NAMES)
    own = experiments(NAMES)

    def outcome(forked: set[str], measured: str) -> float:
        sign = {name: 1 if name in forked else -1 for name in NAMES}
        return 0.5 * sign["a"] * sign["b"] * (measured == "a")

    cells, _, mixed, _ = judged(own, columns(NAMES, present, outcome), present, design)
    (group,) = (one for one in mixed if ("a", "b") in one.pairs and one.measured == "a")
    assert group.change.level.value == pytest.approx(1.0, abs=0.03)
    assert len(group.pairs) > 1
    decided = {(pair.first, pair.second): pair.decision for pair in pairs(own, cells, mixed)}
    assert decided["a", "b"] is Decision.CANNOT_TELL
    assert decided["b", "d"] is Decision.SHARE


def test_every_pair_of_a_large_test_may_be_split() -> None:
    """There are enough deals that the correction leaves room for a yes."""
    names = tuple(f"q{number}" for number in range(9))
    design, present = crossed(names)
    found = columns(names, present, lambda forked, measured: 1.0 * ("q0" in forked))
    cells, *_ = judged(experiments(names), found, present, design)
    moved = [cell for cell in cells if cell.present == "q0" and cell.measured != "q0"]
    assert all(cell.decision is Decision.SPLIT for cell in moved)
    still = [cell for cell in cells if cell.present == "q5"]
    assert not any(cell.decision is Decision.SPLIT for cell in still)
