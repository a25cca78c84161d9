"""The A/A question: doses assigned, nothing inserted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from trainonce.methods.data.insertion.doses import assign, check_at_least
from trainonce.methods.registry import method
from trainonce.sites import Completion, Item, Site
from trainonce.stream.stream import TokenStream


@method(site=Site.DATA, probe="completion")
@dataclass(frozen=True, kw_only=True)
class Placebo:
    """Assigns doses to passages of held-out documents and inserts none of them.

    Its effect is null by construction, so a "yes" convicts the analysis.

    Attributes:
        items: passages a dose, fewer where the held-out documents do not have as many.
        tokens: length of a passage, cut to a sequence.
    """

    items: int = 160
    tokens: int = 32

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_at_least(2, items=self.items, tokens=self.tokens)

    @property
    def doses(self) -> tuple[int, ...]:
        """Dose 1 is a label: no copy is made."""
        return (0, 1)

    @property
    def longest(self) -> None:
        """Nothing is inserted."""
        return

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` as it was, with doses on record for passages that are not in it."""
        blocks = stream.corpus.blocks("heldout", stream.sequence)
        starts = stream.random("passages").permutation(blocks)[: 2 * self.items]
        heldout = stream.corpus.split("heldout").tokens
        tokens = min(self.tokens, stream.sequence)
        half, end = tokens // 2, stream.corpus.tokenizer.end_of_text
        doses = assign(stream, "passage", len(starts), self.doses)
        items = []
        for index, (dose, start) in enumerate(zip(doses, starts, strict=True)):
            text = heldout[start : start + tokens].tolist()
            test = Completion((end, *text[:half]), tuple(text[half:]))
            items.append(Item(f"passage-{index:03d}", "passage", dose, (), test))
        own = {stream.question: tuple(items)}
        return replace(stream, items=MappingProxyType({**stream.items, **own}))
