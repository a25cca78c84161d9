"""How many items a dependence test would have needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainonce.analysis.dependence.contrasts import Change, Decision, Reading
from trainonce.analysis.dependence.results import OTHERS, Cell, Dependence, Examined

NOTHING = Reading(value=0.0, low=-0.05, high=0.05, p=0.9)


def found(level: Reading, *, inside: int = 5, fewest: int = 12) -> Dependence:
    """Two experiments, of which ``a`` does ``level`` to the items of ``b``; nothing else moves."""
    experiments = tuple(
        Examined(
            id=name,
            outcome="loss",
            margin=0.2,
            units=24,
            fewest=fewest,
            copies=50,
            inside=inside if name == "a" else 5,
        )
        for name in "ab"
    )
    undecided = Change(level=level, answer=NOTHING)
    still = Change(level=NOTHING, answer=NOTHING)
    told = Decision.CANNOT_TELL
    return Dependence(
        layout="alone",
        parent="trunk",
        start=90,
        end=100,
        steps=100,
        seeds=(1,),
        runs=4,
        resolution=None,
        generators=(),
        experiments=experiments,
        cells=(
            Cell(present="a", measured="a", change=still),
            Cell(present="a", measured="b", change=undecided, p_adjusted=0.3, decision=told),
            Cell(present="b", measured="a", change=still, p_adjusted=1.0, decision=Decision.SHARE),
            Cell(present="b", measured="b", change=still),
        ),
        joint=(
            Cell(present=OTHERS, measured="a", change=still, p_adjusted=1.0, decision=told),
            Cell(present=OTHERS, measured="b", change=still, p_adjusted=1.0, decision=told),
        ),
        interactions=(),
        higher=(),
        pairs=(),
        run_equivalents=0.4,
    )


def test_items_shrink_intervals_by_their_root() -> None:
    """0.3 wide to the side that counts, with 0.1 of room: nine times the items."""
    told = found(Reading(value=0.1, low=-0.2, high=0.4, p=0.3))
    assert told.units_needed("b") == 9 * 24
    assert told.to_json()["experiments"][1]["units_needed"] == 9 * 24


def test_a_side_that_is_far_counts_from_its_own_room() -> None:
    """To the lower side 0.3 wide with 0.3 of room, to the upper one 0.2 wide with 0.1."""
    told = found(Reading(value=0.1, low=-0.2, high=0.3, p=0.3))
    assert told.units_needed("b") == 4 * 24


def test_few_items_at_a_dose_are_too_few() -> None:
    narrow = Reading(value=0.0, low=-0.1, high=0.1, p=0.9)
    assert found(narrow, fewest=4).units_needed("b") == 60


@pytest.mark.parametrize("value", [0.2, -0.35])
def test_a_change_as_large_as_the_margin_needs_no_more_items(value: float) -> None:
    wide = Reading(value=value, low=value - 0.3, high=value + 0.3, p=0.1)
    assert found(wide).units_needed("b") is None


def test_what_inserts_nothing_asks_for_nothing() -> None:
    wide = Reading(value=0.0, low=-0.4, high=0.4, p=0.9)
    told = found(wide, inside=0)
    cells = tuple(
        replace(cell, decision=Decision.SHARE) if cell.present == OTHERS else cell
        for cell in told.joint
    )
    assert replace(told, joint=cells).units_needed("b") is None
