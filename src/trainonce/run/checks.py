"""Which dependence test a study was put to, so that its report shows what was found."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trainonce.plan.dependence import Asked, Layout
from trainonce.plan.plan import Plan


def remember(plan: Plan, asked: Asked) -> None:
    """Keep what was asked of the study of ``plan``, in place of what was before."""
    file = _file(plan)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(asked.to_json()), encoding="utf-8")
    temporary.replace(file)


def remembered(plan: Plan) -> Asked | None:
    """What was asked of the study of ``plan`` last; None where nothing was, or nothing whole."""
    try:
        facts = json.loads(_file(plan).read_text(encoding="utf-8"))
        layout = facts.pop("layout")
        return Asked(**facts, layout=None if layout is None else Layout(layout))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _file(plan: Plan) -> Path:
    return plan.home / "checks" / f"{plan.jobs_hash}.json"
