"""A negative control: text replaced by other text of the same distribution."""

from __future__ import annotations

from dataclasses import dataclass

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.registry import method
from trainonce.sites import Completion, Item, SettingError, Site
from trainonce.stream.stream import TokenStream


@method(site=Site.DATA, paper="2509.23383", probe="completion")
@dataclass(frozen=True, kw_only=True)
class IidReplacement:
    """Replaces text by fresh draws of the same distribution, which should change nothing.

    Each copy is another passage of held-out documents, read once, in place of what the corpus had
    there. What is measured of a unit is a passage of its own that no run reads, drawn in the same
    way: as many fresh draws as its dose were inserted beside it, none of them linked with it. So no
    effect is expected on any unit, and none on the run: how the held-out loss of the trunk differs
    from the plain run's is the whole of what replacing did, in a study of this question alone.

    Attributes:
        doses: fresh draws for a measured passage; each gets one number at random.
        items: measured passages a dose.
        tokens: length of a passage.
    """

    doses: tuple[int, ...] = (0, 4)
    items: int = 20
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
        """``stream`` with the fresh draws in it."""
        count = self.items * len(self.doses)
        if self.tokens > stream.sequence:
            raise SettingError("tokens", f"a sequence has {stream.sequence} tokens")
        drawn, stream = stream.passages(count + self.items * sum(self.doses), self.tokens)
        fresh = iter(drawn[count:])
        half, end = self.tokens // 2, stream.corpus.tokenizer.end_of_text
        items = []
        doses = assign(stream, "passage", count, self.doses)
        for index, (dose, own) in enumerate(zip(doses, drawn, strict=False)):
            items.append(
                Item(
                    name=f"passage-{index:03d}",
                    kind="passage",
                    dose=dose,
                    documents=tuple(tuple(next(fresh)) for _ in range(dose)),
                    test=Completion((end, *own[:half]), tuple(own[half:])),
                )
            )
        return stream.insert(items)
