"""How the smallest detectable effect moves with the design, and the cheapest change that is enough.

More items cost what measuring them costs, as long as the run has room for them; more seeds cost all
runs anew; longer runs make room for more items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from trainonce.plan.plan import Plan
from trainonce.plan.planned import PlannedQuestion, Sizes
from trainonce.plan.power import detectable_difference, detectable_effect
from trainonce.study.schema import AA

MOST_ITEMS, MOST_SEEDS, MOST_STEPS = 64, 64, 4
"""Beyond so many times the items, so many seeds and so many times the steps nothing is proposed."""

_FACTORS = (2, 4)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A standard deviation between units, and where it is from.

    Attributes:
        value: of items within a dose, seed and kind; or of the differences between seeds.
        source: in a few words.
        assumed: whether it is what plans assume before any data.
    """

    value: float
    source: str
    assumed: bool


@dataclass(frozen=True, kw_only=True)
class Change:
    """Another design.

    Attributes:
        what: the number that is changed: ``items`` of a question, ``seeds``, or ``steps``, which
            come with as many more items as they make room for.
        before: the number, in all.
        after: what it is changed to.
        items: items with it; None for a question about runs.
        detectable: the smallest detectable effect then; None where there is none.
        run_equivalents: what it costs more, checks too.
        fits: whether the run has room for it under ``allow_changed``.
    """

    what: Literal["items", "seeds", "steps"]
    before: int
    after: int
    items: int | None
    detectable: float | None
    run_equivalents: float
    fits: bool = True


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What a question can tell, and what more it could.

    Attributes:
        question: its id.
        outcome: that decides.
        unit: what is randomized.
        spread: that all of this rests on.
        detectable: the smallest detectable effect as planned; None where there is none.
        smallest: the smallest effect of interest.
        reached: whether an effect of that size would be found.
        changes: the designs that were looked at.
        cheapest: the cheapest change after which it would be found; None when it is already, or
            when nothing within reason is enough.
    """

    question: str
    outcome: str
    unit: str
    spread: Spread
    detectable: float | None
    smallest: float
    reached: bool
    changes: tuple[Change, ...]
    cheapest: Change | None

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def sensitivities(plan: Plan, observed: Mapping[str, Spread]) -> tuple[Sensitivity, ...]:
    """Of every question but the A/A, whose items are not the user's to change.

    Args:
        plan: the plan.
        observed: spreads that were measured, by question; the others are assumed.
    """
    asked = [planned for planned in plan.questions if planned.question.id != AA]
    return tuple(
        _sensitivity(plan, planned, observed.get(planned.question.id), len(asked))
        for planned in asked
    )


def _sensitivity(
    plan: Plan, planned: PlannedQuestion, observed: Spread | None, questions: int
) -> Sensitivity:
    question = planned.question
    spread = observed or Spread(value=question.outcome.spread, source="assumed", assumed=True)
    if planned.sizes is None:
        now = detectable_difference(planned.units, spread.value, questions)
        changes, candidates = _about_runs(plan, planned, spread.value, questions)
    else:
        now = _detectable(planned.sizes, spread.value, questions)
        changes, candidates = _about_items(plan, planned, planned.sizes, spread.value, questions)
    reached = _finds(now, question.smallest)
    fitting = [one for one in candidates if one.fits]
    cheapest = min(fitting, key=lambda one: one.run_equivalents, default=None)
    return Sensitivity(
        question=question.id,
        outcome=question.outcome.name,
        unit=question.unit.value,
        spread=spread,
        detectable=now,
        smallest=question.smallest,
        reached=reached,
        changes=tuple(changes),
        cheapest=None if reached else cheapest,
    )


def _about_runs(
    plan: Plan, planned: PlannedQuestion, spread: float, questions: int
) -> tuple[list[Change], list[Change]]:
    """Seeds are all that there is: nobody knows beforehand whether longer runs differ less."""

    def seeds(number: int) -> Change:
        return Change(
            what="seeds",
            before=len(plan.seeds),
            after=number,
            items=None,
            detectable=detectable_difference(number, spread, questions),
            run_equivalents=_seeds_cost(plan, number),
        )

    now = len(plan.seeds)
    enough = _first(range(now + 1, MOST_SEEDS + 1), seeds, planned.question.smallest)
    return [seeds(number) for number in _seeds_shown(now)], [*enough]


def _about_items(
    plan: Plan, planned: PlannedQuestion, sizes: Sizes, spread: float, questions: int
) -> tuple[list[Change], list[Change]]:
    a_dose = sizes.treated // sizes.strata  # items a dose and stratum
    now, steps = len(plan.seeds), _steps(plan)
    measuring, trained = _measuring(plan, planned.question.id), _trained(plan)

    def change(what: Literal["items", "seeds", "steps"], by: Fraction, length: Fraction) -> Change:
        """``by`` times the items of each seed, in runs of ``length`` times the steps."""
        return Change(
            what=what,
            before=steps if what == "steps" else planned.units,
            after=math.ceil(steps * length) if what == "steps" else math.ceil(planned.units * by),
            items=math.ceil(planned.units * by),
            detectable=_detectable(sizes.times(by), spread, questions),
            run_equivalents=float(
                (by - 1) * Fraction(measuring) + (length - 1) * Fraction(trained)
            ),
            fits=_room(plan, sizes, length) >= by,
        )

    def items(number: int) -> Change:
        return change("items", Fraction(number, a_dose), Fraction(1))

    def longer(number: int) -> Change:
        """As long as so many items need."""
        by = Fraction(number, a_dose)
        return change("steps", by, _length(plan, sizes, by))

    def seeds(number: int) -> Change:
        more = sizes.seeds(now, number)
        return Change(
            what="seeds",
            before=now,
            after=number,
            items=planned.units * number // now,
            detectable=_detectable(more, spread, questions),
            run_equivalents=_seeds_cost(plan, number),
        )

    def shown() -> Iterator[Change]:
        for factor in _FACTORS:
            yield items(factor * a_dose)
        yield from map(seeds, _seeds_shown(now))
        for factor in _FACTORS:
            room = int(_room(plan, sizes, Fraction(factor)) * a_dose)
            if sizes.share and room > a_dose:
                by = Fraction(min(room, MOST_ITEMS * a_dose), a_dose)
                yield change("steps", by, Fraction(factor))

    wanted = planned.question.smallest
    numbers = range(a_dose + 1, MOST_ITEMS * a_dose + 1)
    enough = [
        *_first(numbers, items, wanted),
        *_first(range(now + 1, MOST_SEEDS + 1), seeds, wanted),
    ]
    if sizes.share:
        found = _first(numbers, longer, wanted)
        enough += [one for one in found if steps < one.after <= MOST_STEPS * steps]
    return list(shown()), enough


def items_needed(
    planned: PlannedQuestion, spread: float, questions: int, most: int = 1_000
) -> int | None:
    """The fewest items, over all seeds, that find the smallest effect of interest.

    Args:
        planned: a question about items.
        spread: standard deviation between items of one dose, seed and kind.
        questions: that are corrected for.
        most: times the items that there are; None where even these are too few.
    """
    sizes = planned.sizes
    if sizes is None:
        return None
    a_dose = sizes.treated // sizes.strata
    low, high = 1, most * a_dose
    while low < high:
        middle = (low + high) // 2
        more = sizes.times(Fraction(middle, a_dose))
        if _finds(_detectable(more, spread, questions), planned.question.smallest):
            high = middle
        else:
            low = middle + 1
    return math.ceil(planned.units * Fraction(low, a_dose)) if low < most * a_dose else None


def _detectable(sizes: Sizes, spread: float, questions: int) -> float:
    return detectable_effect(sizes.treated, sizes.control, spread, questions, sizes.strata)


def _finds(detectable: float | None, smallest: float) -> bool:
    return detectable is not None and detectable <= smallest


def _first(numbers: range, change: Callable[[int], Change], smallest: float) -> list[Change]:
    """The change by the first number that is enough, if there is one: more never find less."""
    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        if _finds(change(numbers[middle]).detectable, smallest):
            high = middle
        else:
            low = middle + 1
    return [change(numbers[low])] if low < len(numbers) else []


def _seeds_shown(now: int) -> list[int]:
    return list(dict.fromkeys([now + 1, *(now * factor for factor in _FACTORS)]))


def _seeds_cost(plan: Plan, number: int) -> float:
    total = plan.run_equivalents + plan.checks_run_equivalents
    return total * (number / len(plan.seeds) - 1)


def _measuring(plan: Plan, question: str) -> float:
    """What it costs to measure the items of a question, on the plain run too."""
    return sum(
        job.run_equivalents
        for job in plan.jobs
        if job.kind == "measure" and job.questions == (question,)
    )


def _trained(plan: Plan) -> float:
    return sum(job.run_equivalents for job in plan.jobs if job.kind != "measure")


def _steps(plan: Plan) -> int:
    return max(job.trained.train.steps for job in plan.jobs)


def _room(plan: Plan, sizes: Sizes, length: Fraction) -> Fraction:
    """How many times its items a question can have in runs ``length`` times as long."""
    if not sizes.share:
        return Fraction(MOST_ITEMS)
    others = Fraction(sizes.run_share) - Fraction(sizes.share)
    return max(Fraction(0), (Fraction(plan.allow_changed) * length - others)) / Fraction(
        sizes.share
    )


def _length(plan: Plan, sizes: Sizes, by: Fraction) -> Fraction:
    """How many times as long runs must be for ``by`` times the items of a question."""
    others = Fraction(sizes.run_share) - Fraction(sizes.share)
    needed = (others + by * Fraction(sizes.share)) / Fraction(plan.allow_changed)
    return max(Fraction(1), needed)
