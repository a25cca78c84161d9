"""Arms that nobody trained: predictions from ladders of a known law, and what tests them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tests.methods.study.scaling.ladders import chinchilla
from trainonce.analysis.effects import Floats
from trainonce.analysis.emulated import true_tuning
from trainonce.analysis.ladders import held_out, law, points, predicted
from trainonce.analysis.runs import Arm, compared
from trainonce.methods.registry import methods
from trainonce.methods.study.scaling import law as fitted
from trainonce.methods.study.scaling.bootstrap import draws
from trainonce.methods.study.scaling.laws import CHINCHILLA, PARAMETERS
from trainonce.plan.planned import PlannedLadder, PlannedPoint
from trainonce.sites import Site
from trainonce.tasks.specs.measurements import HELDOUT_PROBE

OUTCOME = methods(Site.PROBE)[HELDOUT_PROBE].outcomes[0]
SIZES = (4e6, 1e6, 2e6, 8e6, 16e6)  # the base run first, which is not the smallest
TOKENS = 80e6
LABELS = ("the base run", "the arm")


def ladder(shares: tuple[float, ...] = (1.0,), longer: float = 1.0) -> PlannedLadder:
    return PlannedLadder(
        parameters=int(64e6),
        tokens=int(longer * TOKENS),
        points=tuple(
            PlannedPoint(
                label=f"{size:g}, {share:g}",
                parameters=int(size),
                tokens=int(share * TOKENS),
                measured=(),
            )
            for share in shares
            for size in SIZES
        ),
    )


def losses(of: PlannedLadder, noise: float = 0.0, seeds: int = 2) -> list[Floats]:
    random = np.random.default_rng(3)
    return [
        chinchilla(rung.parameters, rung.tokens) * np.exp(noise * random.standard_normal(seeds))
        for rung in of.points
    ]


@pytest.mark.parametrize(
    ("found", "form"),
    [(ladder(), PARAMETERS), (ladder((1.0, 0.25, 0.4, 0.65), longer=4), CHINCHILLA)],
)
def test_a_known_law_is_recovered_within_the_interval(found: PlannedLadder, form: object) -> None:
    assert law(found) is form
    measured = losses(found, noise=0.001)
    answer = predicted(found, measured, LABELS, OUTCOME)
    true = chinchilla(found.parameters, found.tokens) - float(measured[0].mean())
    assert answer.low < true < answer.high
    assert answer.estimate == pytest.approx(true, abs=0.1)
    assert answer.high < 0
    assert answer.p < 0.05
    base, arm = answer.doses
    assert base.mean == pytest.approx(float(measured[0].mean()))
    assert arm.mean - base.mean == pytest.approx(answer.estimate)
    assert (base.units, arm.units) == (2, 2 * len(found.points))


def test_without_noise_the_prediction_is_the_law() -> None:
    found = ladder((1.0, 0.25, 0.4, 0.65), longer=4)
    answer = predicted(found, losses(found, seeds=1), LABELS, OUTCOME)
    assert answer.doses[1].mean == pytest.approx(chinchilla(64e6, 4 * TOKENS), rel=1e-4)


def test_runs_of_one_size_are_one_run_to_the_bootstrap() -> None:
    """Seeds and lengths of a size do not make as many independent sizes."""
    found = ladder((1.0, 0.5))
    assert len({point.run for point in points(found, losses(found))}) == len(SIZES)
    many = law(ladder()).fit(points(ladder(), losses(ladder(), 0.001, seeds=8)))
    assert many.prediction(64e6, TOKENS).freedom == pytest.approx(len(SIZES) - 3)


def test_the_largest_rung_stands_its_test() -> None:
    found = ladder()
    check = held_out(found, losses(found, noise=0.0005))
    assert check.held is True
    assert check.low is not None
    assert check.high is not None
    assert check.low < 0 < check.high
    assert "16,000,000 parameters: predicted" in check.says


def test_a_rung_off_the_law_fails_it() -> None:
    found = ladder()
    measured = losses(found, noise=0.0001)
    measured[SIZES.index(16e6)] *= 1.3
    assert held_out(found, measured).held is False


def test_an_interval_that_holds_anything_tests_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted, "draws", partial(draws, count=10))  # each of them creeps
    found = ladder()
    check = held_out(found, losses(found, noise=0.05, seeds=1))
    assert check.held is None
    assert "the interval holds what 8e+06, 1 has too" in check.says


def test_three_sizes_leave_nothing_to_judge_by() -> None:
    whole = ladder()
    found = replace(whole, points=whole.points[:4])
    check = held_out(found, losses(found))
    assert (check.held, check.low, check.high) == (None, None, None)
    assert "3 sizes fix the law exactly" in check.says


def test_lengths_are_left_out_with_the_largest_rung() -> None:
    """What the whole length came to at smaller sizes is not shown to the fit."""
    found = ladder((1.0, 0.25, 0.4, 0.65), longer=4)
    measured = losses(found)
    moved = [
        loss * (3 if rung.tokens == int(TOKENS) and rung.parameters < 16e6 else 1)
        for rung, loss in zip(found.points, measured, strict=True)
    ]
    assert held_out(found, moved).value == held_out(found, measured).value


def emulated(*effects: float) -> tuple[Arm, Arm]:
    base = np.linspace(3, 3.5, len(effects))
    return Arm("the base run", base), Arm("the arm", base + np.array(effects))


@pytest.mark.parametrize(
    ("effects", "real", "held"),
    [
        ((0.2, 0.22, 0.21), 0.215, True),
        ((0.2, 0.22, 0.21), 0.4, False),
        ((0.2, 0.22, 0.21), -0.2, False),
        ((0.2, -0.18, 0.01), -0.1, None),  # within the interval, and of the other sign
        ((0.2,), 0.2, None),
    ],
)
def test_a_true_tuning_is_held_against_the_emulated_ones(
    effects: tuple[float, ...], real: float, held: bool | None
) -> None:
    check = true_tuning(compared(emulated(*effects), OUTCOME), real)
    assert check.held is held
    assert check.value == real
    assert (check.low is None) == (len(effects) == 1)
