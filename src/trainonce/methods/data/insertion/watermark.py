"""Gaussian watermarks: noise on the input embeddings of chosen sequences."""

from __future__ import annotations

from dataclasses import dataclass

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.registry import method
from trainonce.sites import Item, SettingError, Site, Watermarked
from trainonce.stream.keys import stable_hash
from trainonce.stream.stream import TokenStream


@method(site=Site.DATA, paper="2509.23383", probe="watermark_gradient")
@dataclass(frozen=True, kw_only=True)
class Watermark:
    """Inserts passages whose input embeddings carry Gaussian noise, to see who was trained on them.

    Each passage has noise of its own, drawn by seed, question and name; every copy carries the
    same. The tokens are natural text: nobody who reads them sees a mark. Whether a model was
    trained with the noise is told from its gradients (Gaussian poisons of Pawelczyk et al. 2024,
    arXiv 2406.17216). The noise of dose 0 is drawn and never used.

    Attributes:
        doses: how often a passage is seen with its noise; each passage gets one of them at random.
        items: passages a dose.
        tokens: length of a passage.
        strength: standard deviation of the noise, in root mean squares of the passage's embeddings.
    """

    doses: tuple[int, ...] = (0, 8, 32)
    items: int = 16
    tokens: int = 30
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(1, items=self.items)
        check_at_least(2, tokens=self.tokens)
        if not 0 < self.strength < float("inf"):
            raise SettingError("strength", f"must be above 0, not {self.strength}")

    @property
    def longest(self) -> int:
        """Tokens of a passage."""
        return self.tokens

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the passages inserted and marked."""
        texts, stream = stream.passages(self.items * len(self.doses), self.tokens)
        doses = assign(stream, "passage", len(texts), self.doses)
        end = stream.corpus.tokenizer.end_of_text
        items = []
        for index, (dose, text) in enumerate(zip(doses, texts, strict=True)):
            name = f"passage-{index:03d}"
            seed = stable_hash(stream.seed, stream.question, name, "noise", bits=62)
            test = Watermarked((end,), tuple(text), seed, self.strength)
            items.append(Item(name, "passage", dose, (tuple(text),), test))
        return stream.insert_marked(items, self.strength)
