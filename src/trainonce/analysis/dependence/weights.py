"""Which forks are weighed against which, to tell what an experiment's presence does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainonce.analysis.effects import Floats
from trainonce.plan.factorial import Factorial


@dataclass(frozen=True, kw_only=True)
class Contrasts:
    """Weights of the forks, ``(forks,)`` each, by what they tell."""

    main: dict[str, Floats]
    joint: dict[str, Floats]
    pairs: dict[tuple[tuple[str, str], ...], Floats]
    higher: list[Floats]


def alone(names: Sequence[str], present: Sequence[tuple[str, ...]]) -> Contrasts:
    """Each alone against none; for the joint row, all against the measured one alone."""
    forks = np.eye(len(present))
    at = {frozenset(own): forks[number] for number, own in enumerate(present)}
    none, everything = at[frozenset()], at[frozenset(names)]
    single = {name: at[frozenset([name])] for name in names}
    return Contrasts(
        main={name: own - none for name, own in single.items()},
        joint={name: everything - own for name, own in single.items()},
        pairs={},
        higher=[],
    )


def crossed(
    names: Sequence[str], present: Sequence[tuple[str, ...]], design: Factorial
) -> Contrasts:
    """Present against absent, over the design's forks; the joint row adds up the others.

    A fork without any experiment that is no row of the design tells what main effects and pairs do
    not explain there.
    """
    at = {frozenset(own): number for number, own in enumerate(present)}
    rows = [
        at[frozenset(name for name, sign in zip(names, row, strict=True) if sign > 0)]
        for row in design.signs
    ]

    def spread(column: Floats) -> Floats:
        weights = np.zeros(len(present))
        weights[rows] = column
        return weights

    half = design.runs / 2
    main = {name: spread(design.signs[:, i] / half) for i, name in enumerate(names)}
    mixed = {
        tuple((names[one], names[other]) for one, other in grouped): spread(
            design.column(word) / half
        )
        for word, grouped in design.pairs.items()
    }
    higher = [spread(design.column(word) / half) for word in design.left]
    none = at[frozenset()]
    if none not in rows:
        predicted = spread(np.full(design.runs, 1 / design.runs))
        predicted = predicted - sum(main.values()) / 2 + sum(mixed.values()) / 2
        corner = -predicted
        corner[none] += 1
        higher.append(corner)
    return Contrasts(
        main=main,
        joint={
            name: sum((own for other, own in main.items() if other != name), np.zeros(len(present)))
            for name in names
        },
        pairs=mixed,
        higher=higher,
    )
