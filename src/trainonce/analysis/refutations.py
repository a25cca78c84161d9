"""What could have told that an answer is wrong: each study tries it, and shows how it came out.

A refutation holds where the verdict stands it. Where the verdict is that the data cannot tell,
there is nothing to refute.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from trainonce.analysis.answers import Answer, Check
from trainonce.analysis.dependence.contrasts import Decision
from trainonce.analysis.dependence.results import Dependence
from trainonce.analysis.effects import (
    Estimate,
    Floats,
    Sample,
    dealt_again,
    difference,
    effect,
    mean,
)
from trainonce.analysis.runs import t_interval
from trainonce.analysis.verdicts import ALPHA, FEWEST, FEWEST_RUNS, Verdict, verdict

DEALS = 1_999
GROUPS = 5
"""Parts that items are cut into where they come from one seed and are of one kind."""
_FEWEST_SEEDS = 3  # of which one can be left out so that there is still an interval


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A verdict with what it was computed from.

    Attributes:
        found: the verdict.
        estimate: the highest dose against dose 0, or the last arm against the base run.
        p_adjusted: the corrected p-value.
        direction: where the effect was expected.
        smallest: the smallest effect of interest.
    """

    found: Verdict
    estimate: float
    p_adjusted: float
    direction: int
    smallest: float

    @classmethod
    def of(cls, answer: Answer) -> Claimed:
        """What an answer claims."""
        return cls(
            found=answer.verdict,
            estimate=answer.decided.estimate,
            p_adjusted=answer.p_adjusted,
            direction=answer.direction,
            smallest=answer.smallest,
        )


def refutations_of_items(
    claim: Claimed,
    sample: Sample,
    groups: Mapping[str, npt.NDArray[np.bool_]],
    seeds: Mapping[int, npt.NDArray[np.bool_]],
    random: np.random.Generator,
) -> tuple[Check, ...]:
    """What the items of a question themselves can refute.

    Args:
        claim: what was concluded from them.
        sample: their values, doses and strata.
        groups: by name, which items are left out together.
        seeds: by seed, which items are of its run.
        random: what deals doses again.
    """
    found = [dealt(claim, sample, random), left_out_group(claim, sample, groups)]
    found.append(noise_floor(claim, sample, seeds))
    return tuple(one for one in found if one is not None)


def dealt(claim: Claimed, sample: Sample, random: np.random.Generator) -> Check:
    """Doses that were dealt otherwise: where does the observed effect lie among theirs?

    It holds where a yes is larger than all but 5 % of the effects that such doses have.
    """
    top = sample.doses == sample.doses.max()
    none = sample.doses == 0
    weights = top / top.sum() - none / none.sum()
    others = dealt_again(weights, sample.strata, random, DEALS) @ sample.values
    extreme = int((np.abs(others) >= abs(claim.estimate) * (1 - 1e-9)).sum())
    share = (1 + extreme) / (1 + DEALS)
    low, high = np.quantile(others, [0.025, 0.975])
    return Check(
        name="doses dealt again",
        says=f"{share:.2%} of other deals of the same doses to the same items have an effect as "
        f"large as {claim.estimate:.2g}; 95 % of them lie between {low:.2g} and {high:.2g}",
        value=share,
        held=_unless(claim, claim.found is Verdict.YES and share >= ALPHA),
    )


def left_out_group(
    claim: Claimed, sample: Sample, groups: Mapping[str, npt.NDArray[np.bool_]]
) -> Check | None:
    """The effect without each group of items; None where no group can be left out."""
    without = {}
    for name, inside in groups.items():
        rest = _kept(sample, ~inside)
        top, none = rest.of(int(sample.doses.max())), rest.of(0)
        if min(len(top.values), len(none.values)) >= 2:
            without[name] = (effect(top, none), min(len(top.values), len(none.values)))
    return _left_out("leave one group out", claim, without, FEWEST)


def left_out_seed(claim: Claimed, seeds: Sequence[int], points: Sequence[float]) -> Check | None:
    """The mean difference of the pairs of runs without each seed; None for fewer than three."""
    if len(points) < _FEWEST_SEEDS:
        return None
    values = np.array(points)
    without = {
        f"seed {seed}": (t_interval(np.delete(values, place)), len(values) - 1)
        for place, seed in enumerate(seeds)
    }
    return _left_out("leave one seed out", claim, without, FEWEST_RUNS)


def noise_floor(
    claim: Claimed, sample: Sample, seeds: Mapping[int, npt.NDArray[np.bool_]]
) -> Check | None:
    """What two seeds differ by at dose 0, where nothing was done; None for one seed.

    A yes does not hold where seeds surely differ, and by more than the effect.
    """
    untouched = {
        seed: _kept(sample, inside & (sample.doses == 0)) for seed, inside in seeds.items()
    }
    two = list(itertools.combinations(untouched, 2))
    if not two:
        return None
    level = 1 - ALPHA / len(two)
    means = {seed: mean(own, level) for seed, own in untouched.items()}
    one, other = max(two, key=lambda pair: abs(means[pair[0]].value - means[pair[1]].value))
    if means[one].value < means[other].value:
        one, other = other, one
    floor = difference(means[one], means[other])
    larger = floor.low > 0 and abs(claim.estimate) <= floor.value
    return Check(
        name="noise floor",
        says=f"items of dose 0 differ by {floor.value:.2g} between seeds {other} and {one} "
        f"({floor.low:.2g} to {floor.high:.2g}), against an effect of {claim.estimate:.2g}",
        value=floor.value,
        low=floor.low,
        high=floor.high,
        held=_unless(claim, claim.found is Verdict.YES and larger),
    )


def aa(answer: Answer) -> Check:
    """What the A/A question of the study says of all others."""
    own = answer.decided
    return Check(
        name="A/A",
        says=f"doses that insert nothing have an effect of {own.estimate:.2g} on the {own.outcome} "
        f"({own.low:.2g} to {own.high:.2g})",
        value=own.estimate,
        low=own.low,
        high=own.high,
        held=answer.verdict is not Verdict.YES,
    )


def dependent(question: str, found: Dependence) -> Check | None:
    """What a dependence test says of one question; None where it was not in it."""
    cells = [
        cell
        for cell in (*found.cells, *found.joint)
        if cell.measured == question and cell.decision is not None
    ]
    if not cells:
        return None
    moving = [cell.present for cell in cells if cell.decision is Decision.SPLIT]
    sharing = [cell.present for cell in cells if cell.decision is Decision.SHARE]
    held = False if moving else (True if len(sharing) == len(cells) else None)
    said = (
        f"what is measured of its items is moved by {', '.join(moving)}"
        if moving
        else f"{len(sharing)} of {len(cells)} changes by other questions lie within its smallest "
        "effect of interest"
    )
    return Check(name="dependence", says=said, value=float(len(moving)), held=held)


def item_groups(rows: pl.DataFrame) -> dict[str, npt.NDArray[np.bool_]]:
    """Which items are left out together: those of a seed, of a kind, or every fifth.

    Args:
        rows: an item each, in the order of its sample, with ``seed``, ``kind`` and ``dose``.
    """
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for column in ("seed", "kind"):
        names = rows[column].unique().sort().to_list()
        if len(names) > 1:
            found |= {f"{column} {name}": (rows[column] == name).to_numpy() for name in names}
    if found:
        return found
    place = rows.select(pl.int_range(pl.len()).over("dose") % GROUPS).to_series().to_numpy()
    return {f"every fifth item from {part + 1} on": place == part for part in range(GROUPS)}


def _left_out(
    name: str, claim: Claimed, without: Mapping[str, tuple[Estimate, int]], fewest: int
) -> Check | None:
    """Whether the sign or the verdict hangs on one group.

    It does not hold where the sign turns without some group, or the verdict becomes the opposite;
    it cannot be told where what is left says less.
    """
    if not without:
        return None
    verdicts = {
        group: verdict(
            found, claim.p_adjusted, claim.direction, claim.smallest, units=units, fewest=fewest
        )
        for group, (found, units) in without.items()
    }
    sign = 1.0 if claim.estimate >= 0 else -1.0
    group = min(without, key=lambda name: sign * without[name][0].value)
    least = without[group][0]
    turned = claim.found is Verdict.YES and sign * least.value <= 0
    opposite = {Verdict.YES: Verdict.NO, Verdict.NO: Verdict.YES}.get(claim.found)
    held = _unless(claim, turned or opposite in verdicts.values())
    if held and any(found is not claim.found for found in verdicts.values()):
        held = None
    most = max(sign * found.value for found, _ in without.values()) * sign
    return Check(
        name=name,
        says=f"without {group} the effect is {least.value:.2g} ({least.low:.2g} to "
        f"{least.high:.2g}), the least of {len(without)}; the most is {most:.2g}",
        value=least.value,
        low=least.low,
        high=least.high,
        held=held,
    )


def _kept(sample: Sample, chosen: npt.NDArray[np.bool_]) -> Sample:
    values: Floats = sample.values[chosen]
    return Sample(values, sample.doses[chosen], sample.strata[chosen], sample.low, sample.high)


def _unless(claim: Claimed, refuted: bool) -> bool | None:
    """Whether a verdict stands; None where there is none to refute."""
    return None if claim.found is Verdict.CANNOT_TELL else not refuted


def failed(checks: Sequence[Check]) -> Iterator[str]:
    """Names of what did not hold."""
    return (check.name for check in checks if check.held is False and check.bears)
