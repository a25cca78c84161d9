"""Designs are computed; what they promise is checked by trying all sums of factors."""

from __future__ import annotations

import itertools
from functools import reduce
from operator import xor

import numpy as np
import pytest

from trainonce.plan.factorial import Factorial, factorial

SIZES = [*range(1, 13), 16, 17, 33]


@pytest.mark.parametrize("factors", SIZES)
def test_no_main_effect_is_mixed_with_another_or_with_a_pair(factors: int) -> None:
    design = factorial(factors)
    assert len(design.words) == factors
    assert design.resolution is None or design.resolution >= 4
    for size in (1, 2, 3):
        for words in itertools.combinations(design.words, size):
            assert reduce(xor, words) != 0


@pytest.mark.parametrize("factors", SIZES)
def test_columns_are_orthogonal_and_the_first_run_has_all(factors: int) -> None:
    design = factorial(factors)
    signs = design.signs
    assert signs.shape == (design.runs, factors)
    assert (signs[0] == 1).all()
    columns = np.stack(
        [signs.T[i] for i in range(factors)] + [design.column(word) for word in design.pairs]
    )
    products = columns @ columns.T
    assert (products == design.runs * np.eye(len(columns))).all()
    assert not (columns @ np.ones(design.runs)).any()


@pytest.mark.parametrize("factors", SIZES)
def test_a_pairs_column_is_the_product_of_its_factors(factors: int) -> None:
    design = factorial(factors)
    for word, pairs in design.pairs.items():
        for one, other in pairs:
            product = design.signs[:, one] * design.signs[:, other]
            np.testing.assert_array_equal(product, design.column(word))
    for factor, basic in design.generators:
        product = design.signs[:, list(basic)].prod(axis=1)
        np.testing.assert_array_equal(product, design.signs[:, factor])


@pytest.mark.parametrize("factors", [5, 6, 7, 8, 9, 10])
def test_the_resolution_is_that_of_the_shortest_sum(factors: int) -> None:
    design = factorial(factors)
    shortest = next(
        size
        for size in range(1, factors + 1)
        if any(reduce(xor, words) == 0 for words in itertools.combinations(design.words, size))
    )
    assert design.resolution == shortest
    assert design.pattern[shortest - 1] > 0 == sum(design.pattern[: shortest - 1])


def test_small_designs_are_the_ones_of_the_textbooks() -> None:
    """Box, Hunter and Hunter (2005), chapter 6: runs, resolution, shortest words."""
    known = {4: (8, 4, 1), 5: (16, 5, 1), 6: (16, 4, 3), 7: (16, 4, 7), 8: (16, 4, 14)}
    for factors, (runs, resolution, shortest) in known.items():
        design = factorial(factors)
        assert (design.runs, design.resolution) == (runs, resolution)
        assert design.pattern[resolution - 1] == shortest
    assert factorial(3).resolution is None


def test_what_is_left_holds_higher_interactions_only() -> None:
    design = factorial(6)
    signs = design.signs
    for word in design.left:
        own = design.column(word)
        for one, other in itertools.combinations(range(6), 2):
            assert own @ signs[:, one] == own @ (signs[:, one] * signs[:, other]) == 0
        assert any(
            abs(int(own @ signs[:, list(three)].prod(axis=1))) == design.runs
            for three in itertools.combinations(range(6), 3)
        )


def test_a_worse_design_is_told_as_such() -> None:
    assert Factorial(3, (1, 2, 4, 3)).resolution == 3
    assert Factorial(3, (1, 2, 4, 7)).resolution == 4


def test_a_design_needs_a_factor() -> None:
    with pytest.raises(ValueError, match="at least one factor"):
        factorial(0)
