"""The keys of a study's recipe, with their types and defaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from trainonce.methods.registry import Method, methods
from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.sites import Family, SettingError, Site
from trainonce.stream.corpora import looks_like_a_path
from trainonce.stream.mixture import Counts, counts_of
from trainonce.stream.parts import REST
from trainonce.study.problems import nearest
from trainonce.study.quantities import Every, EveryField, Length, LengthField, Share
from trainonce.tasks.specs.runs import Placed
from trainonce.train.schedules import Cosine, Schedule, WarmupStableDecay
from trainonce.train.settings import (
    AdamWSettings,
    CheckpointSettings,
    OnNan,
    Parallel,
    ProcessSettings,
)

CROSS_ENTROPY = "cross_entropy"
"""The objective of a run unless its recipe names another one."""


class Strict(BaseModel):
    """Keys of which an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def named(key: str) -> BeforeValidator:
    """Let a plain value stand for a mapping with that value under ``key``."""
    return BeforeValidator(lambda value: value if isinstance(value, dict) else {key: value})


class CorpusKeys(Strict):
    """``corpus``: a name, path or dataset id, or a mapping of these."""

    name: str
    field: str = "text"
    split: str = "train"
    end: Annotated[int, Field(ge=0)] | None = None
    dtype: Literal["uint16", "uint32"] | None = None

    @field_validator("name")
    @classmethod
    def _found_beside_the_study(cls, name: str, info: ValidationInfo) -> str:
        if name == "stdlib":
            return name
        local = (Path((info.context or {}).get("folder", ".")) / Path(name).expanduser()).resolve()
        for found in (local, local.with_name(f"{local.name}.idx")):
            if found.exists():
                return str(found)
        if looks_like_a_path(name):
            raise ValueError("there is no such file or folder")
        return name


class TokenizerKeys(Strict):
    """``tokenizer``: ``vocabulary`` of a byte-level BPE trained on the corpus, or a ``name``."""

    name: str | None = None
    vocabulary: Annotated[int, Field(ge=257, le=1_000_000)] = 1024


PartName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


def listed(value: Any) -> Any:
    """One name or pattern stands for a list of it."""
    return [value] if isinstance(value, str) else value


Patterns = Annotated[
    list[Annotated[str, Field(min_length=1)]], Field(min_length=1), BeforeValidator(listed)
]


class DataKeys(Strict):
    """``recipe.data``."""

    corpus: Annotated[CorpusKeys, named("name")] = CorpusKeys(name="stdlib")
    tokenizer: Annotated[TokenizerKeys, named("name")] = TokenizerKeys()
    sequence: Annotated[int, Field(ge=8, le=1_048_576)] = 128
    heldout: Share = 0.1
    attention: Literal["across", "within"] = "across"
    parts: Annotated[dict[PartName, Patterns], Field(max_length=100)] = {}
    mixture: dict[str, Share] | None = None

    @field_validator("heldout")
    @classmethod
    def _heldout_leaves_both(cls, share: float) -> float:
        if not 0 < share < 0.9:
            raise ValueError("a share above 0 and under 0.9: some documents must be held out")
        return share

    @model_validator(mode="after")
    def _mixed_of_its_parts(self) -> DataKeys:
        if REST in self.parts:
            message = f"another name than {REST!r}, which is all that matches no pattern"
            raise SettingError("parts", message)
        if self.mixture is None:
            return self
        if not self.parts:
            message = "needs `recipe.data.parts`: a name and patterns for each part to mix"
            raise SettingError("mixture", message)
        known = (*self.parts, REST)
        for name in self.mixture:
            if name not in known:
                raise SettingError("mixture", f"there is no part {name!r}; {nearest(name, known)}")
        try:
            counts_of(self.mixture)
        except ValueError as error:
            raise SettingError("mixture", str(error)) from None
        return self

    @property
    def counts(self) -> Counts | None:
        """What is read of which part; None for the corpus as a whole."""
        return None if self.mixture is None else counts_of(self.mixture)


class ModelKeys(Strict):
    """``recipe.model``: a size or Hugging Face ``name``, or the numbers of a decoder.

    Numbers beside a size's name are that size's but for these.
    """

    name: str | None = None
    width: Annotated[int, Field(ge=8)] | None = None
    layers: Annotated[int, Field(ge=1)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    kv_heads: Annotated[int, Field(ge=1)] | None = None
    hidden: Annotated[int, Field(ge=1)] | None = None
    rope_base: Annotated[float, Field(gt=0)] = 10_000.0
    tied: bool = True

    @model_validator(mode="after")
    def _name_or_numbers(self) -> ModelKeys:
        self._check()
        return self

    def _check(self) -> None:
        if self.name is None and None in (self.width, self.layers, self.heads):
            raise ValueError("a name, or width, layers and heads")
        if self.name is not None and self.name not in SIZES and self._numbers:
            told = f"{', '.join(SIZES)} can have other numbers; {self.name!r} is what it is"
            raise SettingError(next(iter(self._numbers)), told)
        self.resolved()

    @property
    def _numbers(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name"}, exclude_unset=True)

    def resolved(self) -> str | DecoderSettings:
        """The name, or the decoder's settings."""
        if self.name is None:
            return DecoderSettings(**self._numbers)
        if not self._numbers:
            return self.name
        settings = replace(SIZES[self.name], **self._numbers)
        return self.name if settings == SIZES[self.name] else settings


class RungKeys(ModelKeys):
    """``questions[].ladder[]``: a share of the width of the arm's model, or a model."""

    share: Share | None = None

    @model_validator(mode="before")
    @classmethod
    def _share_or_name(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        named = isinstance(value, str) and not value.strip().endswith("%")
        return {"name": value} if named else {"share": value}

    @field_validator("share")
    @classmethod
    def _inside(cls, share: float | None) -> float | None:
        if share in (0, 1):
            raise ValueError("a share of the width above 0 and under 100%")
        return share

    @model_validator(mode="after")
    def _name_or_numbers(self) -> RungKeys:
        if self.share is None:
            self._check()
        elif self.model_fields_set != {"share"}:
            raise SettingError("share", "stands alone: a share of the width, or a model")
        return self


class OptimizerKeys(Strict):
    """``recipe.optimizer``."""

    name: Literal["adamw"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 3e-3
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.95,
    )
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.1

    def resolved(self) -> AdamWSettings:
        """AdamW's settings."""
        return AdamWSettings(**self.model_dump(exclude={"name"}))


class ObjectiveKeys(BaseModel):
    """``recipe.objective``: a method of the site, of the family language, with its settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = CROSS_ENTROPY

    @model_validator(mode="after")
    def _known(self) -> ObjectiveKeys:
        self.resolved()
        return self

    def resolved(self) -> Placed | None:
        """The method and its settings; None for cross-entropy."""
        given = dict(self.model_extra or {})
        if self.name == CROSS_ENTROPY:
            for name in given:
                raise SettingError(name, f"{CROSS_ENTROPY} has no settings")
            return None
        objectives = methods(Site.OBJECTIVE)
        known = objectives.get(self.name)
        if known is None or known.family is not Family.LANGUAGE:
            names = [n for n, one in objectives.items() if one.family is Family.LANGUAGE]
            raise SettingError("name", nearest(self.name, (CROSS_ENTROPY, *names)))
        try:
            settings: Any = TypeAdapter(known.cls).validate_python(given)
        except ValidationError as error:
            raise _wrong_setting(known, error) from None
        return Placed.of(known, settings)


def _wrong_setting(known: Method, error: ValidationError) -> SettingError:
    """The first thing that is wrong with a method's settings."""
    details = error.errors()[0]
    inner = details.get("ctx", {}).get("error")
    if isinstance(inner, SettingError):
        return inner
    name = str(details["loc"][0]) if details["loc"] else "name"
    if name not in known.settings:
        return SettingError(
            name, f"{known.name} has no such setting; {nearest(name, known.settings)}"
        )
    return SettingError(name, details["msg"][:1].lower() + details["msg"][1:])


class ScheduleKeys(Strict):
    """``recipe.schedule``."""

    name: Literal["wsd", "cosine"] = "wsd"
    warmup: Share = 0.05
    decay: Share | None = None
    floor: Share | None = None

    @model_validator(mode="after")
    def _cosine_has_no_decay(self) -> ScheduleKeys:
        if self.name == "cosine" and self.decay is not None:
            raise SettingError("decay", "belongs to wsd; a cosine decays all the way")
        if self.warmup + (self.decay or 0) > 1:
            raise SettingError("warmup", "warmup and decay together are longer than the run")
        return self

    def resolved(self) -> Schedule:
        """The schedule, with the defaults of its kind."""
        given = {
            key: value
            for key, value in self.model_dump(exclude={"name"}).items()
            if value is not None
        }
        return Cosine(**given) if self.name == "cosine" else WarmupStableDecay(**given)


class CheckpointKeys(Strict):
    """``recipe.checkpoints``: how often a run saves its state, and how many of these it keeps."""

    every: EveryField = Every(CheckpointSettings.seconds)
    keep: Annotated[int, Field(ge=1)] = CheckpointSettings.keep

    def resolved(self) -> CheckpointSettings:
        """The settings."""
        return CheckpointSettings(
            seconds=self.every.seconds, steps=self.every.steps, keep=self.keep
        )


class ProcessKeys(Strict):
    """``recipe.processes``: how many train one run together, and what they share."""

    count: Annotated[int, Field(ge=1)] = 1
    parallel: Parallel = Parallel.DDP

    def resolved(self) -> ProcessSettings | None:
        """The settings, None for one process."""
        return ProcessSettings(**self.model_dump()) if self.count > 1 else None


class RecipeKeys(Strict):
    """``recipe``: model, data, optimizer, schedule and length of the base run."""

    data: DataKeys = DataKeys()
    model: Annotated[ModelKeys, named("name")] = ModelKeys(name="nano")
    optimizer: Annotated[OptimizerKeys, named("name")] = OptimizerKeys()
    schedule: Annotated[ScheduleKeys, named("name")] = ScheduleKeys()
    objective: Annotated[ObjectiveKeys, named("name")] = ObjectiveKeys()
    batch: Annotated[int, Field(ge=1)] = 8
    accumulate: Annotated[int, Field(ge=1)] = 1
    length: LengthField = Length(2000, "steps")
    clip: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    on_nan: OnNan = OnNan.STOP
    processes: Annotated[ProcessKeys, named("count")] = ProcessKeys()
    recompute: bool = False
    checkpoints: CheckpointKeys = CheckpointKeys()
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [1]
    allow_changed: Share = 0.02

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_seed_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("different seeds: the same one twice is the same run twice")
        return seeds

    @model_validator(mode="after")
    def _parts_of_a_batch_are_equal(self) -> RecipeKeys:
        if self.batch % self.accumulate:
            message = f"a divisor of the batch, which has {self.batch} sequences"
            raise SettingError("accumulate", message)
        parts = self.accumulate * self.processes.count
        if self.batch % parts:
            message = (
                f"a number that parts the batch of {self.batch} sequences evenly; with accumulate "
                f"it makes {parts} parts"
            )
            raise SettingError("processes", message)
        return self
