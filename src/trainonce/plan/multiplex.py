"""Multiplex: item treatments share one trunk, each as if it were alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trainonce.methods.data.insertion.user_items import ItemsError
from trainonce.plan.heldout import corpus_problem
from trainonce.plan.offers import Offer, Refusal, Refused
from trainonce.sites import SettingError
from trainonce.stream.lanes import PassagesError
from trainonce.stream.stream import ClaimError, TokenStream
from trainonce.study.load import StudyDefinition
from trainonce.study.problems import Problem, StudyError
from trainonce.study.questions import ItemQuestion, Question
from trainonce.study.recipe import Recipe
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import Treated

_LANES_TRIED = 200


@dataclass(frozen=True)
class Trunk:
    """What a trunk will read at one seed, with each question's share of changed tokens."""

    stream: TokenStream
    changed: dict[str, float]


def offer(question: Question, _recipe: Recipe) -> Offer | Refusal:
    """Nothing beside the trunk."""
    if isinstance(question, ItemQuestion):
        return Offer(strategy=Strategy.MULTIPLEX, run_equivalents=0.0)
    why = "its unit is a run, and a trunk is shared by questions whose units are items in it"
    return Refusal(strategy=Strategy.MULTIPLEX, code=Refused.UNIT, why=why)


Pair = tuple[ItemQuestion, Treated]
"""A question with its treatment as a job sees it."""


def trunks(
    study: StudyDefinition, pairs: Sequence[Pair], changed: Mapping[str, float]
) -> list[list[Pair]]:
    """The questions of each trunk: one, unless they change more tokens than the study allows.

    Those that must be in the trunk (`how: multiplex`) come first, then each in the first trunk that
    has room, in the order of the study.

    Args:
        study: what is asked.
        pairs: the questions that insert into a trunk.
        changed: the share of the tokens that each changes.

    Raises:
        StudyError: when a question by itself changes too much.
    """
    allowed = study.recipe.allow_changed
    if sum(changed.values()) <= allowed:
        return [list(pairs)]
    found: list[list[Pair]] = [[]]
    for pair in sorted(pairs, key=lambda pair: pair[0].how is not Strategy.MULTIPLEX):
        share = changed[pair[0].id]
        if share > allowed:
            raise StudyError([_budget_problem(study, share, {pair[0].id: share})])
        for group in found:
            forced = pair[0].how is Strategy.MULTIPLEX and group is found[0]
            if forced or share + sum(changed[one.id] for one, _ in group) <= allowed:
                group.append(pair)
                break
        else:
            found.append([pair])
    return [[pair for pair in pairs if pair in group] for group in found]


def pack(study: StudyDefinition, base: TokenStream, treated: Iterable[Pair]) -> Trunk:
    """Insert every question's items into the stream of one seed, within what the study allows.

    Raises:
        StudyError: as `insert`, and when more tokens change than the study allows.
    """
    found = insert(study, base, treated)
    if found.stream.changed_share > study.recipe.allow_changed:
        raise StudyError([_budget_problem(study, found.stream.changed_share, found.changed)])
    return found


def insert(study: StudyDefinition, base: TokenStream, treated: Iterable[Pair]) -> Trunk:
    """Insert every question's items into the stream of one seed.

    Raises:
        StudyError: with every question whose items cannot be made or placed.
    """
    stream, problems, changed = base, list[Problem](), dict[str, float]()
    lanes, treated, short = list[Problem](), list(treated), False
    for question, treatment in treated:
        before = stream.changed_share
        try:
            stream = treatment.apply(stream)
            changed[question.id] = stream.changed_share - before
        except ClaimError as error:
            free = _free_lane(stream, treatment)
            if free is not None:  # so that lanes named in one error hold together
                stream = replace(treatment, lane=free).apply(stream)
            if free is None and error.what == "passages":
                short = True
            else:
                lanes.append(_lane_problem(study, treatment, error, free))
        except PassagesError:
            short = True
        except SettingError as error:
            found = treatment.settings.get(error.field)
            problems.append(study.problem(question.id, error.field, found, str(error)))
        except ItemsError as error:
            problems.append(study.problem(question.id, "file", None, str(error)))
        except ValueError as error:
            problems.append(study.problem(question.id, "method", None, str(error)))
    if short:  # in a larger corpus the lanes that this one wants may not be needed
        lanes = [corpus_problem(study, base, [treatment for _, treatment in treated])]
    if problems := problems + lanes:
        raise StudyError(problems)
    return Trunk(stream, changed)


def _free_lane(stream: TokenStream, treatment: Treated) -> int | None:
    return next((lane for lane in range(1, _LANES_TRIED) if _fits(stream, treatment, lane)), None)


def _lane_problem(
    study: StudyDefinition, treatment: Treated, clash: ClaimError, free: int | None
) -> Problem:
    """Two names lead to the same slots: name a lane number that leads elsewhere."""
    index = [question.id for question in study.questions].index(treatment.question)
    right = (
        f"write `lane: {free}` into question {treatment.question!r}; nobody else's items move"
        if free is not None
        else "no lane is free: insert fewer or shorter items, or train longer"
    )
    return study.document.problem(("questions", index, "lane"), None, f"{clash}; {right}")


def _fits(stream: TokenStream, treatment: Treated, lane: int) -> bool:
    try:
        replace(treatment, lane=lane).apply(stream)
    except ClaimError:
        return False
    return True


def _budget_problem(study: StudyDefinition, share: float, changed: dict[str, float]) -> Problem:
    parts = ", ".join(f"{name} {part:.2%}" for name, part in changed.items() if part)
    enough = -(-share * 1000 // 1) / 1000
    return study.document.problem(
        ("recipe", "allow_changed"),
        study.recipe.allow_changed,
        f"the questions change {share:.2%} of the tokens ({parts}); insert less, train longer, "
        f"or write `allow_changed: {enough:g}`",
    )
