"""Planning: which jobs answer a study, why, and at what cost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch

from trainonce.models.build import ModelError, parameters, shape
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.choose import choose
from trainonce.plan.compiled import compile_long
from trainonce.plan.conflicts import kept_apart
from trainonce.plan.cost import ADAMW_BYTES, whole_memory
from trainonce.plan.early.settle import History, NoHistory
from trainonce.plan.extrapolate import rungs
from trainonce.plan.jobs import (
    Line,
    Prices,
    averaging,
    emulated,
    heldout_cost,
    in_order,
    items,
    once,
    training,
)
from trainonce.plan.lines import ArmNumbers, Design, Where, averages, cuts, lines, watched
from trainonce.plan.measured import heldout_losses
from trainonce.plan.multiplex import pack, trunks
from trainonce.plan.parts import find_parts, mixture_of
from trainonce.plan.plan import Job, Plan, Role
from trainonce.plan.precision import planned
from trainonce.plan.rungs import Early, decided, early, measured, with_rungs
from trainonce.plan.stacks import Known, arrange
from trainonce.stream import smollm2
from trainonce.stream.corpora import CorpusError
from trainonce.stream.corpus import Corpus, Progress, prepare
from trainonce.stream.parts import Parts
from trainonce.stream.tokenizers import TokenizerError
from trainonce.study.load import StudyDefinition, placebo
from trainonce.study.problems import StudyError
from trainonce.study.questions import ItemQuestion, RunQuestion
from trainonce.study.recipe import Recipe
from trainonce.study.schema import AA, FEWEST_RUNGS, Strategy
from trainonce.tasks.specs import TrainSpec, Treated, content_hash
from trainonce.train.precision import resolve
from trainonce.train.settings import Parallel, TrainSettings

_ONE_THREAD_PARAMETERS = 5_000_000


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
    corpus = _corpus(study, home, progress)
    parts = find_parts(study, corpus)
    spec = _train_spec(study, corpus, parts, recipe.seeds[0], home)
    plain = {seed: replace(spec, seed=seed) for seed in recipe.seeds}
    design = _design(study, corpus, parts, home, plain, chosen)
    alone = lines(design)
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
        one_run_a_question=_one_run_a_question(design, corpus, jobs, prices),
    )


def _asked(study: StudyDefinition) -> tuple[ItemQuestion | RunQuestion, ...]:
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
    treated = {question.id: _treated(question) for question in inserting}
    pairs = {q.id: (q, treated[q.id]) for q in inserting}
    apart = {name for name, how in chosen.items() if how is not Strategy.MULTIPLEX}
    streams = {seed: run.stream(corpus) for seed, run in plain.items()}
    multiplexed = [pair for name, pair in pairs.items() if name not in apart]
    together, *further = trunks(study, next(iter(streams.values())), multiplexed)
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
        return _numbers(study, question, recipes, corpus, parts, home)

    arms = {question.id: numbers(question, _recipes(question)) for question in about_runs}
    for question in about_runs:
        if chosen[question.id] is not Strategy.EXTRAPOLATE:
            _refuse_large_arms(study, question, arms[question.id])
    return Design(
        study=study,
        chosen=chosen,
        apart=kept_apart(study, chosen),
        treated=treated,
        plain=plain,
        trunks={seed: pack(study, stream, together) for seed, stream in streams.items()},
        own={
            (question.id, seed): packed
            for group in (*own, *further)
            for seed, stream in streams.items()
            for packed in [pack(study, stream, group)]
            for question, _ in group
        },
        arms=arms,
        ladders={
            question.id: _ladder(
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


def _ladder(
    study: StudyDefinition,
    question: RunQuestion,
    rungs: tuple[ArmNumbers, ...],
    arm: ArmNumbers,
) -> tuple[ArmNumbers, ...]:
    """The rungs, whose sizes with the data's own vocabulary a law can be fitted to."""
    sizes = {rung.parameters for rung in rungs}
    shown = ", ".join(f"{size:,}" for size in sorted(sizes))
    below = sum(size < arm.parameters for size in sizes - {rungs[0].parameters})
    if below < FEWEST_RUNGS:
        right = (
            f"{FEWEST_RUNGS} rungs at least with different numbers of parameters, the base run's "
            f"aside, and fewer than the arm's {arm.parameters:,}"
        )
        raise StudyError([study.problem_at(question.id, ("ladder",), shown, right)])
    return rungs


def _recipes(question: RunQuestion) -> list[Recipe]:
    return [arm.recipe for arm in question.arms]


def _numbers(
    study: StudyDefinition,
    question: RunQuestion,
    recipes: Sequence[Recipe],
    corpus: Corpus,
    parts: Parts | None,
    home: Path,
) -> tuple[ArmNumbers, ...]:
    base = _model(study, study.recipe, home)
    size, base_files = _size(study.recipe, base, corpus), _model_files(base)
    found = []
    for recipe in recipes:
        model, files, own = base, base_files, size
        if recipe.model != study.recipe.model:
            try:
                model = _model(study, recipe, home)
                files, own = _model_files(model), _size(recipe, model, corpus)
            except (ModelError, smollm2.NotInstalledError) as error:
                raise _arm_problem(study, question, recipe, str(error)) from None
        found.append(
            ArmNumbers(
                train=_train_settings(recipe, home),
                model=model,
                model_files=files,
                objective=recipe.objective,
                weight=own / size,
                parameters=own,
                mixture=mixture_of(recipe, parts),
            )
        )
    return tuple(found)


def _arm_problem(
    study: StudyDefinition, question: RunQuestion, recipe: Recipe, right: str
) -> StudyError:
    """A model that cannot be had, at the key that names it."""
    small = question.small is not None and question.small.recipe == recipe
    place = ("small",) if small else ("treatment", "change")
    return StudyError([study.problem_at(question.id, place, recipe.model, right)])


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


def _corpus(study: StudyDefinition, home: Path, progress: Progress | None) -> Corpus:
    data = study.recipe.data
    place: tuple[str, ...] = ("recipe", "data", "corpus")
    try:
        corpus = prepare(data, home, progress)
    except CorpusError as error:
        raise StudyError([study.document.problem(place, data.corpus.name, str(error))]) from None
    except TokenizerError as error:
        place = ("recipe", "data", "tokenizer")
        raise StudyError([study.document.problem(place, data.tokenizer, str(error))]) from None
    if len(corpus.train) <= data.sequence:
        right = f"the corpus has fewer training tokens than one sequence of {data.sequence}"
        raise StudyError([study.document.problem(place, data.corpus.name, right)])
    if len(corpus.blocks("heldout", data.sequence)) < 2 * len(placebo().treatment.doses):
        right = "too few held-out tokens to measure on; give more text or a larger `heldout`"
        raise StudyError([study.document.problem(place, data.corpus.name, right)])
    if study.recipe.attention == "within" and corpus.unclosed:
        right = (
            f"across: {corpus.unclosed} documents of this corpus do not end with its end-of-text "
            f"token {corpus.tokenizer.end_of_text}, so that a sequence does not tell where they end"
        )
        place = ("recipe", "data", "attention")
        raise StudyError([study.document.problem(place, "within", right)])
    return corpus


def _treated(question: ItemQuestion) -> Treated:
    files = {
        field.name: content_hash(value)
        for field in fields(question.treatment)  # type: ignore[arg-type]
        if isinstance(value := getattr(question.treatment, field.name), Path)
    }
    return Treated(
        question=question.id,
        method=question.method.name,
        version=question.method.version,
        settings=question.settings,
        files=files,
        lane=question.lane,
        window=question.window,
    )


def _train_spec(
    study: StudyDefinition, corpus: Corpus, parts: Parts | None, seed: int, home: Path
) -> TrainSpec:
    recipe = study.recipe
    model = _model(study, recipe, home)
    runs = len(recipe.seeds) * (2 if study.plain else 1)
    return TrainSpec(
        corpus=corpus.fingerprint,
        sequence=recipe.data.sequence,
        model=model,
        model_files=_model_files(model),
        train=_train_settings(recipe, home),
        seed=seed,
        device=_device().type,
        threads=_threads(study, model, corpus, runs),
        attention=recipe.attention,
        processes=recipe.processes,
        recompute=recipe.recompute,
        mixture=mixture_of(recipe, parts),
        objective=recipe.objective,
    )


def _train_settings(recipe: Recipe, home: Path) -> TrainSettings:
    return TrainSettings(
        steps=recipe.steps,
        batch=recipe.batch,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        clip=recipe.clip,
        precision=resolve(recipe.precision, _device(), home),
        accumulate=recipe.accumulate,
        on_nan=recipe.on_nan,
    )


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _model_files(model: str | DecoderSettings) -> str | None:
    folder = Path(model) if isinstance(model, str) else None
    return content_hash(folder) if folder and folder.is_dir() else None


def _model(study: StudyDefinition, recipe: Recipe, home: Path) -> str | DecoderSettings:
    """The recipe's model; one that a package carries as the folder that it is converted to."""
    model = recipe.model
    if model != smollm2.NAME:
        return model
    try:
        return str(smollm2.smollm2_folder(home))
    except smollm2.NotInstalledError as error:
        raise _model_problem(study, error) from None


def _model_problem(study: StudyDefinition, error: Exception) -> StudyError:
    place = ("recipe", "model")
    return StudyError([study.document.problem(place, study.recipe.model, str(error))])


def _threads(
    study: StudyDefinition, model: str | DecoderSettings, corpus: Corpus, runs: int
) -> int:
    """One thread for small models, which more threads slow down; else the cores shared out."""
    try:
        size = _size(study.recipe, model, corpus)
        _refuse_too_large(size, study.recipe)
    except ModelError as error:
        raise _model_problem(study, error) from None
    if size < _ONE_THREAD_PARAMETERS:
        return 1
    processes = study.recipe.processes.count if study.recipe.processes else 1
    return max(1, (os.cpu_count() or 1) // (runs * processes))


def _refuse_large_arms(
    study: StudyDefinition, question: RunQuestion, numbers: Sequence[ArmNumbers]
) -> None:
    for arm, own in zip(question.arms, numbers, strict=True):
        try:
            _refuse_too_large(own.parameters, arm.recipe)
        except ModelError as error:
            place = ("treatment", "change")
            right = f"{error}; or have it predicted from smaller ones: `ladder: [...]`"
            raise StudyError([study.problem_at(question.id, place, arm.label, right)]) from None


def _refuse_too_large(size: int, recipe: Recipe) -> None:
    """Refuse a model that cannot be trained here, however small its batches.

    Raises:
        ModelError: saying how much there is and what would help.
    """
    there, processes = whole_memory(_device()), recipe.processes
    parts = processes.count if processes and processes.parallel is Parallel.FSDP else 1
    needed = ADAMW_BYTES * size // parts
    if there is not None and needed > there:
        raise ModelError(
            f"its {size / 1e6:,.0f} million parameters with gradients and AdamW's moments take "
            f"{needed / 1e9:,.0f} GB in each process, and this machine has {there / 1e9:,.1f} GB; "
            "choose a smaller model, or share it: `processes: {count: N, parallel: fsdp}`"
        )


def _size(recipe: Recipe, model: str | DecoderSettings, corpus: Corpus) -> int:
    boundary = corpus.tokenizer.end_of_text if recipe.attention == "within" else None
    with torch.device("meta"):
        return parameters(shape(model, corpus.tokenizer.size, boundary))
