"""Planning: which jobs answer a study, why, and at what cost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch

from trainonce.methods.registry import methods, probe_of
from trainonce.models.build import ModelError, parameters, shape
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.compiled import compile_long
from trainonce.plan.multiplex import Trunk, pack
from trainonce.plan.plan import Job, Plan, PlannedQuestion, Role, Strategy
from trainonce.plan.power import detectable_effect
from trainonce.plan.stacks import Known, arrange
from trainonce.sites import Choice, Completion, Item
from trainonce.stream import smollm2
from trainonce.stream.corpora import CorpusError
from trainonce.stream.corpus import Corpus, Progress, prepare
from trainonce.stream.stream import TokenStream
from trainonce.stream.tokenizers import TokenizerError
from trainonce.study.load import Question, StudyDefinition, placebo
from trainonce.study.problems import StudyError
from trainonce.tasks.language import (
    HELDOUT_PROBE,
    MeasureSpec,
    TrainSpec,
    Treated,
    content_hash,
)
from trainonce.train.precision import resolve
from trainonce.train.settings import TrainSettings

_ONE_THREAD_PARAMETERS = 5_000_000
_FORWARD_SHARE = 1 / 3  # of a training step's operations: 2 of the 6 a parameter and token


def plan(
    study: StudyDefinition,
    home: Path,
    progress: Progress | None = None,
    known: Known = lambda _run: None,
) -> Plan:
    """Plan ``study``: prepare its data, pack its questions, and list the jobs.

    Args:
        study: what is asked.
        home: where corpora and jobs are kept.
        progress: told how far the data is prepared.
        known: how a run was trained before, if it was.

    Raises:
        StudyError: when the data cannot be read or the questions do not fit.
    """
    recipe = study.recipe
    corpus = _corpus(study, home, progress)
    asked = [(question, _treated(question)) for question in (*study.questions, placebo())]
    spec = _train_spec(study, corpus, recipe.seeds[0], home)
    specs = {seed: replace(spec, seed=seed) for seed in recipe.seeds}
    trunks = {seed: pack(study, specs[seed].stream(corpus), asked) for seed in recipe.seeds}
    runs = {(Role.TRUNK, seed): _trunk(specs[seed], trunks[seed], asked) for seed in recipe.seeds}
    if study.plain:
        runs |= {(Role.PLAIN, seed): specs[seed] for seed in recipe.seeds}
    arranged = arrange(list(runs.values()), corpus.tokenizer.size, home, known)
    arranged = compile_long(arranged, corpus.tokenizer.size, home, known)
    runs = dict(zip(runs, arranged, strict=True))
    jobs: list[Job] = []
    for seed in recipe.seeds:
        jobs += _seed_jobs(study, corpus, runs, seed, trunks[seed], asked)
    return Plan(
        study=study.title,
        file=study.document.file,
        home=home,
        jobs=tuple(jobs),
        questions=tuple(_planned(study, question, trunks) for question, _ in asked),
        seeds=recipe.seeds,
        tokens=recipe.tokens,
        changed_share=sum(t.stream.changed_share for t in trunks.values()) / len(trunks),
        allow_changed=recipe.allow_changed,
        checkpoints=recipe.checkpoints,
        tracking=study.tracking,
        one_run_a_question=_one_run_a_question(study, jobs),
    )


def _one_run_a_question(study: StudyDefinition, jobs: Sequence[Job]) -> float:
    """Each question with a trunk of its own, and the held-out loss and A/A of every trunk."""
    asked = {question.id for question in study.questions}
    own = sum(
        job.run_equivalents
        for job in jobs
        if job.role is Role.ANSWER and asked.intersection(job.questions)
    )
    shared = sum(job.run_equivalents for job in jobs if not job.is_check) - own
    return len(asked) * shared + own


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


def _treated(question: Question) -> Treated:
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
    )


def _train_spec(study: StudyDefinition, corpus: Corpus, seed: int, home: Path) -> TrainSpec:
    recipe = study.recipe
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _model(study, home)
    folder = Path(model) if isinstance(model, str) else None
    runs = len(recipe.seeds) * (2 if study.plain else 1)
    return TrainSpec(
        corpus=corpus.fingerprint,
        sequence=recipe.data.sequence,
        model=model,
        model_files=content_hash(folder) if folder and folder.is_dir() else None,
        train=TrainSettings(
            steps=recipe.steps,
            batch=recipe.batch,
            optimizer=recipe.optimizer,
            schedule=recipe.schedule,
            clip=recipe.clip,
            precision=resolve(recipe.precision, device, home),
            accumulate=recipe.accumulate,
            on_nan=recipe.on_nan,
        ),
        seed=seed,
        device=device.type,
        threads=_threads(study, model, corpus, runs),
        attention=recipe.attention,
        processes=recipe.processes,
        recompute=recipe.recompute,
    )


def _model(study: StudyDefinition, home: Path) -> str | DecoderSettings:
    """The recipe's model; one that a package carries as the folder that it is converted to."""
    model = study.recipe.model
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
    within = study.recipe.attention == "within"
    try:
        with torch.device("meta"):
            boundary = corpus.tokenizer.end_of_text if within else None
            size = parameters(shape(model, corpus.tokenizer.size, boundary))
    except ModelError as error:
        raise _model_problem(study, error) from None
    if size < _ONE_THREAD_PARAMETERS:
        return 1
    processes = study.recipe.processes.count if study.recipe.processes else 1
    return max(1, (os.cpu_count() or 1) // (runs * processes))


def _seed_jobs(
    study: StudyDefinition,
    corpus: Corpus,
    runs: Mapping[tuple[Role, int], TrainSpec],
    seed: int,
    trunk: Trunk,
    asked: Sequence[tuple[Question, Treated]],
) -> list[Job]:
    """The jobs of one seed: the trunk, its measurements, and the plain trunk beside it."""
    seeds = len(study.recipe.seeds)
    spec = runs[Role.TRUNK, seed]
    names = tuple(question.id for question, _ in asked)
    inserted = sum(trunk.changed.values())
    jobs = [
        Job(
            spec=spec,
            role=Role.TRUNK,
            strategy=Strategy.MULTIPLEX,
            questions=names,
            parents=(),
            run_equivalents=1 / seeds,
            reason=f"trunk of seed {seed}: questions that insert: {len(spec.treatments)}; "
            f"tokens changed: {inserted:.1%}{_how(spec, runs)}",
        )
    ]
    jobs += _measurements(study, spec, trunk.stream, asked, corpus, Role.ANSWER)
    if plain := runs.get((Role.PLAIN, seed)):
        jobs.append(
            Job(
                spec=plain,
                role=Role.PLAIN,
                strategy=Strategy.REPLICATE,
                questions=names,
                parents=(),
                run_equivalents=1 / seeds,
                reason=f"plain run of seed {seed}: nothing inserted, to test that sharing "
                f"did no harm{_how(plain, runs)}",
            )
        )
        jobs += _measurements(study, plain, trunk.stream, asked, corpus, Role.CHECK)
    return jobs


def _trunk(plain: TrainSpec, trunk: Trunk, asked: Sequence[tuple[Question, Treated]]) -> TrainSpec:
    inserting = [treated for question, treated in asked if trunk.changed[question.id]]
    ordered = tuple(sorted(inserting, key=lambda treated: treated.question))
    return replace(plain, treatments=ordered)


def _how(spec: TrainSpec, runs: Mapping[tuple[Role, int], TrainSpec]) -> str:
    if spec.compiled:
        return "; compiled, which pays for a run as long"
    others = sum(run.stack == spec.stack for run in runs.values()) - 1
    return f"; stacked with {others} more, which pays here" if spec.stack and others else ""


def _measurements(
    study: StudyDefinition,
    spec: TrainSpec,
    stream: TokenStream,
    asked: Sequence[tuple[Question, Treated]],
    corpus: Corpus,
    role: Role,
) -> list[Job]:
    run_tokens = study.recipe.tokens * len(study.recipe.seeds)
    which = "trunk" if role is Role.ANSWER else "plain run"
    strategy = Strategy.MULTIPLEX if role is Role.ANSWER else Strategy.REPLICATE
    heldout = methods()[HELDOUT_PROBE]
    blocks = min(heldout.cls().blocks, len(corpus.blocks("heldout", spec.sequence)))
    jobs = [
        Job(
            spec=MeasureSpec(trained=spec, probe=HELDOUT_PROBE, version=heldout.version),
            role=Role.HELDOUT if role is Role.ANSWER else Role.CHECK,
            strategy=strategy,
            questions=(),
            parents=(spec.key,),
            run_equivalents=blocks * spec.sequence * _FORWARD_SHARE / run_tokens,
            reason=f"held-out loss, {which} of seed {spec.seed}",
        )
    ]
    for question, treated in asked:
        probe = probe_of(question.method)
        tokens = sum(_test_tokens(item) for item in stream.items[question.id])
        jobs.append(
            Job(
                spec=MeasureSpec(
                    trained=spec, probe=probe.name, version=probe.version, treated=treated
                ),
                role=role,
                strategy=strategy,
                questions=(question.id,),
                parents=(spec.key,),
                run_equivalents=tokens * _FORWARD_SHARE / run_tokens,
                reason=f"{probe.name} of {len(stream.items[question.id])} items of "
                f"{question.id!r}, {which} of seed {spec.seed}",
            )
        )
    return jobs


def _test_tokens(item: Item) -> int:
    """Tokens that a probe of ``item`` reads."""
    test = item.test
    if isinstance(test, Completion):
        return len(test.prompt) + len(test.target)
    if isinstance(test, Choice):
        return sum(len(test.prompt) + len(option) for option in test.options)
    return sum(len(c.prompt) + len(c.target) for c in (*test.treated, *test.plain))


def _planned(
    study: StudyDefinition, question: Question, trunks: dict[int, Trunk]
) -> PlannedQuestion:
    items = [item for trunk in trunks.values() for item in trunk.stream.items[question.id]]
    top = max(question.treatment.doses)
    treated = sum(item.dose == top for item in items)
    control = sum(item.dose == 0 for item in items)
    strata = len(
        {(s, item.kind) for s, t in trunks.items() for item in t.stream.items[question.id]}
    )
    share = sum(trunk.changed[question.id] for trunk in trunks.values()) / len(trunks)
    assumptions = [
        "doses are dealt to items at random, by seed, in equal numbers within each kind of item",
        f"it changes {share:.2%} of the tokens, and questions do not touch each other"
        if share
        else "it changes nothing",
        f"items differ by a standard deviation of {question.outcome.spread:g} in "
        f"{question.outcome.name} (assumed, for the detectable effect only)",
    ]
    return PlannedQuestion(
        question=question,
        strategy=Strategy.MULTIPLEX,
        detectable_effect=detectable_effect(
            treated, control, question.outcome.spread, len(study.questions), strata
        ),
        units=len(items),
        assumptions=tuple(assumptions),
    )
