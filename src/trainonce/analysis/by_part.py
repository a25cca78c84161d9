"""Training losses by part of the corpus: what each sequence of a run was is known afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trainonce.analysis.answers import PartCurve
from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache
from trainonce.stream.corpora import CorpusError
from trainonce.stream.corpus import Corpus
from trainonce.stream.parts import Parts
from trainonce.tasks.specs.runs import TrainSpec

NAMES = {Role.TRUNK: "trunk", Role.PLAIN: "plain run"}
"""What curves call the runs that questions share and are checked against."""

_POINTS = 100
_SEQUENCES = 16  # that a point is the mean of, at least: a loss has a spread of about half a nat


def curves_by_part(plan: Plan, cache: JobCache) -> tuple[PartCurve, ...]:
    """The losses of trunk and plain run on each part of the corpus, all seeds together.

    Empty where the recipe names no parts, where the corpus is not there any more, and of runs that
    an earlier version trained, which kept no losses of single sequences.
    """
    if plan.parts is None:
        return ()
    found = []
    for role, name in NAMES.items():
        specs = [
            job.spec for job in plan.jobs if job.role is role and isinstance(job.spec, TrainSpec)
        ]
        try:
            found += list(_curves(name, specs, plan.parts, cache))
        except (CorpusError, OSError):
            continue
    return tuple(found)


def _curves(
    name: str, specs: list[TrainSpec], fingerprint: str, cache: JobCache
) -> Iterator[PartCurve]:
    """A curve a part that was read, in the order of the parts."""
    steps, parts, losses, names = [], [], [], tuple[str, ...]()
    for spec in specs:
        found = Parts(Corpus(cache.home / "corpora" / spec.corpus), fingerprint)
        names = found.names
        own = cache.losses_by_sequence(spec.key)
        losses.append(own.ravel())
        steps.append(np.repeat(np.arange(1, len(own) + 1), own.shape[1]))
        parts.append(spec.stream(found.corpus).parts(found, np.arange(own.size)))
    for number, part in enumerate(names):
        mine = [of == number for of in parts]
        step = np.concatenate([s[m] for s, m in zip(steps, mine, strict=True)])
        loss = np.concatenate([one[m] for one, m in zip(losses, mine, strict=True)])
        good = np.isfinite(loss)
        if good.any():
            yield _curve(part, name, step[good], loss[good])


def _curve(
    part: str, name: str, steps: npt.NDArray[np.int64], losses: npt.NDArray[np.float32]
) -> PartCurve:
    order = np.argsort(steps, kind="stable")
    stretches = np.array_split(order, min(_POINTS, max(1, len(order) // _SEQUENCES)))
    return PartCurve(
        part=part,
        name=name,
        steps=tuple(int(steps[stretch[-1]]) for stretch in stretches),
        losses=tuple(round(float(losses[stretch].mean()), 4) for stretch in stretches),
        sequences=len(order),
    )
