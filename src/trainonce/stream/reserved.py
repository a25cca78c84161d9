"""Slots that a question owns, and that are filled or not as a controller decides in the run.

Where they lie, what would stand in each and a random number for each are laid out beforehand. A
decision gives every item a rate, and a slot is filled where its number is below the rate of its
item: what a run reads is a pure function of the decisions, which are part of the run's state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainonce.sites import Item, LanguageModel
from trainonce.stream.overlay import Overlay, Pool

Decisions = npt.NDArray[np.float64]
"""What was seen of each item and which rate it got, ``(decisions, items, 2)``."""

Decide = Callable[[LanguageModel, Sequence[Item], Decisions], npt.NDArray[np.float64]]
"""From the model, the items and the decisions before to the next one, ``(items, 2)``."""


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """The reserved slots of one question.

    Attributes:
        question: whose they are.
        every: steps from one decision to the next.
        overlay: every slot with what would stand in it.
        owners: the number of the item that each insertion is of, ``(insertions,)``.
        draws: a number in [0, 1) for each, ``(insertions,)``.
        decide: the controller.
    """

    question: str
    every: int
    overlay: Overlay
    owners: npt.NDArray[np.int64]
    draws: npt.NDArray[np.float64]
    decide: Decide

    def fill(self, overlay: Overlay, decisions: Decisions, batch: int) -> Overlay:
        """``overlay`` with the slots that ``decisions`` fill; later ones are still open.

        Args:
            overlay: what is inserted beside them.
            decisions: taken so far.
            batch: sequences a step.
        """
        own = self.overlay
        when = own.rows // batch // self.every
        chosen = np.flatnonzero(when < len(decisions))
        rates = decisions[when[chosen], self.owners[chosen], 1]
        chosen = chosen[self.draws[chosen] < rates]
        pool = Pool(own.tokens, own.bounds)
        return overlay.add(own.rows[chosen], own.offsets[chosen], own.documents[chosen], pool)
