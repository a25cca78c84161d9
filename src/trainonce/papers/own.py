"""A claim's study as a file of its own, to begin with."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import yaml

from trainonce.papers.claims import Claim


def own_study(claims: Sequence[Claim]) -> str:
    """The study that re-tests claims of a paper as the text of a study file, with its comments."""
    claim = claims[0]
    lines = claim.document.file.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("study:"))
    rest = lines[first + 1 :]
    end = next((n for n, line in enumerate(rest) if line and not line[0].isspace()), len(rest))
    where = f"arXiv {claim.arxiv}" if claim.arxiv else str(claim.year)
    says = [claim.says]
    if len(claims) > 1:
        says = [f"{', '.join(one.decides)}: {one.says}" for one in claims]
    varied = [f"{name}: this study with {_varied(claim, name)}" for name in claim.variants]
    told = [f"{claim.title} ({where}) says: {says[0]}", *says[1:], *varied]
    comment = "\n".join(
        textwrap.fill(one, width=98, initial_indent="# ", subsequent_indent="# ") for one in told
    )
    study = textwrap.dedent("\n".join(rest[:end])).strip()
    return f"{comment}\n{study}\n"


def _varied(claim: Claim, name: str) -> str:
    """What the recipe of a variant has in place of the study's."""
    base, recipe = claim.document.value["recipe"], claim.variants[name].value["recipe"]
    other = {key: value for key, value in recipe.items() if base.get(key) != value}
    return yaml.safe_dump({"recipe": other}, default_flow_style=True, width=math.inf).strip()
