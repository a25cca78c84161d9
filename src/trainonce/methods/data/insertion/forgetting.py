"""Forgetting curves: passages that are seen within a part of the run, and never again."""

from __future__ import annotations

from dataclasses import dataclass

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.registry import method
from trainonce.sites import Completion, Item, Site
from trainonce.stream.stream import TokenStream


@method(site=Site.DATA, paper="2509.23383", probe="passage_loss")
@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """Inserts passages once, or a few times, and never again, to see how their loss comes back.

    When they are seen is the question's `window`, as narrow as a few steps; how long the difference
    to passages that are never seen (dose 0) lasts is seen by `measure_at`: forgetting curves (the
    special batch of Tirumala et al. 2022, arXiv 2205.10770).

    Attributes:
        doses: how often a passage is seen; each passage gets one of them at random.
        items: passages a dose.
        tokens: length of a passage, natural text of held-out documents.
    """

    doses: tuple[int, ...] = (0, 1)
    items: int = 32
    tokens: int = 62

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, items=self.items)
        check_at_least(2, tokens=self.tokens)

    @property
    def longest(self) -> int:
        """Tokens of a passage."""
        return self.tokens

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the passages inserted."""
        texts, stream = stream.passages(self.items * len(self.doses), self.tokens)
        doses = assign(stream, "passage", len(texts), self.doses)
        end = stream.corpus.tokenizer.end_of_text
        return stream.insert(
            [
                Item(
                    name=f"passage-{index:03d}",
                    kind="passage",
                    dose=dose,
                    documents=(tuple(text),),
                    test=Completion((end,), tuple(text)),
                )
                for index, (dose, text) in enumerate(zip(doses, texts, strict=True))
            ]
        )
