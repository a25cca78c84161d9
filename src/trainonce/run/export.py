"""A finished train job as a folder that Hugging Face's own classes load."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError
from torch import nn

from trainonce.models.build import ModelError
from trainonce.models.decoder import Decoder
from trainonce.models.llama import as_llama
from trainonce.run.cache import JobCache
from trainonce.run.model_card import model_card
from trainonce.stream.corpus import Corpus
from trainonce.stream.tokenizers import (
    FastTokenizer,
    TokenizerError,
    as_hugging_face,
    load_hugging_face,
)
from trainonce.tasks.language import untrained
from trainonce.tasks.specs.kinds import Spec
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import AverageSpec, TrainSpec
from trainonce.tasks.trial import TrialSpec
from trainonce.train.state import load_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_LISTED = 12


class ExportError(ValueError):
    """A job that cannot be exported; the message says what would help."""


def export(cache: JobCache, key: str, folder: Path) -> str:
    """Write the model that a train job left, its tokenizer and a model card to ``folder``.

    ``AutoModelForCausalLM.from_pretrained`` and ``AutoTokenizer.from_pretrained`` load it; our own
    decoder becomes a Llama. The folder is whole or absent.

    Args:
        cache: where the job is.
        key: the job's key, or a prefix of it that no other train job has.
        folder: an empty folder, or one that does not exist yet.

    Returns:
        The job's whole key.

    Raises:
        ExportError: when there is no such train job or more than one, the folder holds something,
            or what the job was made of is no longer there.
    """
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise ExportError("export needs: pip install 'trainonce[hf]'") from None
    key, spec = find(cache, key)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} exists and stays as it is; name an empty or a new folder")
    corpus = Corpus(cache.home / "corpora" / spec.corpus)
    if not (corpus.folder / "corpus.json").is_file():
        raise ExportError(
            f"the corpus of job {key} is no longer in {cache.home}; "
            "`trainonce plan` of its study brings it back"
        )
    try:
        model = untrained(spec, corpus)
        load_weights(model, cache.weights(key))
        tokenizer = _tokenizer(corpus)
    except (ModelError, TokenizerError) as error:
        raise ExportError(f"job {key}: {error}") from None
    temporary = folder.with_name(f".{folder.name}.{key}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    _as_hugging_face(model, spec, corpus.tokenizer).save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    card = model_card(key, spec, corpus, cache.result(key))
    (temporary / "README.md").write_text(card, encoding="utf-8")
    if folder.exists():
        folder.rmdir()
    temporary.replace(folder)
    return key


def find(cache: JobCache, prefix: str) -> tuple[str, TrainSpec]:
    """The key and spec of the one finished train job whose key begins with ``prefix``.

    Raises:
        ExportError: when there is none or more than one; the message lists candidates.
    """
    specs = _specs(cache, prefix)
    trained = _trained(specs)
    if len(trained) == 1:
        return next(iter(trained.items()))
    if trained:
        raise ExportError(f"{len(trained)} train jobs begin with {prefix!r}:\n{_list(trained)}")
    for key, spec in specs.items():
        if isinstance(spec, MeasureSpec):
            raise ExportError(
                f"job {key} measures ({spec.probe}) and has no model; "
                f"the train job that it measured is {spec.trained.key}"
            )
        if isinstance(spec, AverageSpec):
            runs = ", ".join(run.key for run in spec.models)
            raise ExportError(
                f"job {key} averages the parameters of runs, to stand for one that was not "
                f"trained; those runs are {runs}"
            )
        if isinstance(spec, TrialSpec):
            raise ExportError(
                f"job {key} is a trial of task {spec.task} and keeps what it measured, no model"
            )
    if unreadable := cache.finished(prefix):
        raise ExportError(f"job {unreadable[0]} was written by another version of TrainOnce")
    others = _trained(_specs(cache, ""))
    there = f"there are:\n{_list(others)}" if others else "there is no finished train job at all"
    raise ExportError(f"no finished job in {cache.home} begins with {prefix!r}; {there}")


def _specs(cache: JobCache, prefix: str) -> dict[str, Spec]:
    """The specs of finished jobs, less those that this version cannot read."""
    adapter: TypeAdapter[Spec] = TypeAdapter(Spec)
    specs = {}
    for key in cache.finished(prefix):
        with suppress(ValidationError):
            specs[key] = adapter.validate_python(cache.result(key)["spec"])
    return specs


def _trained(specs: dict[str, Spec]) -> dict[str, TrainSpec]:
    return {key: spec for key, spec in specs.items() if isinstance(spec, TrainSpec)}


def _list(specs: dict[str, TrainSpec]) -> str:
    lines = [
        f"  {key}  seed {spec.seed}, {spec.train.steps} steps, "
        f"{len(spec.treatments)} questions insert"
        for key, spec in list(specs.items())[:_LISTED]
    ]
    more = len(specs) - _LISTED
    return "\n".join(lines + ([f"  and {more} more"] if more > 0 else []))


def _tokenizer(corpus: Corpus) -> PreTrainedTokenizerFast:
    """The tokenizer with all that Hugging Face keeps beside it, if it came from there."""
    named = corpus.facts["tokenizer"]
    if named is None:
        return as_hugging_face(corpus.tokenizer)
    loaded = load_hugging_face(named)
    now = FastTokenizer(loaded.backend_tokenizer, corpus.tokenizer.end_of_text_token)
    if now.fingerprint != corpus.tokenizer.fingerprint:
        raise TokenizerError(f"the tokenizer {named!r} is no longer the one that it was")
    return loaded


def _as_hugging_face(
    model: nn.Module, spec: TrainSpec, tokenizer: FastTokenizer
) -> PreTrainedModel:
    if isinstance(model, Decoder):
        return as_llama(model, positions=spec.sequence, end_of_text=tokenizer.end_of_text)
    inner: PreTrainedModel = model.inner  # type: ignore[assignment]
    return inner
