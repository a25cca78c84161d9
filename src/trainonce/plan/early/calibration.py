"""How bold a rule may be, from curves that are finished.

Conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814): a rule's boldness is raised as
long as ``(wrong stops among n finished studies + 1) / (n + 1)`` stays within the chance that is
allowed. If the next study is like the finished ones (exchangeable with them), the chance of a wrong
stop in it is no larger, whatever the curves look like. A boldness counts as wrong in a study when
any more cautious one tried was wrong in it, since the guarantee is for risks that only rise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainonce.plan.early.halving import Halving
from trainonce.plan.early.prediction import FEWEST, fit_predictors
from trainonce.plan.early.rule import Floats, Replay, replay
from trainonce.plan.early.stopping import Predictive

SPENDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""What a rule of predictions may think that it spends, from cautious to bold."""
REHEARSALS = 60


@dataclass(frozen=True, kw_only=True)
class Boldness:
    """How bold a chance allows a rule to be.

    Attributes:
        setting: the boldness.
        chance: bound on the chance of a wrong stop in the next study.
        studies: how many finished ones it rests on.
        share: of the steps of these that would have been trained.
    """

    setting: float
    chance: float
    studies: int
    share: float


def boldest(
    play: Callable[[float, int], Replay], settings: Sequence[float], studies: int, chance: float
) -> Boldness | None:
    """The boldest setting whose chance of a wrong stop is within ``chance``; None when none is.

    Args:
        play: what the rule of a setting would have done in a study, by its number.
        settings: from the most cautious to the boldest.
        studies: how many. A chance under ``1 / (studies + 1)`` cannot be held by any number of
            right stops.
        chance: of a wrong stop in a study that is allowed.
    """
    wrong = np.zeros(studies, dtype=np.bool_)
    best: Boldness | None = None
    for setting in settings:
        played = [play(setting, index) for index in range(studies)]
        wrong |= np.array([one.wrong for one in played], dtype=np.bool_)
        bound = (1 + int(wrong.sum())) / (1 + studies)
        if bound > chance:
            break
        share = float(np.mean([one.share for one in played]))
        best = Boldness(setting=setting, chance=bound, studies=studies, share=share)
    return best


def calibrated_halving(
    rule: Halving, keeps: Sequence[float], studies: Sequence[Floats], chance: float
) -> Halving:
    """``rule`` with the least share kept of ``keeps`` that finished studies allow.

    Args:
        rule: whose rungs are used.
        keeps: shares to choose from.
        studies: ``(arms, checkpoints)`` curves of each finished study.
        chance: of a wrong stop that is allowed; where nothing holds it, all arms are kept.
    """
    drops = sorted(1 - keep for keep in keeps)
    found = boldest(
        lambda drop, index: replay(replace(rule, keep=1 - drop), studies[index]),
        drops,
        len(studies),
        chance,
    )
    if found is None:
        return replace(rule, keep=1.0, chance=0.0)
    return replace(rule, keep=1 - found.setting, chance=found.chance)


def rehearsed(
    curves: Floats,
    features: Floats,
    arms: Floats,
    after: Sequence[int],
    chance: float,
    seed: int = 0,
) -> Predictive:
    """The rule of predictions for new arms, as bold as rehearsals among finished curves allow.

    In a rehearsal some finished curves, drawn at random, are the arms, and the predictors learn
    from the others. So what predictions get wrong on such curves is counted whatever the reason.
    The same curves return in many rehearsals: the chance that is stated is an estimate, as good as
    ``finished / arms`` studies make it, and holds for arms that are like the finished ones.

    Args:
        curves: ``(finished, checkpoints)``.
        features: ``(finished, f)`` what is known of them beforehand.
        arms: ``(arms, f)`` what is known of the new arms.
        after: the numbers of checkpoints after which arms may be stopped.
        chance: of a wrong stop in a study that is allowed; where nothing holds it, nothing stops.
        seed: of the draws.
    """
    count = len(arms)
    rules: list[Predictive] = []
    played: list[Floats] = []
    for index in range(REHEARSALS if len(curves) >= count + FEWEST else 0):
        order = np.random.default_rng([seed, index]).permutation(len(curves))
        mine, others = order[:count], order[count:]
        predictors = fit_predictors(curves[others], features[others], after)
        rules.append(Predictive(predictors=predictors, features=features[mine], chance=0.0))
        played.append(curves[mine])
    found = boldest(
        lambda spend, index: replay(replace(rules[index], spend=spend), played[index]),
        SPENDS,
        len(rules),
        chance,
    )
    enough = fit_predictors(curves, features, after) if len(curves) >= FEWEST else {}
    return Predictive(
        predictors=enough,
        features=arms,
        spend=found.setting if found else 0.0,
        chance=found.chance if found else 0.0,
        share=found.share if found else 1.0,
    )
