"""Stopping the arms that are least likely to end best, within a chance that is spent over a study.

Baker et al. (2017, arXiv 1705.10823) stop an arm when it is predicted to stay behind the best so
far with a probability of 0.95 or 0.99, arm by arm; over many arms and checkpoints such errors add
up. Here each stop costs the chance that the arm would have ended best, given all curves so far, and
the sum over the study stays under what may be spent: the expected number of wrong stops is that
sum, as far as the predictions' spread is right. On curves that it is not right for, what may be
spent is found by rehearsal (`trainonce.plan.early.calibration.rehearsed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from trainonce.plan.early.prediction import Prediction, Predictor
from trainonce.plan.early.rule import Decision, Flags, Floats

DRAWS = 2_048


@dataclass(frozen=True, kw_only=True)
class Predictive:
    """Stop arms by predicted ends.

    Attributes:
        predictors: by the number of checkpoints seen; after others nothing is decided.
        features: ``(arms, f)`` what is known of the arms beforehand.
        spend: the chances that may be spent in a study; 0 stops none.
        chance: of a wrong stop in a study that this comes to.
        share: of the steps that are trained in the rehearsals by which ``spend`` was found.
    """

    predictors: Mapping[int, Predictor]
    features: Floats
    spend: float = 0.0
    chance: float
    share: float = 1.0

    def decide(self, seen: Floats, living: Flags, spent: float) -> Decision:
        """Stop the least likely arms, as many as the chance so far allows.

        The chance is handed out evenly over the checkpoints at which decisions are taken: what is
        not needed early remains for later, when predictions are sharper.
        """
        stop = np.zeros(len(living), dtype=np.bool_)
        count = seen.shape[1]
        if count not in self.predictors or living.sum() < 2:
            return Decision(stop=stop, chance=0.0, reason="no decision at this checkpoint")
        taken = sum(after <= count for after in self.predictors)
        left = self.spend * taken / len(self.predictors) - spent
        found = self.predictors[count].predict(seen[living], self.features[living])
        chances = ending_best(found)
        order = np.argsort(chances, kind="stable")[:-1]
        total = np.cumsum(chances[order])
        chosen = order[total <= left]
        stop[np.flatnonzero(living)[chosen]] = True
        cost = float(chances[chosen].sum())
        return Decision(
            stop=stop,
            chance=cost,
            reason=f"checkpoint {count}: {len(chosen)} of {len(chances)} arms end best with a "
            f"chance of {cost:.4f} together",
        )


def ending_best(prediction: Prediction) -> Floats:
    """``(arms,)`` chance of each arm to end lowest, by drawing ends; never quite 0.

    Ends are Student's around their predictions, independent of each other. What the arms of a
    study have in common would make their differences surer, so that leaving it out is cautious.
    """
    arms = len(prediction.means)
    draws = _student(arms, round(prediction.freedom))
    ends = prediction.means[:, None] + prediction.spreads[:, None] * draws
    wins = (ends == ends.min(axis=0)).sum(axis=1)
    found: Floats = (wins + 1) / (DRAWS + 1)
    return found


@cache
def _student(arms: int, freedom: int) -> Floats:
    """``(arms, draws)`` draws, the same at every call, so that decisions repeat."""
    uniform = np.random.default_rng([arms, freedom]).random((arms, DRAWS))
    return np.asarray(special.stdtrit(float(freedom), uniform), dtype=np.float64)
