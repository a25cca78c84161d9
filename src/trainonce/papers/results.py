"""What became of claims: a JSON file a claim, in the folder beside them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from trainonce.analysis.answers import finite
from trainonce.papers.claims import FOLDER, Claim
from trainonce.papers.looks import Found
from trainonce.papers.verdicts import Decision

RESULTS = FOLDER / "results"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a claim, and where from.

    Attributes:
        id: of the claim.
        verdict: by `trainonce.papers.verdicts.decide`.
        decided: the effect that decided it; of several, the one that is the least as it says.
        others: what else it looks at, its premises first; the study's other answers, where its
            paper's claim is one.
        seeds: of the study.
        seconds: that its jobs took, one after another.
        clock: what they are of: the ``processor``, or the ``wall``, by which a busy machine takes
            longer than a quiet one.
        budget: seconds that they may take on two cores, wall-clock time.
        study: hash of the claim's question and study, which tells whether they were changed since.
        plan: hash of the plan.
        versions: of what it was run with.
        machine: where its jobs ran.
        date: the day on which the last job ended.
    """

    id: str
    verdict: Decision
    decided: Found
    others: tuple[Found, ...]
    seeds: tuple[int, ...]
    seconds: float
    clock: Literal["processor", "wall"] = "wall"
    budget: float
    study: str
    plan: str
    versions: dict[str, str]
    machine: tuple[str, ...]
    date: str

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return dict(finite(asdict(self)))

    def write(self, folder: Path) -> Path:
        """Write it to ``<id>.json`` in a folder; what was there is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.id}.json"
        temporary = folder / f".{self.id}.{os.getpid()}.tmp"
        temporary.write_text(f"{json.dumps(self.to_json(), indent=1)}\n", encoding="utf-8")
        temporary.replace(file)
        return file


def study_hash(claim: Claim) -> str:
    """The hash of what decides a claim: its question, its rule, and its study."""
    decides = claim.decides if len(claim.decides) > 1 else claim.decides[0]
    rule: list[Any] = [decides, claim.holds, claim.premise, claim.document.value]
    if claim.contrasts:
        rule += [claim.against, claim.smallest]
    rule += [[one, claim.study(one).value["recipe"]] for one in claim.studied if one is not None]
    text = json.dumps(rule)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def kept(claim: Claim, folder: Path = RESULTS) -> Result | None:
    """The committed result of a claim; None where there is none."""
    file = folder / f"{claim.id}.json"
    if not file.is_file():
        return None
    return TypeAdapter(Result).validate_json(file.read_bytes())


def is_stale(claim: Claim, result: Result) -> bool:
    """Whether the claim's study was changed since."""
    return result.study != study_hash(claim)
