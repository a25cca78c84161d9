"""Questions that cannot share a run: both would deal doses to the same items.

Which settings make its items is a method's own to say, see `trainonce.methods.registry.method`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trainonce.study.load import StudyDefinition
from trainonce.study.questions import ItemQuestion, Question
from trainonce.study.schema import Strategy
from trainonce.tasks.keys import content_hash


def items_of(question: Question) -> frozenset[str]:
    """Names, by content, of the items that no other question in the same run may have."""
    if not isinstance(question, ItemQuestion):
        return frozenset()
    named = (getattr(question.treatment, field) for field in question.method.exclusive)
    return frozenset(
        content_hash(value) if isinstance(value, Path) else str(value)
        for value in named
        if value is not None
    )


def kept_apart(study: StudyDefinition, chosen: Mapping[str, Strategy]) -> dict[str, str]:
    """The questions with a run of their own whose items are in the trunk, and whose they are there.

    Args:
        study: what is asked.
        chosen: the strategy of each question.
    """
    owners: dict[str, str] = {}
    apart: dict[str, str] = {}
    for question in study.questions:
        for item in sorted(items_of(question)):
            if chosen[question.id] is Strategy.MULTIPLEX:
                owners[item] = question.id
            elif item in owners and question.how is None:
                apart[question.id] = owners[item]
    return apart
