"""A store that homes share: finished jobs under any URL that fsspec opens."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from trainonce.run.cache import JobCache
from trainonce.run.verify import damages
from trainonce.tasks.specs.kinds import Spec

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

VARIABLE = "TRAINONCE_STORE"


class StoreWarning(UserWarning):
    """A store that could not be used; jobs are run and kept here as if there were none."""


@dataclass(frozen=True)
class Store:
    """Finished jobs under a URL.

    A job is ``jobs/KEY/``. Its files bear their checksums in their names, so that two that push the
    same job at once never mix, and ``result.json``, which comes last, makes it whole.

    Attributes:
        files: the file system.
        root: the URL's path in it.
    """

    files: AbstractFileSystem
    root: str

    @classmethod
    def at(cls, url: str) -> Store:
        """The store at ``url``.

        Raises:
            ImportError: when fsspec, or the package that it needs for this URL, is not there.
            ValueError: when fsspec knows no such URL.
        """
        import fsspec

        files, root = fsspec.url_to_fs(url)
        return cls(files, root.rstrip("/"))

    def fetch(self, key: str, cache: JobCache) -> bool:
        """Bring a job into ``cache``; False when it is not in the store.

        The caller holds the job's lock.

        Raises:
            ValueError: when it is damaged there; nothing is brought then.
            Exception: whatever the file system raises.
        """
        result = self._result(key)
        if result is None:
            return False
        spec: Spec = TypeAdapter(Spec).validate_python(result.get("spec"))
        if spec.key != key:
            raise ValueError(f"{self._path(key)} holds {spec.key} by what it says itself")
        sums = _checked(result)
        folder = cache.work(key) / "fetched"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            for name, checksum in sums.items():
                self.files.get_file(self._path(key, f"{checksum}-{name}"), str(folder / name))
            wrong = damages(folder, sums)
            if wrong:
                raise ValueError(f"{self._path(key)} does not hold what was pushed: {wrong[0]}")
            cache.adopt(spec, folder, result)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def push(self, key: str, cache: JobCache) -> None:
        """Bring a finished job of ``cache`` there, over what may be there and damaged.

        Raises:
            Exception: whatever the file system raises.
        """
        result = cache.result(key)
        self.files.makedirs(self._path(key), exist_ok=True)
        for name, checksum in result["files"].items():
            self.files.put_file(
                str(cache.folder(key) / name), self._path(key, f"{checksum}-{name}")
            )
        text = (cache.folder(key) / "result.json").read_bytes()
        self.files.pipe_file(self._path(key, "result.json"), text)

    def has(self, key: str) -> bool:
        """Whether a whole job is there.

        Raises:
            Exception: whatever the file system raises.
        """
        return bool(self.files.exists(self._path(key, "result.json")))

    def _result(self, key: str) -> dict[str, Any] | None:
        try:
            text = self.files.cat_file(self._path(key, "result.json"))
        except FileNotFoundError:
            return None
        return dict(json.loads(text))

    def _path(self, *parts: str) -> str:
        return "/".join((self.root, "jobs", *parts))


def fetched(key: str, cache: JobCache) -> bool:
    """Whether a job could be brought from the store that ``TRAINONCE_STORE`` names, if it does.

    What goes wrong is a warning: the job is run then.
    """
    try:
        store = named()
        return store.fetch(key, cache) if store else False
    except Exception as error:  # every file system raises its own
        _warn(f"job {key} could not be fetched", error)
        return False


def pushed(keys: Iterable[str], cache: JobCache) -> None:
    """Bring finished jobs to the store that ``TRAINONCE_STORE`` names, if it does.

    What goes wrong is a warning: they stay here.
    """
    for key in keys:
        try:
            store = named()
            if store:
                store.push(key, cache)
        except Exception as error:  # every file system raises its own
            _warn(f"job {key} could not be pushed", error)


def named() -> Store | None:
    """The store that ``TRAINONCE_STORE`` names.

    Raises:
        ImportError: as `Store.at`.
        ValueError: as `Store.at`.
    """
    url = os.environ.get(VARIABLE)
    return Store.at(url) if url else None


def _warn(what: str, error: Exception) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    help = "; pip install 'trainonce[store]'" if isinstance(error, ImportError) else ""
    warnings.warn(
        f"the store in {VARIABLE}: {what}: {type(error).__name__}: {reason}{help}. "
        "The study goes on without it",
        StoreWarning,
        stacklevel=3,
    )


def _checked(result: dict[str, Any]) -> dict[str, str]:
    """The checksums of a job that others wrote, whose names are names and no paths.

    Raises:
        ValueError: when it names what it must not.
    """
    sums = {str(name): str(checksum) for name, checksum in result["files"].items()}
    for name, checksum in sums.items():
        plain = Path(name).name == name and name not in ("..", "result.json")
        if not plain or not checksum.isalnum():
            raise ValueError(f"it names a file {name!r}")
    return sums
