"""What a claim looks at in the answers of its study.

| name | what it is |
| --- | --- |
| ``question`` | the answer to the question |
| ``question/kind`` | its effect on items of one kind alone |
| ``question@28%`` | its effect after that share of the run, which is among its ``measure_at`` |
| ``question!outcome`` | what its probe tells beside the answer: a change, or privacy leakage |
| ``heldout_loss`` | the trunk's held-out loss beside the plain run's, as a share of it |
| ``variant:name`` | any of them in a variant of the study |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from scipy import stats

from trainonce.analysis.answers import Answer, Answers
from trainonce.analysis.effects import Estimate, difference
from trainonce.analysis.verdicts import FEWEST, Verdict, verdict
from trainonce.methods.registry import probe_of
from trainonce.study.questions import ItemQuestion, Question
from trainonce.study.schema import AA

HELDOUT = "heldout_loss"
_NAME = re.compile(
    r"(?:(?P<variant>[^:/@!]+):)?(?P<question>[^:/@!]+)"
    r"(?:/(?P<kind>.+)|@(?P<at>[\d.]+)%|!(?P<outcome>.+))?"
)
_HALF = float(stats.norm.ppf(0.975))  # standard errors from an estimate to an end of its interval


@dataclass(frozen=True, kw_only=True)
class Look:
    """A name, taken apart.

    Attributes:
        question: its id, or `HELDOUT`.
        kind: of items.
        at: the share of the run.
        outcome: what is told beside the answer.
        variant: of the study; None for the study itself.
    """

    question: str
    kind: str | None = None
    at: float | None = None
    outcome: str | None = None
    variant: str | None = None

    @property
    def beside(self) -> bool:
        """Whether it is told beside the answers: no question says what would be of interest."""
        return self.question == HELDOUT or self.outcome is not None

    @property
    def whole(self) -> bool:
        """Whether it is the answer to a question, and no part of it."""
        return not self.beside and self.kind is None and self.at is None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found of one thing that a claim looks at.

    Attributes:
        question: its name.
        ask: the question, or what was told beside it.
        verdict: the answer in a word.
        outcome: what was measured.
        effect: of the last arm against what it is compared with.
        low: lower end of its 95 % interval; None where it has none.
        high: the upper end.
        p_adjusted: corrected over the study's questions.
        smallest: the smallest effect of interest, or the margin.
        units: pairs, or items.
        base: mean outcome of what it is compared with; of a difference, the other effect.
        arm: mean outcome of the last arm; of a difference, the deciding effect.
        against: the name of what it is compared with, where it is a difference of two effects.
        reason: why the verdict is not what the numbers alone would say; empty where it is.
    """

    question: str
    ask: str
    verdict: str
    outcome: str
    effect: float | None
    low: float | None
    high: float | None
    p_adjusted: float
    smallest: float
    units: int
    base: float | None
    arm: float | None
    against: str | None = None
    reason: str = ""

    @property
    def estimate(self) -> Estimate:
        """The effect with its interval; ends that it does not have are infinite."""
        ends = (
            (-math.inf if self.low is None else self.low),
            (math.inf if self.high is None else self.high),
        )
        return Estimate(math.nan if self.effect is None else self.effect, *ends)


def looked_at(name: str) -> Look:
    """What a name is of."""
    found = _NAME.fullmatch(name)
    if found is None:
        return Look(question=name)
    at = found["at"]
    return Look(
        question=found["question"],
        kind=found["kind"],
        at=None if at is None else float(at) / 100,
        outcome=found["outcome"],
        variant=found["variant"],
    )


def find(name: str, answers: Answers) -> Found:
    """What the answers of a study say of a name, by the rule of `trainonce.analysis.verdicts`.

    The p-value of a part of an answer is that of its interval, times the number of the study's
    questions.

    Args:
        name: of a question or a part of one.
        answers: of the study, or the variant of it, that the name is about.

    Raises:
        KeyError: when the question has no such kind of items.
    """
    look = looked_at(name)
    answer = _answer(look, answers)
    if look.kind is not None:
        return _of_kind(name, answer, look.kind, answers)
    if look.at is not None:
        return _at_share(name, answer, look.at, answers)
    return replace(found_of(answer), question=name)


def find_beside(name: str, direction: int, smallest: float, answers: Answers) -> Found:
    """What is told beside the answers of a study, by the same rule.

    Args:
        name: of what is told beside them.
        direction: where a change is looked for.
        smallest: the smallest change of interest; of the held-out loss, as a share of it.
        answers: of the study, or the variant of it, that the name is about.
    """
    look = looked_at(name)
    if look.question == HELDOUT:
        return _heldout(name, direction, smallest, answers)
    answer = _answer(look, answers)
    told = {change.outcome: change for change in answer.changes}
    if change := told.get(look.outcome or ""):
        estimate, units = Estimate(change.estimate, change.low, change.high), change.units
        ask, outcome = f"{change.says[:1].upper()}{change.says[1:]}.", change.outcome
    else:
        score = next(one for one in answer.detections if one.outcome == look.outcome)
        assert score.leak is not None
        estimate, units = score.leak, min(score.members, score.others)
        ask = "Can items that were forgotten be told from items never seen?"
        outcome = f"privacy leakage by {score.outcome}"
    p = corrected(estimate, answers)
    return Found(
        question=name,
        ask=ask,
        verdict=verdict(estimate, p, direction, smallest, units).value,
        outcome=outcome,
        effect=estimate.value,
        low=estimate.low,
        high=estimate.high,
        p_adjusted=p,
        smallest=smallest,
        units=units,
        base=None,
        arm=None,
        reason=answer.reason,
    )


def told_beside(question: Question) -> tuple[str, ...]:
    """The outcomes that are told beside the answer to a question: changes, and leaking scores."""
    if not isinstance(question, ItemQuestion):
        return ()
    leaks = question.method.forgotten is not None
    outcomes = probe_of(question.method).outcomes
    return tuple(one.name for one in outcomes if one.over or (one.detects and leaks))


def _answer(look: Look, answers: Answers) -> Answer:
    return next(one for one in answers.answers if one.question == look.question)


def _heldout(name: str, direction: int, smallest: float, answers: Answers) -> Found:
    """How far the trunk's held-out loss is from the plain run's."""
    change, loss, plain = answers.heldout_change, answers.heldout_loss, answers.heldout_loss_plain
    assert change is not None
    assert loss is not None
    p = corrected(change, answers)
    return Found(
        question=name,
        ask="Is the held-out loss of the trunk another than that of the plain run?",
        verdict=verdict(change, p, direction, smallest, units=FEWEST).value,
        outcome="change of the held-out loss, as a share",
        effect=change.value,
        low=change.low,
        high=change.high,
        p_adjusted=p,
        smallest=smallest,
        units=len(answers.seeds),
        base=plain,
        arm=loss,
    )


def contrast(
    one: Found,
    others: Sequence[Found],
    direction: int,
    smallest: float,
    answers: Answers,
    pairs: Mapping[str, Estimate] = MappingProxyType({}),
) -> Found:
    """The difference of an effect from each of others, of which the least sure is told.

    Items of different questions and kinds are independent, and so are the two intervals that the
    difference's is put together from; at two shares of a run they are the same items, which makes
    it too wide rather than too narrow. Where each item was compared with itself, that is the
    difference. To be above each of several others takes a yes beside each,
    which needs no correction for their number.

    Args:
        one: the deciding effect.
        others: what it is compared with.
        direction: where the difference is expected.
        smallest: the smallest difference of interest.
        answers: of the study.
        pairs: the difference from others, by their names, where the items are the same ones.
    """
    sure = {Verdict.NO: 0, Verdict.CANNOT_TELL: 1, Verdict.YES: 2}
    found = [
        pairs.get(other.question) or difference(one.estimate, other.estimate) for other in others
    ]
    told = [
        _difference(one, other, apart, direction, smallest, answers)
        for other, apart in zip(others, found, strict=True)
    ]
    return min(told, key=lambda own: (sure[Verdict(own.verdict)], direction * own.estimate.value))


def _difference(
    one: Found, other: Found, found: Estimate, direction: int, smallest: float, answers: Answers
) -> Found:
    p, units = corrected(found, answers), min(one.units, other.units)
    return replace(
        one,
        verdict=verdict(found, p, direction, smallest, units).value,
        effect=found.value,
        low=found.low,
        high=found.high,
        p_adjusted=p,
        smallest=smallest,
        units=units,
        base=other.effect,
        arm=one.effect,
        against=other.question,
        reason=one.reason or other.reason,
    )


def found_of(answer: Answer) -> Found:
    """An answer as the ledger keeps it."""
    decided = answer.decided
    return Found(
        question=answer.question,
        ask=answer.ask,
        verdict=answer.verdict.value,
        outcome=decided.outcome,
        effect=_number(decided.estimate),
        low=_number(decided.low),
        high=_number(decided.high),
        p_adjusted=answer.p_adjusted,
        smallest=answer.smallest,
        units=answer.units,
        base=_number(decided.doses[0].mean),
        arm=_number(decided.doses[-1].mean),
        reason=answer.reason,
    )


def corrected(estimate: Estimate, answers: Answers) -> float:
    """The two-sided p-value of an interval, as if all the study's questions had been put to it.

    The end of the interval that lies towards 0 is taken to be 1.96 standard errors away.
    """
    towards = estimate.low if estimate.value > 0 else estimate.high
    far, half = abs(estimate.value), abs(estimate.value - towards)
    p = 2 * float(stats.norm.sf(_HALF * far / half)) if half > 0 else float(far == 0)
    return min(1.0, p * sum(one.question != AA for one in answers.answers))


def _of_kind(name: str, answer: Answer, kind: str, answers: Answers) -> Found:
    known = {group.name: group for group in answer.kinds}
    if kind not in known:
        raise KeyError(f"{name}: items of question {answer.question} are {', '.join(known)}")
    own = known[kind]
    units = own.units // len(answer.decided.doses)
    found = Estimate(own.estimate, own.low, own.high)
    return replace(_part(name, answer, found, units, answers), base=None, arm=None)


def _at_share(name: str, answer: Answer, share: float, answers: Answers) -> Found:
    steps = answer.decided.over_steps
    step = max(1, round(share * steps[-1].step))
    own = next(one for one in steps if one.step == step)
    units = min(own.doses[0].units, own.doses[-1].units)
    found = _part(name, answer, Estimate(own.estimate, own.low, own.high), units, answers)
    return replace(found, base=own.doses[0].mean, arm=own.doses[-1].mean)


def _part(name: str, answer: Answer, found: Estimate, units: int, answers: Answers) -> Found:
    p = corrected(found, answers)
    return replace(
        found_of(answer),
        question=name,
        verdict=verdict(found, p, answer.direction, answer.smallest, units).value,
        effect=found.value,
        low=found.low,
        high=found.high,
        p_adjusted=p,
        units=units,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
