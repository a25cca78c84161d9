"""The base run of a study as a spec: its data, model and numbers on this machine."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import torch

from trainonce.models.build import ModelError, parameters, shape
from trainonce.models.decoder import DecoderSettings
from trainonce.plan.cost import whole_memory
from trainonce.plan.memory import ADAMW_BYTES
from trainonce.plan.parts import mixture_of
from trainonce.stream import smollm2
from trainonce.stream.corpora import CorpusError
from trainonce.stream.corpus import Corpus, Progress, prepare
from trainonce.stream.parts import Parts
from trainonce.stream.tokenizers import TokenizerError
from trainonce.study.load import StudyDefinition, placebo
from trainonce.study.problems import StudyError
from trainonce.study.questions import ItemQuestion
from trainonce.study.recipe import Recipe
from trainonce.tasks.keys import content_hash
from trainonce.tasks.specs.runs import TrainSpec, Treated
from trainonce.train.precision import resolve
from trainonce.train.settings import Parallel, TrainSettings

_ONE_THREAD_PARAMETERS = 5_000_000


def corpus_of(study: StudyDefinition, home: Path, progress: Progress | None) -> Corpus:
    """The study's corpus, prepared.

    Raises:
        StudyError: when it cannot be read, or has too little text for the study.
    """
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
        right = (
            f"too few stretches of {data.sequence} tokens within held-out documents to measure on; "
            "give more or longer documents, a larger `heldout`, or a shorter `sequence`"
        )
        raise StudyError([study.document.problem(place, data.corpus.name, right)])
    if study.recipe.attention == "within" and corpus.unclosed:
        right = (
            f"across: {corpus.unclosed} documents of this corpus do not end with its end-of-text "
            f"token {corpus.tokenizer.end_of_text}, so that a sequence does not tell where they end"
        )
        place = ("recipe", "data", "attention")
        raise StudyError([study.document.problem(place, "within", right)])
    return corpus


def treated_by(question: ItemQuestion) -> Treated:
    """The treatment of a question as jobs see it."""
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


def train_spec(
    study: StudyDefinition, corpus: Corpus, parts: Parts | None, seed: int, home: Path
) -> TrainSpec:
    """The base run at one seed, without insertions.

    Raises:
        StudyError: when the model cannot be had, or not be trained here.
    """
    recipe = study.recipe
    model = model_of(study, recipe, home)
    runs = len(recipe.seeds) * (2 if study.plain else 1)
    return TrainSpec(
        corpus=corpus.fingerprint,
        sequence=recipe.data.sequence,
        model=model,
        model_files=model_files(model),
        train=train_settings(recipe, home),
        seed=seed,
        device=_device().type,
        threads=_threads(study, model, corpus, runs),
        attention=recipe.attention,
        processes=recipe.processes,
        recompute=recipe.recompute,
        mixture=mixture_of(recipe, parts),
        objective=recipe.objective,
    )


def train_settings(recipe: Recipe, home: Path) -> TrainSettings:
    """The numbers of a run with this recipe, on this machine."""
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


def model_files(model: str | DecoderSettings) -> str | None:
    """Content hash of the files of a model that is read from a folder."""
    folder = Path(model) if isinstance(model, str) else None
    return content_hash(folder) if folder and folder.is_dir() else None


def model_of(study: StudyDefinition, recipe: Recipe, home: Path) -> str | DecoderSettings:
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
        size = size_of(study.recipe, model, corpus)
        refuse_too_large(size, study.recipe)
    except ModelError as error:
        raise _model_problem(study, error) from None
    if size < _ONE_THREAD_PARAMETERS:
        return 1
    processes = study.recipe.processes.count if study.recipe.processes else 1
    return max(1, (os.cpu_count() or 1) // (runs * processes))


def refuse_too_large(size: int, recipe: Recipe) -> None:
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


def size_of(recipe: Recipe, model: str | DecoderSettings, corpus: Corpus) -> int:
    """Parameters of a model with the vocabulary of ``corpus``."""
    boundary = corpus.tokenizer.end_of_text if recipe.attention == "within" else None
    with torch.device("meta"):
        return parameters(shape(model, corpus.tokenizer.size, boundary))
