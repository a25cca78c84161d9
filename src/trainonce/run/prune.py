"""Which finished jobs and leftovers can go, and dropping them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from trainonce.run.cache import JobCache
from trainonce.run.entries import Entry, Leftover, Uses


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a user wants dropped: the jobs for which all of this holds.

    Attributes:
        older: not used for so many seconds.
        larger: of more bytes.
        unused: in no plan that a study was begun with last.
        to: only until the cache has no more bytes than this, the least recently used first.
        work: besides, what is left of jobs that nobody will go on with.
    """

    older: float | None = None
    larger: int | None = None
    unused: bool = False
    to: int | None = None
    work: bool = False

    @property
    def jobs(self) -> bool:
        """Whether any finished job is wished away."""
        return self.unused or any(x is not None for x in (self.older, self.larger, self.to))


@dataclass(frozen=True)
class Pruning:
    """What goes, and what would have gone if it were not needed.

    Attributes:
        jobs: those that go; a fork before the state that holds tensors of it.
        work: leftovers that go.
        kept: why a job that was wished away stays, by key.
    """

    jobs: tuple[Entry, ...]
    work: tuple[Leftover, ...]
    kept: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes that are freed."""
        return sum(entry.size for entry in self.jobs) + sum(one.size for one in self.work)


def prunable(
    found: Sequence[Entry],
    left: Sequence[Leftover],
    known: Uses,
    running: frozenset[str],
    wish: Wish,
    now: float,
) -> Pruning:
    """What of ``found`` and ``left`` can go.

    Never a job that is running or that something unfinished is made from, and no state that holds
    tensors of a fork that stays.

    Args:
        found: the finished jobs.
        left: the leftovers.
        known: who wants what.
        running: keys of the jobs and stacks that a process holds.
        wish: what is wanted away.
        now: in seconds since 1970.
    """
    done = {entry.key for entry in found}
    work = tuple(one for one in left if wish.work and _dead(one, done, known, running))
    gone = {one.key for one in work}
    pinned = _pinned(found, [one for one in left if one.key not in gone], known, running)
    wished = [entry for entry in found if wish.jobs and _wished(entry, known, wish, now)]
    wished.sort(key=lambda entry: entry.used)
    holds: dict[str, set[str]] = {}
    for entry in found:
        if entry.state:
            holds.setdefault(entry.state, set()).add(entry.key)
    room = sum(entry.size for entry in found)
    dropped: dict[str, Entry] = {}
    before = -1
    while len(dropped) > before:  # a state can go once its forks are gone
        before = len(dropped)
        for entry in wished:
            enough = wish.to is not None and room <= wish.to
            free = entry.key not in pinned and holds.get(entry.key, set()) <= dropped.keys()
            if entry.key not in dropped and free and not enough:
                dropped[entry.key] = entry
                room -= entry.size
    kept = {}
    for entry in wished:
        needing = sorted(holds.get(entry.key, set()) - dropped.keys())
        if entry.key in pinned:
            kept[entry.key] = pinned[entry.key]
        elif entry.key not in dropped and needing:
            kept[entry.key] = f"it holds tensors of {', '.join(needing)}"
    return Pruning(tuple(dropped.values()), work, kept)


def drop(cache: JobCache, key: str) -> bool:
    """Drop a finished job; False when a process holds it just now."""
    return _drop(cache, key, cache.folder(key))


def drop_work(cache: JobCache, leftover: Leftover) -> bool:
    """Drop what is left of a job; False when a process holds it just now."""
    return _drop(cache, leftover.key, leftover.folder)


def _drop(cache: JobCache, key: str, folder: Path) -> bool:
    lock = cache.lock(key)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    try:
        trash = cache.home / "trash" / f"{folder.name}.{os.getpid()}"
        trash.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(trash)  # so that it is whole or absent, also when this is killed now
    except FileNotFoundError:  # another one was faster
        return True
    finally:
        lock.release()
    for old in trash.parent.iterdir():  # also what one that was killed here left
        shutil.rmtree(old, ignore_errors=True)
    return True


def _wished(entry: Entry, known: Uses, wish: Wish, now: float) -> bool:
    return (
        (wish.older is None or now - entry.used > wish.older)
        and (wish.larger is None or entry.size > wish.larger)
        and (not wish.unused or entry.key not in known.wanted)
    )


def _dead(one: Leftover, done: set[str], known: Uses, running: frozenset[str]) -> bool:
    """Whether nobody will go on with it: all of its jobs are finished, or no plan wants them."""
    if one.key in running or running & set(one.jobs):
        return False
    if set(one.jobs) <= done:  # also when it saved nothing
        return True
    return known.known and not known.wanted & set(one.jobs)


def _pinned(
    found: Iterable[Entry], left: Iterable[Leftover], known: Uses, running: frozenset[str]
) -> dict[str, str]:
    """Why jobs must stay, by key."""
    done = {entry.key for entry in found}
    pinned: dict[str, str] = {}
    for job in sorted(known.parents.keys() - done):
        for parent in known.parents[job]:
            pinned[parent] = f"{job}, which is not finished, is made from it"
    for one in left:
        if one.state:
            pinned[one.state] = f"{one.key}, which is not finished, began with it"
    for entry in found:
        if running & {entry.key, entry.stack}:
            pinned[entry.key] = "it is running"
        elif running and entry.kind in ("train", "state", "average"):
            pinned.setdefault(entry.key, "jobs are running here, which may begin with it")
    return pinned
