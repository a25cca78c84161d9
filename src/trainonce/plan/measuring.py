"""The jobs that measure what runs made of items and of held-out text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from trainonce.methods.registry import methods, probe_of
from trainonce.plan import average
from trainonce.plan.design import Design
from trainonce.plan.jobs import Job, Reason, Role, reason_of
from trainonce.plan.lines import Averaged, Line
from trainonce.plan.prices import Prices
from trainonce.sites import (
    Choice,
    Completion,
    Contrast,
    Item,
    Options,
    Prefixes,
    Pursuit,
    Text,
    Unlearning,
    Watermarked,
)
from trainonce.stream.corpus import Corpus
from trainonce.stream.parts import Parts
from trainonce.study.questions import ItemQuestion, RunQuestion
from trainonce.tasks.specs.measurements import HELDOUT_PROBE, MeasureSpec, PartOf, Steered
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec, Treated


def heldout_losses(
    design: Design, role: Role, line: Line | Averaged, corpus: Corpus, prices: Prices
) -> list[Job]:
    """The held-out losses that are wanted of a run or an average of this role."""
    if role in (Role.OWN, Role.SMALL):
        return []
    if role is Role.PLAIN:
        return [heldout(line, corpus, Role.CHECK, (), prices)]
    served = set(line.questions)
    asked = [q for q in design.study.questions if q.id in served and isinstance(q, RunQuestion)]
    if role is not Role.TRUNK:
        shown = role if role in (Role.REAL, Role.TUNING) else Role.ANSWER
        return [
            heldout(line, corpus, shown, (q.id,), prices, design.part(q))
            for q in asked
            if role is not Role.EXPERT or average.is_arm(q, line.spec.trained.mixture)
        ]
    whole = heldout(line, corpus, Role.HELDOUT, line.questions, prices)
    on_parts = [
        heldout(line, corpus, Role.ANSWER, (q.id,), prices, part)
        for q in asked
        if (part := design.part(q))
    ]
    return [whole, *on_parts]


def heldout(
    line: Line | Averaged,
    corpus: Corpus,
    role: Role,
    questions: tuple[str, ...],
    prices: Prices,
    part: PartOf | None = None,
    step: int | None = None,
) -> Job:
    """The held-out loss of a run at its end or after ``step``, or of an average; or of a part."""
    spec = heldout_spec(line.spec, part, step)
    return Job(
        spec=spec,
        role=role,
        strategy=line.strategy,
        questions=questions,
        parents=(spec.measured.key,),
        run_equivalents=heldout_cost(line.weight, line.spec.trained.sequence, corpus, prices, part),
        code=reason_of(role, questions),
        reason=f"held-out loss{f' on {part.name!r}' if part else ''}, {line.name}"
        + (f", after step {step}" if step else ""),
    )


def heldout_spec(
    model: TrainSpec | AverageSpec, part: PartOf | None = None, step: int | None = None
) -> MeasureSpec:
    """What measures the held-out loss of a run at its end or after ``step``, or of an average."""
    return MeasureSpec(
        trained=model.trained,
        probe=HELDOUT_PROBE,
        version=methods()[HELDOUT_PROBE].version,
        step=step,
        part=part,
        average=model if isinstance(model, AverageSpec) else None,
    )


def heldout_cost(
    weight: float, sequence: int, corpus: Corpus, prices: Prices, part: PartOf | None = None
) -> float:
    """What measuring the held-out loss costs, with a pass that weighs ``weight`` base runs'."""
    if part is None:
        starts = corpus.blocks("heldout", sequence)
    else:
        starts = Parts(corpus, part.parts).heldout_blocks(part.name, sequence)
    blocks = min(methods()[HELDOUT_PROBE].cls().blocks, len(starts))
    return prices.reading(blocks * sequence, weight)


def emulated(
    large: Line,
    tuned: Line,
    untuned: Line,
    corpus: Corpus,
    prices: Prices,
    part: PartOf | None = None,
) -> Job:
    """The held-out loss of ``large``, steered by what its change did to a small run."""
    whole = replace(large, weight=large.weight + tuned.weight + untuned.weight)
    plain = heldout(whole, corpus, Role.ANSWER, tuned.questions, prices, part)
    spec = emulated_spec(large, tuned, untuned, part)
    return replace(
        plain,
        spec=spec,
        strategy=tuned.strategy,
        parents=tuple(parent.key for parent in spec.parents),
        code=Reason.EMULATED,
        reason=f"held-out loss, {large.name}, steered by {tuned.name} less {untuned.name}",
        label=f"emulated from {tuned.label}",
    )


def emulated_spec(
    large: Line, tuned: Line, untuned: Line, part: PartOf | None = None
) -> MeasureSpec:
    """What measures the held-out loss of ``large`` as the small run's change steers it."""
    steered = Steered(tuned=tuned.spec, untuned=untuned.spec)
    return replace(heldout_spec(large.spec, part), steered=steered)


def items(
    line: Line,
    question: ItemQuestion,
    treated: Treated,
    found: Sequence[Item],
    role: Role,
    prices: Prices,
    step: int | None = None,
) -> Job:
    """What a run made of the items of a question, at its end or after ``step`` steps."""
    probe = probe_of(question.method)
    measured = line.spec if step is None else line.spec.after(step)
    return Job(
        spec=MeasureSpec(
            trained=measured.trained,
            probe=probe.name,
            version=probe.version,
            treated=treated,
            step=step,
        ),
        role=role,
        strategy=line.strategy,
        questions=(question.id,),
        parents=(measured.key,),
        run_equivalents=prices.reading(sum(map(tokens_read, found))),
        code=reason_of(role, (question.id,)),
        reason=f"{probe.name} of {len(found)} items of {question.id!r}, {line.name}"
        + ("" if step is None else f", after step {step}"),
    )


def tokens_read(item: Item) -> int:
    """Tokens that a model must read to measure ``item``."""
    match item.test:
        case Choice():
            return _choice_tokens(item.test)
        case Options(prompt, labels, options):
            once = len(prompt) + sum(map(len, (*labels, *options)))
            return math.factorial(len(options)) * once
        case Contrast(treated, plain):
            return _read(*treated, *plain)
        case Prefixes(completions):
            return _read(*completions)
        case Text(prompt, tokens):
            return len(prompt) + len(tokens)
        case Pursuit(probed, asked):
            return _choice_tokens(probed) + _choice_tokens(asked)
        case Unlearning(again, ordinary, epochs):
            # each of four models; each of three ways a pass and back
            return 4 * _read(again, again, ordinary) + 3 * 3 * epochs * _read(again)
        case Watermarked(prompt, text):
            return (3 + 9) * (len(prompt) + len(text))  # a pass and back, and one with each noise
        case completion:
            return _read(completion)


def _read(*completions: Completion) -> int:
    return sum(len(one.prompt) + len(one.target) for one in completions)


def _choice_tokens(test: Choice) -> int:
    return sum(len(test.prompt) + len(option) for option in test.options)
