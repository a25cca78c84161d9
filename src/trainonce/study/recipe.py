"""The recipe of a base run, checked and with every default in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.stream import smollm2
from trainonce.stream.corpora import CorpusSource
from trainonce.stream.corpus import DataSettings
from trainonce.stream.mixture import Counts
from trainonce.study.recipe_keys import ModelKeys, RecipeKeys
from trainonce.tasks.specs.runs import Placed
from trainonce.train.schedules import Schedule
from trainonce.train.settings import AdamWSettings, CheckpointSettings, OnNan, ProcessSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Model, data, optimizer, schedule and length of a base run, run once at each seed.

    No result depends on ``checkpoints``, which says when a run saves its state; nor on ``parts``,
    the patterns of each part of the corpus, but where ``mixture`` says what is read of which.
    """

    data: DataSettings
    parts: Mapping[str, tuple[str, ...]]
    mixture: Counts | None
    attention: Literal["across", "within"]
    model: str | DecoderSettings
    objective: Placed | None
    optimizer: AdamWSettings
    schedule: Schedule
    batch: int
    steps: int
    clip: float
    precision: str
    accumulate: int
    on_nan: OnNan
    processes: ProcessSettings | None
    recompute: bool
    checkpoints: CheckpointSettings
    seeds: tuple[int, ...]
    allow_changed: float

    @property
    def rows(self) -> int:
        """Sequences that a run reads."""
        return self.steps * self.batch

    @property
    def tokens(self) -> int:
        """Tokens that a run reads."""
        return self.rows * self.data.sequence


def resolve(keys: RecipeKeys, folder: Path) -> Recipe:
    """The recipe that ``keys`` say, in a study that lies in ``folder``."""
    tokenizer = keys.data.tokenizer
    return Recipe(
        data=DataSettings(
            corpus=CorpusSource(**keys.data.corpus.model_dump()),
            tokenizer=_local(tokenizer.name, folder) or tokenizer.vocabulary,
            sequence=keys.data.sequence,
            heldout=keys.data.heldout,
        ),
        parts={name: tuple(patterns) for name, patterns in keys.data.parts.items()},
        mixture=keys.data.counts,
        attention=keys.data.attention,
        model=model_of(keys.model, folder),
        objective=keys.objective.resolved(),
        optimizer=keys.optimizer.resolved(),
        schedule=keys.schedule.resolved(),
        batch=keys.batch,
        steps=keys.length.steps(keys.batch, keys.data.sequence),
        clip=keys.clip,
        precision=keys.precision,
        accumulate=keys.accumulate,
        on_nan=keys.on_nan,
        processes=keys.processes.resolved(),
        recompute=keys.recompute,
        checkpoints=keys.checkpoints.resolved(),
        seeds=tuple(keys.seeds),
        allow_changed=keys.allow_changed,
    )


def model_of(keys: ModelKeys, folder: Path) -> str | DecoderSettings:
    """The model that ``keys`` say, in a study that lies in ``folder``."""
    model = keys.resolved()
    if isinstance(model, DecoderSettings):
        return model
    return _local(model, folder) or model


def _local(name: str | None, folder: Path) -> str | None:
    """A name as it is, or as the absolute path of the folder beside the study that it means.

    Names of our own keep their meaning, whatever lies beside the study.
    """
    if name is None or name in SIZES or name == smollm2.NAME:
        return name
    local = (folder / Path(name).expanduser()).resolve()
    return str(local) if local.is_dir() else name
