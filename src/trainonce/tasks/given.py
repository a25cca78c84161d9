"""Data of the user's own as a setting of a task: a file, a folder or a Hugging Face dataset.

What stands there is a part of a job's key by its fingerprint, so that changed data are never taken
for those that a finished trial read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash
from pydantic import GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from trainonce.stream.corpora import looks_like_a_path
from trainonce.tasks.extras import needed
from trainonce.tasks.keys import content_hash

FOLDER = "folder"
"""The key of a validation's context that holds the folder which relative paths start from."""
_ROWS = 1_000
_ID = re.compile(r"[\w.-]+/[\w.-]+")


class GivenError(ValueError):
    """Data of the user's own that cannot be read; the message says which, and what would help."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Data of the user's own.

    Attributes:
        name: the path of a file or folder, or the id of a Hugging Face dataset.
        fingerprint: a hash of all that stands there.
    """

    name: str
    fingerprint: str

    def __str__(self) -> str:
        """Its name."""
        return self.name

    @property
    def path(self) -> Path | None:
        """Where it is; none for a dataset."""
        return Path(self.name) if looks_like_a_path(self.name) else None

    def checked(self) -> Given:
        """Itself, where what stands there is what it is the fingerprint of.

        Raises:
            GivenError: when that has changed since, or has gone.
        """
        if _fingerprint(self.name) != self.fingerprint:
            raise GivenError(
                f"{self.name} has changed since the study was planned: run the study again"
            )
        return self


@dataclass(frozen=True)
class Or:
    """Marks a task's setting that names data: one of ``names``, or data of the user's own.

    >>> from typing import Annotated
    >>> Data = Annotated[str | Given, Or("digits", "mnist")]

    In a study file the latter is a path, which starts from the file's folder, or the id of a
    Hugging Face dataset, with a ``/`` in it.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """How pydantic reads such a setting and writes it."""
        return _schema(self._read)

    def _read(self, value: Any, info: core_schema.ValidationInfo) -> str | Given:
        found = _named_or_there(value, self.names, info)
        if found is not None:
            return found
        if not (isinstance(value, str) and "/" in value and not looks_like_a_path(value)):
            raise PydanticCustomError(
                "data",
                "one of {names}, the path of a file or folder that is there, or the id of a "
                "Hugging Face dataset (owner/name)",
                {"names": ", ".join(self.names)},
            )
        try:
            return Given(name=value, fingerprint=_fingerprint(value))
        except (GivenError, ImportError) as error:
            raise PydanticCustomError("data", "{why}", {"why": str(error)}) from error


@dataclass(frozen=True)
class OrModel:
    """Marks a setting that names a model: one of ``names``, a folder, or an id of Hugging Face.

    A folder counts by what stands in it; an id by itself, as the hub keeps what it gave.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """How pydantic reads such a setting and writes it."""
        return _schema(self._read)

    def _read(self, value: Any, info: core_schema.ValidationInfo) -> str | Given:
        found = _named_or_there(value, self.names, info)
        if found is not None:
            return found
        if isinstance(value, str) and _ID.fullmatch(value):
            return value
        raise PydanticCustomError(
            "model",
            "one of {names}, a folder that is there, or the id of a model of Hugging Face "
            "(owner/name)",
            {"names": ", ".join(self.names)},
        )


def _named_or_there(
    value: Any, names: tuple[str, ...], info: core_schema.ValidationInfo
) -> str | Given | None:
    """What every such setting may be: one of the names, or a path where something stands."""
    if isinstance(value, Given):
        return value
    if isinstance(value, dict) and set(value) == {"name", "fingerprint"}:
        return Given(**value)
    if not isinstance(value, str) or value in names:
        return value if isinstance(value, str) else None
    place = Path((info.context or {}).get(FOLDER, ".")) / Path(value).expanduser()
    if not place.exists():
        return None
    name = str(place.resolve())
    return Given(name=name, fingerprint=_fingerprint(name))


def _schema(
    read: Callable[[Any, core_schema.ValidationInfo], str | Given],
) -> core_schema.CoreSchema:
    return core_schema.with_info_plain_validator_function(
        read, serialization=core_schema.plain_serializer_function_ser_schema(_plain)
    )


def dataset(name: str) -> Any:
    """The training split of a Hugging Face dataset, downloaded at the first call.

    Raises:
        GivenError: when there is none, or it cannot be reached.
        MissingPackageError: when ``datasets`` is not installed.
    """
    datasets = needed("datasets", "hf")
    try:
        return datasets.load_dataset(name, split="train")
    except Exception as error:  # whatever the hub or a file raises
        raise GivenError(f"Hugging Face cannot load the dataset {name}: {error}") from error


def _plain(value: str | Given) -> Any:
    return asdict(value) if isinstance(value, Given) else value


def _fingerprint(name: str) -> str:
    """A hash of what stands at a path, or of a dataset's rows."""
    if looks_like_a_path(name):
        if not Path(name).exists():
            raise GivenError(f"there is no file or folder {name}")
        return content_hash(Path(name))
    digest = xxhash.xxh3_128()
    for rows in dataset(name).with_format("arrow").iter(_ROWS):
        digest.update(rows.combine_chunks().to_batches()[0].serialize())
    return digest.hexdigest()
