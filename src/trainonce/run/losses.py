"""The losses of a run that is not finished, as far as it has saved them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from trainonce.run.cache import JobCache
from trainonce.train.checkpoints import TENSORS, CheckpointError, Checkpoints, peek

_LOSSES = "losses"


def saved_losses(cache: JobCache, key: str, others: Iterable[str] = ()) -> npt.NDArray[np.float64]:
    """The loss before each update of a train job, all of them or those up to its latest state.

    Args:
        cache: of the home that the job belongs to.
        key: the job's.
        others: what else may hold its state: its state jobs, its stack.
    """
    try:
        if cache.done(key):
            return cache.losses(key)
    except (OSError, ValueError):  # dropped since, or a job that is finished without losses
        return np.empty(0)
    best, longest = np.empty(0), 0
    for folder in _states(cache, (key, *others)):
        try:
            facts = peek(folder)
            if facts["step"] > longest:
                best, longest = _read(folder, key, facts), facts["step"]
        # replaced while we look, or a run of several processes, whose states have other files
        except (OSError, SafetensorError, CheckpointError, KeyError, ValueError):
            continue
    return best


def _states(cache: JobCache, names: Iterable[str]) -> Iterable[Path]:
    for name in names:
        if cache.done(name):
            yield cache.folder(name)
        yield from Checkpoints(cache.work(name) / "checkpoints").folders()[-1:]


def _read(folder: Path, key: str, facts: dict[str, object]) -> npt.NDArray[np.float64]:
    """Only this one tensor of a state is read; of a stack, the run's own column."""
    with safe_open(folder / TENSORS, framework="np") as kept:
        losses = np.asarray(kept.get_tensor(_LOSSES), dtype=np.float64)
    stack = facts.get("stack")
    own = losses[:, stack.index(key)] if isinstance(stack, list) else losses
    step = facts["step"]
    assert isinstance(step, int)
    return own[:step]
