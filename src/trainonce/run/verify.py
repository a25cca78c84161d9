"""Whether finished jobs are what they were when they were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from trainonce.run.cache import JobCache
from trainonce.train.checkpoints import checksum


def damages(folder: Path, sums: Mapping[str, str]) -> list[str]:
    """What is wrong with the files of a finished job, whose ``sums`` are those of its result."""
    if not sums:
        return ["it was written before results had checksums"]
    found = []
    for name, expected in sums.items():
        if not (folder / name).is_file():
            found.append(f"{folder / name} is missing")
        elif checksum(folder / name) != expected:
            found.append(f"{folder / name} is damaged: its checksum does not match")
    return found


def verify(cache: JobCache, keys: Iterable[str]) -> dict[str, list[str]]:
    """What is wrong with each job that is not whole, by key.

    A fork whose unchanged tensors are in a state that is damaged or gone is not whole either.
    """
    found: dict[str, list[str]] = {}
    rests_on: dict[str, str] = {}
    for key in keys:
        try:
            result = cache.result(key)
            wrong = damages(cache.folder(key), result.get("files", {}))
            if "unchanged" in result:
                rests_on[key] = str(result["unchanged"]["state"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            wrong = [f"{cache.folder(key) / 'result.json'} cannot be read: {error}"]
        if wrong:
            found[key] = wrong
    for key, state in rests_on.items():
        if state in found or not cache.done(state):
            why = "is damaged" if state in found else "is gone"
            found.setdefault(key, []).append(f"{state}, which holds tensors of it, {why}")
    return found
