"""Which strategy answers each question: the cheapest that can, and that the user allows."""

from __future__ import annotations

from trainonce.plan import average, emulate, extrapolate, fork, multiplex, replicate
from trainonce.plan.conflicts import items_of
from trainonce.plan.offers import Offer, Refusal, Refused
from trainonce.study.load import StudyDefinition
from trainonce.study.problems import Problem, StudyError
from trainonce.study.questions import Question
from trainonce.study.recipe import Recipe
from trainonce.study.schema import Strategy

_KNOWN = (
    multiplex.offer,
    fork.offer,
    replicate.offer,
    average.offer,
    extrapolate.offer,
    emulate.offer,
)
_UNASKED = (Refused.NO_LADDER, Refused.NO_SMALL)
"""Refusals of what nobody asked for: told to those who want that strategy only."""


def choose(study: StudyDefinition) -> dict[str, Strategy]:
    """The strategy of each question, by id.

    Raises:
        StudyError: with every question that cannot be answered in the way that the user wants, and
            with the ways that there are.
    """
    chosen: dict[str, Strategy] = {}
    problems: list[Problem] = []
    on_trunk: dict[str, str] = {}
    for question in study.questions:
        found = offers(question, study.recipe)
        possible = [one for one in found if isinstance(one, Offer) and _allowed(question, one)]
        owner = next((on_trunk[item] for item in items_of(question) if item in on_trunk), None)
        if owner is not None:
            possible = [one for one in possible if one.strategy is not Strategy.MULTIPLEX]
            if not possible:
                problems.append(_contradiction(study, question, owner))
                continue
        if possible:
            cheapest = min(possible, key=lambda one: one.run_equivalents)
            chosen[question.id] = cheapest.strategy
            if cheapest.strategy is Strategy.MULTIPLEX:
                on_trunk |= dict.fromkeys(items_of(question), question.id)
        else:
            problems.append(_problem(study, question, found))
    if problems:
        raise StudyError(problems)
    return chosen


def offers(question: Question, recipe: Recipe) -> tuple[Offer | Refusal, ...]:
    """What every strategy says to ``question``."""
    return tuple(offer(question, recipe) for offer in _KNOWN)


def _allowed(question: Question, offer: Offer) -> bool:
    return question.how in (None, offer.strategy) and offer.strategy not in question.forbidden


def _contradiction(study: StudyDefinition, question: Question, owner: str) -> Problem:
    field = "how" if question.how else "not"
    right = (
        f"question {owner!r} deals doses to the same items in the trunk, so that neither would "
        "know its own; let this one have a run of its own (`how: replicate`), or other items"
    )
    return study.problem_at(question.id, (field,), str(question.how or "what is forbidden"), right)


def _problem(
    study: StudyDefinition, question: Question, found: tuple[Offer | Refusal, ...]
) -> Problem:
    said = []
    for one in found:
        if isinstance(one, Offer):
            cost = f"{one.run_equivalents:.2f} run-equivalents beside the trunk"
            if one.strategy in question.forbidden:
                cost += ", and `not` forbids it"
            said.append(f"{one.strategy} is possible ({cost})")
        elif one.code not in _UNASKED or one.strategy is question.how:
            said.append(f"{one.strategy} is not: {one.why}")
    field = "how" if question.how else "not"
    wish = str(question.how) if question.how else [str(name) for name in question.forbidden]
    return study.problem_at(question.id, (field,), wish, "; ".join(said))
