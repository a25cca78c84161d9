"""Commented study files to begin with, put together from parts."""

from __future__ import annotations

from importlib.resources import files

TEMPLATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "quickstart": (
        "What one small run remembers",
        ("memorization", "contamination", "knowledge", "backdoor"),
    ),
    "memorization": ("What a run gives back word for word", ("memorization",)),
    "contamination": ("What seeing the test does to the score", ("contamination",)),
    "knowledge": ("What it takes to learn a fact", ("knowledge",)),
    "backdoor": ("What it takes to poison a run", ("backdoor",)),
}
"""Each template's title and questions."""


def study_text(name: str) -> str:
    """The study file of the template ``name``."""
    title, questions = TEMPLATES[name]
    parts = [_part("recipe"), "\n".join(_part(question) for question in questions)]
    return f"study: {title}\n\n" + "".join(parts)


def _part(name: str) -> str:
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
