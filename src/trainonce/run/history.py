"""What a home holds from before, for plans that stop losing arms by it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from trainonce.plan.early.settle import FinishedRun, Stopping
from trainonce.plan.measuring import heldout_spec
from trainonce.plan.plan import Plan
from trainonce.run.cache import JobCache
from trainonce.tasks.specs.runs import TrainSpec


@dataclass(frozen=True)
class HomeHistory:
    """The finished runs of a job cache, and what was settled when studies were begun there."""

    cache: JobCache

    def finished(self, alike: Callable[[TrainSpec], bool]) -> Iterator[FinishedRun]:
        """The finished runs that are ``alike`` and whose held-out loss was measured, by key."""
        adapter: TypeAdapter[TrainSpec] = TypeAdapter(TrainSpec)
        for key in sorted(self.cache.finished()):
            described = self.cache.result(key).get("spec", {})
            if described.get("kind") != "train":
                continue
            try:
                spec = adapter.validate_python(described)
            except ValidationError:  # of another version
                continue
            measured = heldout_spec(spec).key
            if spec.key == key and alike(spec) and self.cache.done(measured):
                heldout = float(self.cache.rows(measured)["value"].to_numpy().mean())
                yield FinishedRun(spec=spec, losses=self.cache.losses(key), heldout=heldout)

    def settled(self, name: str) -> Stopping | None:
        """What was settled under ``name`` when a study with it was begun."""
        file = self._folder / f"{name}.json"
        if not file.is_file():
            return None
        return TypeAdapter(Stopping).validate_json(file.read_bytes())

    def remember(self, plan: Plan) -> None:
        """Keep what was settled for the questions of a plan that begins; the first one stays."""
        for planned in plan.questions:
            stopping = planned.stopping
            if stopping is None or self.settled(stopping.name) is not None:
                continue
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary = self._folder / f".{stopping.name}.{os.getpid()}.tmp"
            temporary.write_text(json.dumps(asdict(stopping)), encoding="utf-8")
            temporary.replace(self._folder / f"{stopping.name}.json")

    @property
    def _folder(self) -> Path:
        return self.cache.home / "early"
