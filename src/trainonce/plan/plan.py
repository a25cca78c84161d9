"""A plan: the graph of jobs that answers a study, with its cost and its assumptions."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trainonce.plan import shown
from trainonce.plan.jobs import Job
from trainonce.plan.planned import PlannedQuestion
from trainonce.stream.home import home as default_home
from trainonce.study.schema import AA
from trainonce.study.trackers import Tracker
from trainonce.train.settings import CheckpointSettings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The jobs that answer a study; planning and running share this one object.

    Attributes:
        study: the study's title.
        file: the study file.
        home: where corpora and jobs are kept.
        jobs: each after its parents.
        questions: the A/A question last.
        seeds: seeds of the base run.
        tokens: tokens that one training run reads.
        changed_share: share of them that insertions replace, over the seeds' mean.
        allow_changed: the largest share that the study allows.
        one_run_a_question: what the same questions cost when each trains its own run.
        checkpoints: when runs save their state; no result depends on it.
        tracking: what runs are tracked with; no result depends on it.
        text: the study file's text; no result depends on it.
        parts: fingerprint of the parts of the corpus that the recipe names; None where it names
            none. No result depends on it.
    """

    study: str
    file: Path
    home: Path
    jobs: tuple[Job, ...]
    questions: tuple[PlannedQuestion, ...]
    seeds: tuple[int, ...]
    tokens: int
    changed_share: float
    allow_changed: float
    one_run_a_question: float
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    tracking: tuple[Tracker, ...] = ()
    text: str = ""
    parts: str | None = None

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        return shown.html(self)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write it to a file, to be carried out later or elsewhere; see `trainonce.plan.saved`."""
        from trainonce.plan.saved import save  # which is made of plans

        save(self, Path(file))

    @classmethod
    def read(cls, file: str | os.PathLike[str], home: str | os.PathLike[str] | None = None) -> Plan:
        """A plan that `save` wrote.

        Args:
            file: what was written.
            home: where corpora and jobs are kept; as for `trainonce.lab.Study.load`.

        Raises:
            PlanFileError: when it was changed since, or cannot be carried out here.
        """
        from trainonce.plan.saved import read

        return read(Path(file), Path(home) if home else default_home())

    @property
    def run_equivalents(self) -> float:
        """The cost of the answers. One run-equivalent is the recipe, once at each of its seeds."""
        return sum(job.run_equivalents for job in self.jobs if not job.is_check)

    @property
    def checks_run_equivalents(self) -> float:
        """The cost, on top, of testing that sharing did no harm."""
        return sum(job.run_equivalents for job in self.jobs if job.is_check)

    @cached_property
    def hash(self) -> str:
        """The hash of the jobs and of how their measurements become answers."""
        asked = [
            (
                *(q.question.id, q.question.outcome.name, q.question.direction),
                *(q.question.smallest, *([arm.label, *arm.measured, *arm.real] for arm in q.arms)),
                *q.rests_on,
            )
            for q in self.questions
        ]
        return _hash([self.jobs_hash, sorted(asked)])

    @cached_property
    def jobs_hash(self) -> str:
        """The hash of the jobs alone."""
        return _hash(sorted(job.key for job in self.jobs))

    @property
    def over_task(self) -> bool:
        """Whether it tries a task, rather than train runs that read a corpus."""
        return all(job.kind == "trial" for job in self.jobs)

    def job(self, key: str) -> Job:
        """The job of a key."""
        return self._by_key[key]

    @cached_property
    def _by_key(self) -> dict[str, Job]:
        return {job.key: job for job in self.jobs}

    def shares_with(self, question: str) -> tuple[str, ...]:
        """The other questions that a training run of ``question`` serves too, but for the A/A."""
        return tuple(
            name for name in self._together.get(question, ()) if name not in (question, AA)
        )

    @cached_property
    def _together(self) -> dict[str, dict[str, None]]:
        """By question, the questions that its training runs serve."""
        groups = {job.questions for job in self.jobs if job.kind != "measure" and not job.is_check}
        found: dict[str, dict[str, None]] = {}
        for group in sorted(groups):
            for name in group:
                found.setdefault(name, {}).update(dict.fromkeys(group))
        return found

    def to_json(self) -> dict[str, Any]:
        """The plan as one JSON document."""
        return {
            "study": self.study,
            "hash": self.hash,
            "run_equivalents": round(self.run_equivalents, 4),
            "checks_run_equivalents": round(self.checks_run_equivalents, 4),
            "one_run_a_question": round(self.one_run_a_question, 4),
            "seeds": list(self.seeds),
            "tokens_a_run": self.tokens,
            "changed_share": self.changed_share,
            "allow_changed": self.allow_changed,
            "jobs": [
                {
                    "key": job.key,
                    "kind": job.kind,
                    "role": job.role.value,
                    "strategy": job.strategy.value,
                    "seed": job.seed,
                    "stack": job.stack,
                    "questions": list(job.questions),
                    "parents": list(job.parents),
                    "gates": [asdict(gate) for gate in job.gates],
                    "run_equivalents": round(job.run_equivalents, 6),
                    "code": job.code.value,
                    "reason": job.reason,
                }
                for job in self.jobs
            ],
            "questions": [
                {
                    "id": planned.question.id,
                    "ask": planned.question.ask,
                    "method": planned.question.treated_by,
                    "unit": planned.question.unit.value,
                    "sites": [site.value for site in planned.sites],
                    "arms": [arm.label for arm in planned.arms],
                    "outcome": planned.question.outcome.name,
                    "strategy": planned.strategy.value,
                    "shares_with": list(self.shares_with(planned.question.id)),
                    "units": planned.units,
                    "measured_after": list(planned.during),
                    "detectable_effect": planned.detectable_effect,
                    "smallest_effect": planned.question.smallest,
                    "assumptions": list(planned.assumptions),
                    "ladder": asdict(planned.ladder) if planned.ladder else None,
                }
                for planned in self.questions
            ],
        }


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]
