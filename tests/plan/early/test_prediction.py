from __future__ import annotations

import numpy as np
import pytest

from tests.plan.early.made_up_curves import arms, unknown
from trainonce.plan.early.prediction import fit_predictor, inputs


def test_differences_of_a_constant_curve_are_zero() -> None:
    found = inputs(np.full((1, 5), 3.0), np.array([[7.0]]))
    assert found.tolist() == [[3.0] * 5 + [0.0] * 4 + [0.0] * 3 + [7.0]]


def test_ends_that_are_linear_in_the_curve_are_predicted() -> None:
    random = np.random.default_rng(0)
    curves = random.standard_normal((200, 6))
    curves[:, -1] = 2 * curves[:, 2] - curves[:, 0] + 1
    found = fit_predictor(curves[:100], unknown(100), 3).predict(curves[100:, :3], unknown(100))
    assert found.means == pytest.approx(curves[100:, -1], abs=0.05)


def test_what_is_known_of_an_arm_beforehand_is_used() -> None:
    random = np.random.default_rng(1)
    curves, rate = random.standard_normal((120, 4)), random.standard_normal((120, 1))
    curves[:, -1] = curves[:, 1] + rate[:, 0]
    blind = fit_predictor(curves, unknown(120), 2)
    told = fit_predictor(curves, rate, 2)
    assert told.spread < 0.1 * blind.spread


def test_leave_one_out_errors_are_those_of_leaving_out() -> None:
    """The spread foretells the error on curves that were not learned from."""
    random = np.random.default_rng(2)
    learned, new = arms(80, random), arms(2000, random)
    for seen in (3, 8, 14):
        found = fit_predictor(learned, unknown(80), seen).predict(new[:, :seen], unknown(2000))
        errors = (new[:, -1] - found.means) / found.spreads
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(1, abs=0.25)


def test_an_arm_unlike_those_learned_from_is_less_sure() -> None:
    random = np.random.default_rng(3)
    found = fit_predictor(arms(30, random), unknown(30), 4)
    usual = arms(1, random)[:, :4]
    near, far = found.predict(usual, unknown(1)), found.predict(usual + 50, unknown(1))
    assert far.spreads[0] > 2 * near.spreads[0]


def test_predictions_beat_the_last_value() -> None:
    random = np.random.default_rng(4)
    learned, new = arms(100, random), arms(500, random)
    found = fit_predictor(learned, unknown(100), 4).predict(new[:, :4], unknown(500))
    last = np.mean((new[:, 3] - new[:, 3].mean() - new[:, -1] + new[:, -1].mean()) ** 2)
    assert np.mean((found.means - new[:, -1]) ** 2) < 0.5 * last


def test_too_few_curves_and_diverged_ones_are_refused() -> None:
    curves = arms(10, np.random.default_rng(5))
    with pytest.raises(ValueError, match="7 finished curves"):
        fit_predictor(curves[:7], unknown(7), 4)
    curves[3, 5] = np.nan
    with pytest.raises(ValueError, match="diverged"):
        fit_predictor(curves, unknown(10), 4)
