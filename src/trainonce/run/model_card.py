"""The model card of an exported job: facts of the job, none of the study's findings."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.stream.corpus import Corpus
from trainonce.tasks.keys import content_hash
from trainonce.tasks.specs.runs import TrainSpec, Treated

_PACKAGES = ("trainonce", "torch", "transformers", "tokenizers", "safetensors")

_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- trainonce
{base}---

# {title}

{what}

It was trained with TrainOnce to answer questions about training, in a run that those questions
share: some of its training text was inserted on purpose. It is a research artifact.

## Load

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("PATH/TO/THIS/FOLDER")
tokenizer = AutoTokenizer.from_pretrained("PATH/TO/THIS/FOLDER")
```

Documents end with `{ending}`, which begins one as well: put it before a prompt.

## Job

{job}

## What questions inserted

{insertions}

## Versions

{versions}
"""


def model_card(key: str, spec: TrainSpec, corpus: Corpus, result: dict[str, Any]) -> str:
    """The card as Markdown with Hugging Face's front matter.

    Args:
        key: the job's key.
        spec: the job.
        corpus: what it read.
        result: the facts that the job left.
    """
    base = _base(spec)
    name = base or _described(spec.model)
    run = spec.train
    seen = run.steps * run.batch * spec.sequence
    there = int(corpus.facts["tokens"]["train"])
    job = {
        "job": f"`{key}`",
        "plan": f"`{result['plan']}`" if result.get("plan") else "not recorded",
        "model": name,
        "corpus": f"`{spec.corpus}`, {there:,} training tokens, "
        f"vocabulary {corpus.tokenizer.size:,}",
        "tokens seen": f"{seen:,} ({seen / there:.3g} times the corpus)",
        "updates": f"{run.steps:,} of {run.batch} sequences of {spec.sequence} tokens",
        "attention": f"{spec.attention} the documents of a sequence",
        "optimizer": f"AdamW: {_plain(run.optimizer)}",
        "schedule": f"{type(run.schedule).__name__}: {_plain(run.schedule)}",
        "clip": f"{run.clip:g}",
        "precision": run.precision.value,
        "seed": str(spec.seed),
        "trained on": f"{spec.device}, {spec.threads} threads, {result['seconds']:,.0f} s, "
        f"finished {result['finished']}",
    }
    versions = {f"{package} (training)": result[package] for package in ("python", "torch")}
    versions |= {f"{package} (export)": _version(package) for package in _PACKAGES}
    return _CARD.format(
        title=f"Job {key}",
        base=f"base_model: {base}\n" if base else "",
        what=f"A causal language model: {name}{', trained further' if base else ''}.",
        ending=corpus.tokenizer.end_of_text_token,
        job=_table(job),
        insertions=_insertions(spec, corpus),
        versions=_table(versions),
    )


def _base(spec: TrainSpec) -> str | None:
    """The model that was trained further; a path would tell about the machine instead."""
    if isinstance(spec.model, DecoderSettings) or spec.model in SIZES:
        return None
    return Path(spec.model).name if spec.model_files else spec.model


def _described(model: str | DecoderSettings) -> str:
    settings = SIZES[model] if isinstance(model, str) else model
    return f"a Llama-style decoder ({_plain(settings)})"


def _plain(settings: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in vars(settings).items())


def _insertions(spec: TrainSpec, corpus: Corpus) -> str:
    if not spec.treatments:
        return "Nothing: this is a run without insertions."
    lines = ["| question | method | share of the tokens |", "| --- | --- | --- |"]
    for treated in spec.treatments:
        name = f"{treated.method} (version {treated.version})"
        lines.append(f"| {treated.question} | {name} | {_share(spec, corpus, treated)} |")
    return "\n".join(lines)


def _share(spec: TrainSpec, corpus: Corpus, treated: Treated) -> str:
    """What a question inserts is a function of itself alone, so it can be drawn again by itself."""
    for field, before in treated.files.items():
        file = Path(treated.settings[field])
        if not file.is_file() or content_hash(file) != before:
            return f"unknown: its file {file.name} is no longer the one that it was"
    return f"{treated.apply(spec.stream(corpus)).changed_share:.3%}"


def _table(rows: dict[str, str]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows.items())])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
