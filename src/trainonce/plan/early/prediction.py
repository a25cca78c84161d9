"""Predicting where a learning curve ends (Baker et al. 2017, arXiv 1705.10823).

One regression for each number of checkpoints seen, on curves that are finished: of the values so
far, their first and second differences, and what is known of an arm beforehand (its numbers). The
paper's support vector machine is a ridge regression here, whose leave-one-out errors are exact and
cost no refit; they choose its penalty, and are the spread of a prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainonce.plan.early.rule import Floats

FEWEST = 8
"""Finished curves below which no prediction is made."""
_PENALTIES = np.geomspace(1e-3, 1e4, 22)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Where arms will end.

    Attributes:
        means: ``(arms,)``.
        spreads: ``(arms,)`` standard deviation of each arm's end around its mean.
        freedom: degrees of freedom that the spreads rest on.
    """

    means: Floats
    spreads: Floats
    freedom: float


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """The regression for one number of checkpoints seen.

    Attributes:
        centre: ``(f,)`` means of the features.
        scale: ``(f,)`` their standard deviations, 1 where they do not vary.
        weights: ``(f,)`` of the scaled features.
        base: mean of what the last value still changes by.
        reach: ``(f, k)`` takes scaled features to how far out an arm lies among those learned from.
        spread: standard deviation of the leave-one-out errors, less what is due to their reach.
        freedom: finished curves less what the regression used of them.
    """

    centre: Floats
    scale: Floats
    weights: Floats
    base: float
    reach: Floats
    spread: float
    freedom: float

    def predict(self, seen: Floats, features: Floats) -> Prediction:
        """Where arms will end, from ``(arms, checkpoints so far)`` and ``(arms, f)``."""
        scaled = (inputs(seen, features) - self.centre) / self.scale
        return Prediction(
            means=seen[:, -1] + self.base + scaled @ self.weights,
            spreads=self.spread * np.sqrt(1 + ((scaled @ self.reach) ** 2).sum(axis=1)),
            freedom=self.freedom,
        )


def inputs(seen: Floats, features: Floats) -> Floats:
    """``(arms, .)`` values, their first and second differences, and features."""
    first = np.diff(seen, axis=1)
    return np.concatenate([seen, first, np.diff(first, axis=1), features], axis=1)


def fit_predictor(curves: Floats, features: Floats, seen: int) -> Predictor:
    """Learn from finished curves to predict ends after ``seen`` checkpoints.

    Args:
        curves: ``(finished, checkpoints)``.
        features: ``(finished, f)``; no columns when nothing is known of arms.
        seen: how many checkpoints a prediction will have.

    Raises:
        ValueError: for fewer than 8 curves, or curves with values that are not finite.
    """
    if len(curves) < FEWEST:
        raise ValueError(f"{len(curves)} finished curves: a prediction takes {FEWEST} at least")
    if not (np.isfinite(curves).all() and np.isfinite(features).all()):
        raise ValueError("curves to learn from must be finite: leave out arms that diverged")
    raw = inputs(curves[:, :seen], features)
    centre, scale = raw.mean(axis=0), raw.std(axis=0)
    scale[scale <= 1e-12 * (1 + np.abs(centre))] = 1.0
    design = (raw - centre) / scale
    change = curves[:, -1] - curves[:, seen - 1]
    base = float(change.mean())
    left, values, right = np.linalg.svd(design, full_matrices=False)
    projected = left.T @ (change - base)
    shrink = values**2 / (values**2 + _PENALTIES[:, None])
    pull = (left**2) @ shrink.T + 1 / len(curves)
    fitted = left @ (shrink * projected).T
    squares = ((change - base)[:, None] - fitted) ** 2 / (1 - pull) ** 2
    chosen = _cautious(squares, pull.sum(axis=0))
    used, penalty = float(pull[:, chosen].sum()), float(_PENALTIES[chosen])
    whole = values**2 + penalty
    return Predictor(
        centre=centre,
        scale=scale,
        weights=right.T @ (values / whole * projected),
        base=base,
        reach=right.T / np.sqrt(whole),
        spread=float(np.sqrt(squares[:, chosen].mean() / (1 + used / len(curves)))),
        freedom=max(3.0, len(curves) - used),
    )


def _cautious(squares: Floats, used: Floats) -> int:
    """Which of the penalties, ascending: the largest within a standard error of the best.

    Among those that use up no more than a third of the curves: the least of many errors is too low
    to be a spread, the more so the fewer curves there are.

    Args:
        squares: ``(finished, penalties)`` squared leave-one-out errors.
        used: ``(penalties,)`` how many curves' worth the regression uses.
    """
    means = np.where(used <= len(squares) / 3, squares.mean(axis=0), np.inf)
    means[-1] = squares[:, -1].mean()
    best = int(np.argmin(means))
    slack = float(squares[:, best].std(ddof=1)) / np.sqrt(len(squares))
    return int(np.flatnonzero(means <= means[best] + slack)[-1])


def fit_predictors(curves: Floats, features: Floats, after: Sequence[int]) -> dict[int, Predictor]:
    """A regression for each number of checkpoints in ``after``."""
    return {seen: fit_predictor(curves, features, seen) for seen in after}
