"""Plans and answers as tables in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trainonce.analysis.answers import Answer, Answers
from trainonce.analysis.verdicts import Verdict
from trainonce.plan.cost import Prediction
from trainonce.plan.jobs import Job
from trainonce.plan.plan import Plan
from trainonce.report.sentences import (
    change_of_units,
    changed_sentence,
    cost_sentence,
    detectable,
    detected,
    enough,
    heldout_sentence,
    interval,
    left_out_sentence,
    left_sentence,
    machine_sentence,
    number,
    p_value,
    sentence,
    short,
    tested,
    time_sentence,
)
from trainonce.sites import Unit
from trainonce.study.schema import AA

_STYLES = {Verdict.YES: "bold green", Verdict.NO: "bold blue", Verdict.CANNOT_TELL: "bold yellow"}
_BARS = " ▁▂▃▄▅▆▇█"


def plan_view(
    plan: Plan,
    done: Collection[str],
    prediction: Prediction,
    studies: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> RenderableType:
    """What a study takes, before it takes it.

    Args:
        studies: titles of the studies that wanted a job, by its key.
        plan: the plan.
        done: keys of the jobs that are finished already.
        prediction: what it takes on this machine.
    """
    questions = Table(title="Questions", title_justify="left", expand=False)
    columns = ("question", "strategy", "shares with", "outcome", "units", "detectable")
    for name in columns:
        right = name in ("units", "detectable")
        questions.add_column(
            name, justify="right" if right else "left", no_wrap=name != "question", overflow="fold"
        )
    for planned in plan.questions:
        question = planned.question
        questions.add_row(
            Text(question.id),
            planned.strategy.value,
            _others(plan.shares_with(question.id)),
            question.outcome.name,
            f"{planned.units} {question.unit.value}s",
            detectable(planned.detectable_effect),
        )
    jobs = Table(title="Jobs", title_justify="left", expand=False)
    for name in ("key", "code", "state", "cost", "why"):
        jobs.add_column(name, justify="right" if name == "cost" else "left", no_wrap=name != "why")
    for job in plan.jobs:
        jobs.add_row(
            short(job.key),
            job.code.value,
            "done" if job.key in done else "open",
            f"{job.run_equivalents:.3f}",
            Text(f"{job.reason}{_reused(plan, job, done, studies)}"),
        )
    seeds = ", ".join(map(str, plan.seeds))
    sites = Counter(site.value for planned in plan.questions for site in planned.sites)
    lines = [
        *([changed_sentence(plan)] if plan.tokens else []),
        *_left_out(plan),
        f"Answers: {plan.run_equivalents:.1f} run-equivalents. One run a question: "
        f"{plan.one_run_a_question:.1f}. Checks, on top: {plan.checks_run_equivalents:.1f}.",
        *([left_sentence(plan, done, prediction)] if done else []),
        f"Sites: {', '.join(f'{site} {count}' for site, count in sites.most_common())}.",
        f"Costs are in run-equivalents: the recipe, trained once at each of its seeds ({seeds}).",
        machine_sentence(prediction),
        "Detectable: the smallest effect (highest dose against dose 0; last arm against the base "
        "run, by seeds) that is found with 80 % power at the corrected level.",
    ]
    return Group(
        Text(plan.study, style="bold"),
        Text(""),
        questions,
        Text(""),
        jobs,
        Text(""),
        *map(Text, lines),
        Text(f"Plan {plan.hash}", style="dim"),
    )


def _left_out(plan: Plan) -> Iterator[str]:
    """How many items of the user's own could not be taken, where any could not."""
    for planned in plan.questions:
        if planned.sizes and planned.sizes.left_out:
            drawn = planned.units + planned.sizes.left_out
            yield (
                f"{planned.question.id}: {planned.sizes.left_out} of {drawn} items drawn from its "
                "file do not fit and are left out; the answer is about those that do."
            )


def _reused(
    plan: Plan, job: Job, done: Collection[str], studies: Mapping[str, Collection[str]]
) -> str:
    others = sorted(set(studies.get(job.key, ())) - {plan.study}) if job.key in done else []
    return f"; reused from {', '.join(map(repr, others))}" if others else ""


def answers_view(answers: Answers) -> RenderableType:
    """The answers, each with its doses."""
    table = Table(expand=False)
    for name in ("question", "verdict", "effect", "95 % interval", "corrected", "doses or arms"):
        table.add_column(name, justify="right" if name == "effect" else "left")
    for answer in answers.answers:
        decided = answer.decided
        table.add_row(
            Text(answer.question),
            Text(answer.verdict.value, style=_STYLES[answer.verdict]),
            number(decided.estimate),
            interval(decided.low, decided.high),
            p_value(answer.p_adjusted),
            _sparkline(answer),
        )
    said: list[RenderableType] = []
    for answer in answers.answers:
        said.append(Text(answer.ask, style="bold"))
        text = Text(answer.verdict.value.capitalize() + ". ", style=_STYLES[answer.verdict])
        text.append(f"{sentence(answer)} {enough(answer)}".strip(), style="default not bold")
        said.append(Padding(text, (0, 0, 0, 2)))
        tests = "".join(f"\n{detected(found)}" for found in answer.detections)
        tests += "".join(f"\n{change_of_units(found)}" for found in answer.changes)
        tests += _tests(answer)
        tests += "".join(f"\n{told}." for told in answer.ended)
        shown = f"{_parts(answer)}{_over_steps(answer)}{tests}"
        said.append(Padding(Text(shown, style="dim"), (0, 0, 1, 2)))
    convicted = any(a.question == AA and a.verdict is Verdict.YES for a in answers.answers)
    warning = [
        Text("The A/A question has an effect: do not trust these answers.", style="bold red")
    ]
    return Group(
        Text(answers.study, style="bold"),
        Text(""),
        *said,
        table,
        Text(""),
        *([Text(said_of_loss)] if (said_of_loss := heldout_sentence(answers)) else []),
        *([Text(left_out_sentence(answers), style="yellow")] if answers.left_out else []),
        Text(f"Cost: {cost_sentence(answers)} {time_sentence(answers)}"),
        *(warning if convicted else []),
    )


def _others(names: tuple[str, ...]) -> str:
    return f"{len(names)} other{'s' * (len(names) > 1)}" if names else "none"


def _parts(answer: Answer) -> str:
    """The mean of each dose, or each arm's difference from the base run."""
    doses = answer.decided.doses
    if answer.unit is Unit.ITEM:
        return "by dose   " + "   ".join(f"{dose.dose}: {number(dose.mean)}" for dose in doses)
    arms = (
        f"{arm.label}: {number(arm.effect)} ({interval(arm.effect_low, arm.effect_high)})"
        for arm in doses[1:]
    )
    return "by arm   " + "   ".join(arms)


def _tests(answer: Answer) -> str:
    """What tested an answer: whole where it did not hold, else by name. The page has all of it."""
    failed = [f"\n{tested(check)}" for check in answer.checks if check.held is False]
    others = [
        f"{told}: {', '.join(names)}"
        for told, held in (("held", True), ("cannot tell", None))
        if (names := [check.name for check in answer.checks if check.held is held])
    ]
    return "".join(failed) + (f"\ntests   {'   '.join(others)}" if others else "")


def _over_steps(answer: Answer) -> str:
    """The effect at each step where items were measured, on a line of its own."""
    if not answer.decided.over_steps:
        return ""
    bars = _bars([one.estimate for one in answer.decided.over_steps])
    parts = "   ".join(f"{one.step}: {number(one.estimate)}" for one in answer.decided.over_steps)
    return f"\neffect after step   {parts}   {bars}"


def _sparkline(answer: Answer) -> str:
    return _bars([dose.mean for dose in answer.decided.doses if dose.diverged_at is None])


def _bars(means: Sequence[float]) -> str:
    low, span = min(means), max(means) - min(means)
    if span == 0:
        return _BARS[1] * len(means)
    return "".join(_BARS[1 + round((mean - low) / span * 7)] for mean in means)
