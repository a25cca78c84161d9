"""An arm that nobody trained: its loss by a scaling law of smaller runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainonce.analysis.answers import Check, DoseAnswer, OutcomeAnswer
from trainonce.analysis.effects import Floats
from trainonce.analysis.runs import t_interval
from trainonce.methods.registry import Outcome
from trainonce.methods.study.scaling.heldout import held_out_error
from trainonce.methods.study.scaling.law import Law
from trainonce.methods.study.scaling.laws import CHINCHILLA, PARAMETERS
from trainonce.plan.planned import PlannedLadder
from trainonce.sites import Point

_NUMBERS_OF_SIZE = 3  # coefficient, exponent and floor


def law(ladder: PlannedLadder) -> Law:
    """The law that a ladder is fitted with: of size and tokens where its rungs have lengths."""
    return CHINCHILLA if ladder.lengths else PARAMETERS


def predicted(
    ladder: PlannedLadder, losses: Sequence[Floats], labels: tuple[str, str], outcome: Outcome
) -> OutcomeAnswer:
    """The arm's loss by the law, less what the base run came to.

    Args:
        ladder: the rungs, the base run first.
        losses: of each rung, ``(seeds,)``.
        labels: of the base run and the arm.
        outcome: what was measured.
    """
    fitted = law(ladder).fit(points(ladder, losses))
    prediction = fitted.prediction(ladder.parameters, ladder.tokens)
    found, base = prediction.interval(), t_interval(losses[0])
    p = prediction.p(base.value)
    low, high = found.low - base.value, found.high - base.value
    effect = found.value - base.value
    doses = (
        DoseAnswer(
            dose=0,
            label=labels[0],
            mean=base.value,
            low=base.low,
            high=base.high,
            units=len(losses[0]),
            effect=0.0,
            effect_low=0.0,
            effect_high=0.0,
        ),
        DoseAnswer(
            dose=1,
            label=labels[1],
            mean=found.value,
            low=found.low,
            high=found.high,
            units=sum(map(len, losses)),
            effect=effect,
            effect_low=low,
            effect_high=high,
            p=p,
        ),
    )
    return OutcomeAnswer(
        outcome=outcome.name,
        says=outcome.says,
        estimate=effect,
        low=low,
        high=high,
        p=p,
        doses=doses,
    )


def held_out(ladder: PlannedLadder, losses: Sequence[Floats]) -> Check:
    """The largest rung at its whole length, predicted from the smaller ones.

    Where rungs have several lengths, the smaller ones' whole lengths are left out too, so that the
    law has to lead upwards in both. It fails the test where the measured loss lies outside of the
    prediction's interval. Inside it stands the test if the next smaller rung's loss lies outside:
    an interval that holds that too would have passed a law by which size does nothing. Three sizes
    fix the law's three numbers of size exactly: then the prediction has no interval. In both cases
    nothing can be told.
    """
    largest = max(ladder.points, key=lambda point: (point.parameters, point.tokens))
    known = [
        point
        for point in points(ladder, losses)
        if not ladder.lengths
        or point.tokens < largest.tokens
        or point.parameters == largest.parameters
    ]
    found = held_out_error(law(ladder), known).predicted
    measured = float(losses[ladder.points.index(largest)].mean())
    smaller = [point for point in ladder.points if point.parameters < largest.parameters]
    sizes = len({point.parameters for point in smaller})
    tells = sizes > _NUMBERS_OF_SIZE
    between, held = "", None
    why = f"; {sizes} sizes fix the law exactly, so that it has no interval"
    if tells:
        beside = max(smaller, key=lambda point: (point.parameters, point.tokens))
        below = float(losses[ladder.points.index(beside)].mean())
        between, why = f" ({found.low:.4f} to {found.high:.4f})", ""
        held = found.low <= measured <= found.high
        if held and found.low <= below <= found.high:
            held, why = None, f"; the interval holds what {beside.label} has too, {below:.4f}"
    return Check(
        name="the largest rung, left out of the fit",
        says=f"{largest.label}, {largest.parameters:,} parameters: predicted "
        f"{found.value:.4f}{between}, measured {measured:.4f}{why}",
        value=found.value - measured,
        low=found.low - measured if tells else None,
        high=found.high - measured if tells else None,
        held=held,
    )


def points(ladder: PlannedLadder, losses: Sequence[Floats]) -> tuple[Point, ...]:
    """What the law is fitted to: a point a rung and seed.

    Runs of one size go as one run into the bootstrap, whatever their seed and length: what a size
    differs by from the law it does at every seed.
    """
    return tuple(
        Point(
            run=f"{rung.parameters} parameters",
            parameters=float(rung.parameters),
            tokens=float(rung.tokens),
            loss=float(loss),
        )
        for rung, own in zip(ladder.points, losses, strict=True)
        for loss in np.asarray(own)
    )
