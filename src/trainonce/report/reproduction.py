"""What it takes to get the same answers again."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from trainonce.analysis.answers import Answers
from trainonce.methods.bibliography import bibliography, bibtex
from trainonce.plan.plan import Plan
from trainonce.report.used import methods_used, papers_used
from trainonce.tasks.specs.runs import TrainSpec


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Command, versions, seeds, hashes and hardware.

    Attributes:
        command: what runs the study.
        facts: names and values, in the order in which they are told.
        hardware: where jobs ran, with their versions of Python and torch.
        study: the study file's text; empty where the plan does not know it.
        papers: arXiv ids to cite.
    """

    command: str
    facts: tuple[tuple[str, str], ...]
    hardware: tuple[str, ...]
    study: str
    papers: tuple[str, ...]

    @property
    def bibtex(self) -> str:
        """An entry for each of the papers."""
        return bibtex(self.papers)

    @property
    def citations(self) -> tuple[tuple[str, str], ...]:
        """Each paper's arXiv id, and who wrote what and when as far as that is known."""
        known = bibliography()
        return tuple(
            (paper, f"{one.byline}, {one.title}, {one.year}" if (one := known.get(paper)) else "")
            for paper in self.papers
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "command": self.command,
            **{name.replace(" ", "_"): value for name, value in self.facts},
            "hardware": list(self.hardware),
            "study_file": self.study,
            "papers": list(self.papers),
            "bibtex": self.bibtex,
        }


def reproduction(answers: Answers, plan: Plan) -> Reproduction:
    """What it takes to get ``answers`` again."""
    runs = (job.spec for job in plan.jobs if isinstance(job.spec, TrainSpec))
    corpora = dict.fromkeys(run.corpus for run in runs)
    used = ", ".join(f"{known.name} {known.version}" for known in methods_used(plan))
    facts = {
        "trainonce": version("trainonce"),
        "seeds": ", ".join(map(str, answers.seeds)),
        "plan": answers.plan_hash,
        "jobs": plan.jobs_hash,
        "study file, sha256": hashlib.sha256(plan.text.encode()).hexdigest() if plan.text else "",
        "corpus": ", ".join(corpora),
        "methods": used,
    }
    return Reproduction(
        command=f"trainonce run {shlex.quote(plan.file.name)}",
        facts=tuple((name, value) for name, value in facts.items() if value),
        hardware=answers.hardware,
        study=plan.text,
        papers=papers_used(plan),
    )
