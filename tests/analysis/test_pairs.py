"""Items that are compared with themselves, from made-up measurements."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from trainonce.analysis.effects import difference, effect
from trainonce.analysis.pairs import paired
from trainonce.analysis.samples import sample_of
from trainonce.methods.registry import methods, probe_of

LOSS = next(one for one in probe_of(methods()["passages"]).outcomes if one.name == "loss")
ITEMS = 40


def rows(shift: float, noise: int, seeds: tuple[int, ...] = (1, 2)) -> pl.DataFrame:
    """Items far apart from each other, those of dose 16 lower by ``shift`` than they would be."""
    levels, own = np.random.default_rng(0), np.random.default_rng(noise)
    return pl.DataFrame(
        [
            {
                "seed": seed,
                "kind": "passage",
                "unit": f"passage-{number:03d}",
                "dose": 16 * (number % 2),
                "value": 9 + levels.normal() - shift * (number % 2) + 0.1 * own.normal(),
            }
            for seed in seeds
            for number in range(ITEMS)
        ]
    )


def test_the_difference_of_two_effects_with_an_interval_of_what_items_moved() -> None:
    first, other = rows(2.0, 1), rows(1.5, 2)
    (found,) = paired(other, first, LOSS).values()
    effects = [
        effect(sample.of(16), sample.of(0))
        for sample in (sample_of(own, LOSS) for own in (other, first))
    ]
    apart = difference(*effects)
    assert found.value == pytest.approx(apart.value)
    assert found.value == pytest.approx(0.5, abs=0.1)
    assert 0 < found.high - found.low < 0.3 * (apart.high - apart.low)


def test_in_one_stratum_it_is_welchs_interval_of_the_differences() -> None:
    first, other = rows(2.0, 1, seeds=(1,)), rows(1.5, 2, seeds=(1,))
    (found,) = paired(other, first, LOSS).values()
    moved = other["value"].to_numpy() - first["value"].to_numpy()
    treated = other["dose"].to_numpy() > 0
    welch = stats.ttest_ind(moved[treated], moved[~treated], equal_var=False)
    limits = welch.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high))


def test_rows_may_come_in_any_order() -> None:
    first, other = rows(2.0, 1), rows(1.5, 2)
    assert paired(other[::-1], first, LOSS) == paired(other, first, LOSS)


@pytest.mark.parametrize(
    "other",
    [
        rows(1.5, 2, seeds=(1, 3)),
        rows(1.5, 2).head(60),
        rows(1.5, 2).with_columns(dose=16 - pl.col("dose")),
    ],
    ids=["other seeds", "fewer items", "other doses"],
)
def test_items_that_are_not_the_same_are_refused(other: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match="not the same in both"):
        paired(other, rows(2.0, 1), LOSS)
    with pytest.raises(ValueError, match="not the same in both"):
        paired(rows(2.0, 1), other, LOSS)
