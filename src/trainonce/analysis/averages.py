"""Whether averages of parameters stand for runs on mixtures: those that were trained for real tell.

The unit is the mixture. Seeds of one mixture are no new mixtures, so that ranks are of means over
seeds. Experts are arms whose average is the run itself: they take part in the ranks, but not in the
permutations, as they fit by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import numpy.typing as npt
from scipy import stats

from trainonce.analysis.answers import Check
from trainonce.analysis.effects import Floats
from trainonce.analysis.runs import t_interval
from trainonce.plan.planned import PlannedQuestion
from trainonce.stream.keys import generator

_ENOUGH = 0.05
_MOST_ORDERS = 5040  # all orders of 7 mixtures; of more, as many are drawn
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Checked:
    """A mixture that was trained for real.

    Attributes:
        averaged: the outcome of the average that stands for it, ``(seeds,)``.
        real: the outcome of its own run, ``(seeds,)``.
    """

    averaged: Floats
    real: Floats


def average_checks(
    planned: PlannedQuestion, levels: Callable[[Sequence[str]], Floats]
) -> tuple[Check, ...]:
    """Whether averages rank like real runs, and how far they are off.

    Where the arm that decides is an expert, which is a run, neither can refute the answer.

    Args:
        planned: the question; without mixtures that were trained for real there is no check.
        levels: the outcome that each of some jobs measured, ``(jobs,)``.
    """
    experts = [levels(arm.measured) for arm in planned.arms if arm.real == arm.measured]
    checked = [
        Checked(averaged=levels(arm.measured), real=levels(arm.real))
        for arm in planned.arms
        if arm.real and arm.real != arm.measured
    ]
    if not checked:
        return ()
    found = (ranks(checked, experts), errors(checked, planned.question.smallest))
    last = planned.arms[-1]
    if last.real == last.measured:  # what decides is a run, and rests on no average
        return tuple(replace(check, bears=False) for check in found)
    return found


def ranks(checked: Sequence[Checked], experts: Sequence[Floats]) -> Check:
    """Spearman's correlation of averages and real runs, and how often chance would do as well.

    ``experts`` are the outcomes of the arms that are experts, ``(seeds,)`` each.

    By chance the averages belong to the checked mixtures in any order. It held when that gives as
    much correlation in at most 1 order of 20, which takes 4 mixtures; it did not when there are as
    many, and the correlation of the checked mixtures alone is not above 0.
    """
    sure = [float(expert.mean()) for expert in experts]
    averaged = stats.rankdata([*sure, *(one.averaged.mean() for one in checked)])
    real = stats.rankdata([*sure, *(one.real.mean() for one in checked)])
    orders = _orders(len(checked))
    dealt = np.tile(averaged, (len(orders), 1))
    dealt[:, len(sure) :] = averaged[len(sure) :][orders]
    by_chance = _correlations(dealt, real)
    value = float(by_chance[0])
    p = float((by_chance >= value - _ROUNDING).mean())
    alone = float(_correlations(dealt[:1, len(sure) :], real[len(sure) :])[0])
    held = True if p <= _ENOUGH else None
    if 1 / len(orders) <= _ENOUGH and alone <= 0:
        held = False
    many = f"{len(checked)} mixture{'s' * (len(checked) != 1)}"
    with_experts = f" with {len(experts)} expert{'s' * (len(experts) != 1)}" * bool(experts)
    how = "drawn" if math.factorial(len(checked)) > _MOST_ORDERS else "exact"
    few = ", too few to tell" if 1 / len(orders) > _ENOUGH else ""
    return Check(
        name="averages rank like joint training",
        says=f"Spearman's rank correlation over {many} trained for real{with_experts} is "
        f"{value:.2f}; if the averages of those mixtures told nothing, it would be as high in "
        f"{p:.2g} of all orders ({how}{few}).",
        value=value,
        held=held,
    )


def errors(checked: Sequence[Checked], smallest: float) -> Check:
    """Average minus real run, meaned over mixtures, with its interval over seeds.

    It held when the whole interval lies within the smallest effect of interest, and did not when
    the whole interval lies beyond.
    """
    differences = np.array([one.averaged - one.real for one in checked])
    error = t_interval(differences.mean(axis=0))
    low = error.low if math.isfinite(error.low) else None
    high = error.high if math.isfinite(error.high) else None
    held = None
    if low is not None and high is not None:
        if -smallest <= low and high <= smallest:
            held = True
        elif low > smallest or high < -smallest:
            held = False
    bounds = "one seed shows no spread" if low is None else f"{low:+.2g} to {high:+.2g} over seeds"
    worst = differences.flat[np.abs(differences).argmax()]
    return Check(
        name="averages are as good as joint training",
        says=f"the averages' outcome minus that of the same mixtures trained for real is "
        f"{error.value:+.2g} in the mean ({bounds}), {worst:+.2g} at worst; the smallest effect of "
        f"interest is {smallest:g}.",
        value=error.value,
        low=low,
        high=high,
        held=held,
    )


def _correlations(ranks: Floats, others: Floats) -> Floats:
    """Of each row of ``ranks`` ``(R, n)`` with ``others`` ``(n,)``; 0 where either is constant."""
    one = ranks - ranks.mean(axis=1, keepdims=True)
    other = others - others.mean()
    scale = np.sqrt((one**2).sum(axis=1) * (other**2).sum())
    found: Floats = np.divide(one @ other, scale, out=np.zeros(len(ranks)), where=scale > 0)
    return found


def _orders(count: int) -> npt.NDArray[np.int64]:
    """All orders of ``count`` things, or as many drawn where there are too many; first as it is."""
    if math.factorial(count) <= _MOST_ORDERS:
        return np.array(list(permutations(range(count))))
    orders = np.tile(np.arange(count), (_MOST_ORDERS, 1))
    return np.vstack(
        [orders[:1], generator(0, "", "orders of mixtures").permuted(orders[1:], axis=1)]
    )
