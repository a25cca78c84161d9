"""Knowledge acquisition at a set pace: a controller states facts as often as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.data.insertion.knowledge import Fact, asked, check_templates, invented
from trainonce.methods.probe.recall.ranking import Ranking
from trainonce.methods.registry import method
from trainonce.sites import Item, LanguageModel, Pursuit, SettingError, Site
from trainonce.stream.reserved import Decisions
from trainonce.stream.stream import TokenStream


@method(
    site=Site.DATA,
    paper="2509.23383",
    probe="pursuit",
    dose="target of the probed probability, in %",
)
@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """States invented facts as often as it takes to keep what the model knows near a target.

    Each fact gets a target at random. Every few steps the model is asked for each fact, in words
    that are never stated, and a controller (proportional-integral, in its incremental form, held
    between 0 and 1) sets the share of the fact's slots that are filled until it is asked again:
    rate + proportional (error - last error) + integral error, where the error is the target minus
    the probability of the right value among the candidates. Target 0 is never stated.

    Attributes:
        doses: targets in percent, 0 among them; each fact gets one of them at random.
        people: invented people a target and relation.
        copies: slots of a fact in the whole run: the most that may be stated.
        every: steps from one probe to the next.
        proportional: gain on the change of the error.
        integral: gain on the error.
        templates: wordings that are stated, at most 7.
    """

    doses: tuple[int, ...] = (0, 25, 50, 75)
    people: int = 3
    copies: int = 120
    every: int = 10
    proportional: float = 0.5
    integral: float = 0.3
    templates: int = 4

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        if max(self.doses) > 100:
            raise SettingError("doses", f"a target is at most 100 %, not {max(self.doses)}")
        check_at_least(2, people=self.people)
        check_at_least(1, copies=self.copies, every=self.every)
        check_templates(self.templates, kept=2)
        for name in ("proportional", "integral"):
            if not 0 <= getattr(self, name) < np.inf:
                raise SettingError(name, f"must be 0 or more, not {getattr(self, name)}")

    @property
    def longest(self) -> None:
        """Only the tokenizer can tell."""
        return

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with slots reserved for the facts."""
        count = self.people * len(self.doses)
        facts = invented(stream.random("people"), count, self.templates + 1)
        items = []
        for kind, rows in facts.items():
            doses = assign(stream, kind, len(rows), self.doses)
            items += [
                _item(f"{kind}-{index:03d}", kind, dose, row, stream)
                for index, (dose, row) in enumerate(zip(doses, rows, strict=True))
            ]
        return stream.reserve(items, self.copies, self.every, self.decide)

    def decide(
        self, model: LanguageModel, items: Sequence[Item], before: Decisions
    ) -> npt.NDArray[np.float64]:
        """The probability of each fact and its next rate, ``(items, 2)``."""
        probes = [replace(i, test=i.test.probed) for i in items if isinstance(i.test, Pursuit)]
        rows = Ranking()(model, probes)
        known = np.array([row.value for row in rows if row.outcome == "probability"])
        targets = np.array([item.dose / 100 for item in items])
        error, last, rate = targets - known, np.zeros(len(items)), np.zeros(len(items))
        if len(before):
            last, rate = np.nan_to_num(targets - before[-1, :, 0]), before[-1, :, 1]
        moved = rate + self.proportional * (error - last) + self.integral * error
        return np.stack([known, np.where(targets > 0, moved.clip(0, 1), 0.0)], axis=1)


def _item(name: str, kind: str, dose: int, fact: Fact, stream: TokenStream) -> Item:
    """The last statement is not stated: without its value it is what the controller asks."""
    tokenizer = stream.corpus.tokenizer
    *stated, probed = fact.statements
    prompt = probed.removesuffix(f" {fact.choices[fact.answer]}.")
    return Item(
        name=name,
        kind=kind,
        dose=dose,
        documents=tuple(tuple(tokenizer.encode(text)) for text in stated),
        test=Pursuit(
            probed=asked(prompt, fact, tokenizer),
            asked=asked(fact.prompt, fact, tokenizer),
            target=dose / 100,
        ),
    )
