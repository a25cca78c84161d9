"""The rule that turns numbers into a verdict, written here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from trainonce.analysis.effects import Estimate

ALPHA = 0.05
FEWEST = 10
"""Units a dose below which no interval is trusted to exclude an effect: what few units never
showed may still be frequent."""
FEWEST_RUNS = 2
"""Pairs of runs below which there is no interval. From two on, Student's t holds what few pairs
cannot know: with two it is 12.7 standard errors wide."""


class Verdict(StrEnum):
    """An answer in a word."""

    YES = "yes"
    NO = "no"
    CANNOT_TELL = "cannot tell"


def verdict(
    effect: Estimate,
    p_adjusted: float,
    direction: int,
    smallest: float,
    units: int,
    fewest: int = FEWEST,
) -> Verdict:
    """The verdict on an effect that is expected in ``direction``.

    No, when the interval excludes every effect that would be of interest, and at least ``fewest``
    units (10 items at each of the two doses, 2 pairs of runs) say so. Otherwise yes, when the
    corrected p-value is under 5 % and the interval lies wholly on the expected side of 0. Otherwise
    the data cannot tell.

    Args:
        effect: the highest dose against dose 0; the last arm against the base run.
        p_adjusted: of the trend over doses, or of the paired differences, corrected over all
            questions.
        direction: +1 when an increase is expected, -1 for a decrease, 0 for either.
        smallest: the smallest effect of interest, above 0.
        units: at the highest dose or at dose 0, whichever are fewer; pairs of runs.
        fewest: units that may exclude an effect.
    """
    ways = [direction] if direction else [1, -1]
    if units >= fewest and all(_best(effect, way) < smallest for way in ways):
        return Verdict.NO
    if p_adjusted < ALPHA and any(_worst(effect, way) > 0 for way in ways):
        return Verdict.YES
    return Verdict.CANNOT_TELL


def verdict_of_stopped(found: Verdict, direction: int) -> Verdict:
    """The verdict where the arm that decides was stopped early, for a loss.

    What was found is of the step after which it was stopped. That its loss is not lower there
    stands for the end, since it was stopped as an arm that would not end best, but for a stated
    chance. All else could change until the end, so that it cannot be told.

    Args:
        found: the verdict on the difference from the base run at that step.
        direction: where the effect was expected.
    """
    return found if direction < 0 and found is Verdict.NO else Verdict.CANNOT_TELL


def verdict_of_diverged(direction: int, diverged: int, runs: int) -> Verdict:
    """The verdict where the arm that decides diverged, for a loss.

    No, where a lower loss was expected and every run of the arm diverged, 2 of them at least: a
    run diverges when its loss is no number or far above that of a model that knows nothing.
    Otherwise it cannot be told: there is no loss at the end to compare, and what some seeds
    reached is not the effect over all.

    Args:
        direction: where the effect was expected.
        diverged: how many of its runs diverged.
        runs: of the arm, a seed each.
    """
    sure = direction < 0 and diverged == runs >= FEWEST_RUNS
    return Verdict.NO if sure else Verdict.CANNOT_TELL


def standing(found: Verdict, failed: Sequence[str]) -> tuple[Verdict, str]:
    """The verdict after what tested it, and why it is not what the numbers alone would say.

    Nothing can be told where a test did not hold: of what the effect rests on, or one that could
    have refuted it. Nothing turns a verdict into its opposite, and a test whose own outcome cannot
    be told changes nothing.

    Args:
        found: by `verdict`.
        failed: names of the tests that did not hold.
    """
    if not failed:
        return found, ""
    names = ", ".join(failed)
    if found is Verdict.CANNOT_TELL:
        return found, f"What it rests on did not hold: {names}."
    return Verdict.CANNOT_TELL, f"It would be {found}, but did not hold: {names}."


def _best(effect: Estimate, way: int) -> float:
    return effect.high if way > 0 else -effect.low


def _worst(effect: Estimate, way: int) -> float:
    return effect.low if way > 0 else -effect.high
