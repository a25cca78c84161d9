"""Planning: which jobs answer a study, why, and at what cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainonce.plan.arms import arm_numbers, ladder_numbers, refuse_large_arms
from trainonce.plan.base import corpus_of, train_spec, treated_by
from trainonce.plan.choose import choose
from trainonce.plan.compiled import compile_long
from trainonce.plan.conflicts import kept_apart
from trainonce.plan.design import ArmNumbers, Design
from trainonce.plan.drawing import averages, draw
from trainonce.plan.early.settle import History, NoHistory
from trainonce.plan.extrapolate import rungs
from trainonce.plan.jobs import Job, Role, in_order, once
from trainonce.plan.lines import Line, Where, cuts, watched
from trainonce.plan.measuring import emulated, heldout_cost, heldout_losses, items
from trainonce.plan.multiplex import insert, pack, trunks
from trainonce.plan.parts import find_parts
from trainonce.plan.plan import Plan
from trainonce.plan.precision import planned
from trainonce.plan.prices import Prices
from trainonce.plan.rungs import Early, decided, early, measured, with_rungs
from trainonce.plan.stacks import Known, arrange
from trainonce.plan.training import averaging, training
from trainonce.stream.corpus import Corpus, Progress
from trainonce.stream.parts import Parts
from trainonce.study.load import StudyDefinition, placebo
from trainonce.study.questions import CorpusQuestion, ItemQuestion, RunQuestion
from trainonce.study.recipe import Recipe
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs.runs import TrainSpec


def plan(
    study: StudyDefinition,
    home: Path,
    progress: Progress | None = None,
    known: Known = lambda _run: None,
    history: History | None = None,
) -> Plan:
    """Plan ``study``: choose strategies, prepare its data, pack its questions, list the jobs.

    Args:
        study: what is asked.
        home: where corpora and jobs are kept.
        progress: told how far the data is prepared.
        known: how a run was trained before, if it was.
        history: what the home holds from before, by which losing arms are stopped.

    Raises:
        StudyError: when a question cannot be answered in the way that the user wants, the data
            cannot be read, or the questions do not fit.
    """
    recipe = study.recipe
    chosen = choose(study)
    corpus = corpus_of(study, home, progress)
    parts = find_parts(study, corpus)
    spec = train_spec(study, corpus, parts, recipe.seeds[0], home)
    plain = {seed: replace(spec, seed=seed) for seed in recipe.seeds}
    design = _design(study, corpus, parts, home, plain, chosen)
    alone = draw(design)
    stops = early(design, alone, history or NoHistory(), known)
    drawn = _as_trained(design, with_rungs(alone, stops), corpus, home, known)
    prices = Prices(recipe.steps, recipe.tokens, len(recipe.seeds))
    jobs = _jobs(design, corpus, drawn, prices, known, stops)
    return Plan(
        study=study.title,
        file=study.document.file,
        home=home,
        jobs=jobs,
        questions=tuple(planned(design, drawn, question, stops) for question in _asked(study)),
        seeds=recipe.seeds,
        tokens=recipe.tokens,
        changed_share=sum(t.stream.changed_share for t in design.trunks.values()) / len(plain),
        allow_changed=recipe.allow_changed,
        checkpoints=recipe.checkpoints,
        tracking=study.tracking,
        text=study.document.text,
        parts=parts.fingerprint if parts else None,
        one_run_a_question=_one_run_a_question(design, corpus, jobs, prices),
    )


def _asked(study: StudyDefinition) -> tuple[CorpusQuestion, ...]:
    return (*study.questions, placebo())


def _design(
    study: StudyDefinition,
    corpus: Corpus,
    parts: Parts | None,
    home: Path,
    plain: Mapping[int, TrainSpec],
    chosen: Mapping[str, Strategy],
) -> Design:
    """Pack what the trunk and questions' own runs read, and resolve the arms."""
    inserting = [question for question in _asked(study) if isinstance(question, ItemQuestion)]
    treated = {question.id: treated_by(question) for question in inserting}
    pairs = {q.id: (q, treated[q.id]) for q in inserting}
    apart = {name for name, how in chosen.items() if how is not Strategy.MULTIPLEX}
    streams = {seed: run.stream(corpus) for seed, run in plain.items()}
    multiplexed = [pair for name, pair in pairs.items() if name not in apart]
    first, stream = next(iter(streams.items()))
    everything = insert(study, stream, multiplexed)
    together, *further = trunks(study, multiplexed, everything.changed)
    fits = everything.stream.changed_share <= study.recipe.allow_changed
    packed = {first: everything} if fits else {}
    own = [[pair] for name, pair in pairs.items() if name in apart]
    about_runs = [question for question in study.questions if isinstance(question, RunQuestion)]
    whole = {name for name, how in chosen.items() if how is Strategy.REPLICATE}

    for steps in {
        arm.recipe.steps
        for q in about_runs
        for arm in q.arms
        if q.id in whole and arm.recipe.steps > study.recipe.steps
    }:
        for run in plain.values():  # a longer run lays insertions out anew: they must fit there
            long = replace(run, train=replace(run.train, steps=steps))
            pack(study, long.stream(corpus), together)

    def numbers(question: RunQuestion, recipes: Sequence[Recipe]) -> tuple[ArmNumbers, ...]:
        return arm_numbers(study, question, recipes, corpus, parts, home)

    arms = {
        question.id: numbers(question, [arm.recipe for arm in question.arms])
        for question in about_runs
    }
    for question in about_runs:
        if chosen[question.id] is not Strategy.EXTRAPOLATE:
            refuse_large_arms(study, question, arms[question.id])
    return Design(
        study=study,
        chosen=chosen,
        apart=kept_apart(study, chosen),
        treated=treated,
        plain=plain,
        trunks={
            seed: packed.get(seed) or pack(study, stream, together)
            for seed, stream in streams.items()
        },
        own={
            (question.id, seed): alone
            for group in (*own, *further)
            for seed, stream in streams.items()
            for alone in [pack(study, stream, group)]
            for question, _ in group
        },
        arms=arms,
        ladders={
            question.id: ladder_numbers(
                study,
                question,
                numbers(question, [r.recipe for r in rungs(question, study.recipe)]),
                arms[question.id][0],
            )
            for question in about_runs
            if chosen[question.id] is Strategy.EXTRAPOLATE
        },
        smalls={
            question.id: numbers(question, [question.small.recipe])[0]
            for question in about_runs
            if chosen[question.id] is Strategy.EMULATE and question.small
        },
        parts=parts,
    )


def _as_trained(
    design: Design, drawn: dict[Where, Line], corpus: Corpus, home: Path, known: Known
) -> dict[Where, Line]:
    """Runs as this machine trains them: stacked or compiled where that pays.

    A run that others leave, that leaves another, that is measured before its end, or that a
    controller or noise acts in, trains by itself: a stack keeps no states. In a study with such
    runs none is compiled, so that arms and base run have the same arithmetic.
    """
    acting = design.controlled | design.marked
    held = {
        line.spec.key: ()
        for line in drawn.values()
        if acting.intersection(treated.question for treated in line.spec.treatments)
    }
    left = {**cuts(drawn), **watched(design, drawn), **held}
    alone = {line.spec.name: line.spec for line in drawn.values() if _alone(line, left)}
    runs = arrange(list(alone.values()), corpus.tokenizer.size, home, known)
    if not left:
        runs = compile_long(runs, corpus.tokenizer.size, home, known)
    found = dict(zip(alone, runs, strict=True))
    return {
        where: replace(line, spec=found[line.spec.name]) if _alone(line, left) else line
        for where, line in drawn.items()
    }


def _alone(line: Line, left: Mapping[str, object]) -> bool:
    return line.spec.fork is None and line.spec.key not in left


def _jobs(
    design: Design,
    corpus: Corpus,
    drawn: Mapping[Where, Line],
    prices: Prices,
    known: Known,
    stops: Mapping[str, Early],
) -> tuple[Job, ...]:
    """Each run's jobs after those of the runs that it leaves, and after what decides on it."""
    left, seen = cuts(drawn), watched(design, drawn)
    inserting = [q for q in _asked(design.study) if isinstance(q, ItemQuestion)]
    about_runs = {q.id: q for q in design.study.questions if isinstance(q, RunQuestion)}
    asked = {question.id: [question] for question in inserting}
    runs = {line.spec.key: line.spec for line in drawn.values()}
    stacks = Counter(run.stack for run in runs.values())
    jobs: list[Job] = []
    for (role, name, _, seed), line in drawn.items():
        others = stacks[line.spec.stack] - 1 if line.spec.stack else 0
        key = line.spec.key
        jobs += training(line, left.get(key, {}), seen.get(key, {}), prices, known, others)
        jobs += measured(line, corpus, prices)
        if not line.ends:
            continue
        trunk = role is Role.TRUNK
        jobs += heldout_losses(design, role, line, corpus, prices)
        if role is Role.SMALL and line.spec.fork:
            large, small = drawn[Role.TRUNK, "", 0, seed], drawn[Role.SMALL, name, 0, seed]
            part = design.part(about_runs[name])
            jobs.append(emulated(large, line, small, corpus, prices, part))
        if role not in (Role.TRUNK, Role.PLAIN, Role.OWN):
            continue
        for question in asked[name] if role is Role.OWN else inserting:
            untouched = trunk and (question.id, seed) in design.own
            if untouched and (line.spec.treatments or not design.study.plain):
                continue
            check = Role.CHECK if role is Role.PLAIN or untouched else Role.ANSWER
            found = design.packed(question.id, seed).stream.items[question.id]
            treated = design.treated[question.id]
            jobs.append(items(line, question, treated, found, check, prices))
            if check is Role.ANSWER:
                jobs += [
                    items(line, question, treated, found, Role.DURING, prices, step)
                    for step in question.steps(design.study.recipe)
                ]
    for averaged in averages(design, drawn).values():
        jobs.append(averaging(averaged, prices))
        jobs += heldout_losses(design, Role.AVERAGE, averaged, corpus, prices)
    jobs += decided(design, stops)
    return in_order(once(jobs, [question.id for question in _asked(design.study)]))


def _one_run_a_question(
    design: Design, corpus: Corpus, jobs: Sequence[Job], prices: Prices
) -> float:
    """Each question with a base run of its own.

    One that inserts items has its measurements, the held-out loss and the A/A; one about runs has
    its arms, each trained from step 0.
    """
    asked = {q.id for q in design.study.questions if isinstance(q, ItemQuestion)}
    answering = [job for job in jobs if job.role in (Role.ANSWER, Role.DURING)]
    loss = sum(job.run_equivalents for job in jobs if job.role is Role.HELDOUT)
    null = sum(job.run_equivalents for job in answering if job.questions == (AA,))
    own = sum(job.run_equivalents for job in answering if asked.intersection(job.questions))
    sequence, seeds = design.study.recipe.data.sequence, len(design.plain)
    arms = [arm for arms in design.arms.values() for arm in arms]
    whole = seeds * sum(prices.training(arm.train.steps, arm.weight) for arm in arms)
    whole += seeds * sum(heldout_cost(arm.weight, sequence, corpus, prices) for arm in arms)
    others = len(design.study.questions) - len(asked)
    return len(asked) * (1 + loss + null) + own + others * (1 + loss) + whole
