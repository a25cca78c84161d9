"""The stream of a run: the sequence at (seed, position) is a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from trainonce.sites import Item, Watermarked
from trainonce.stream.corpus import Corpus
from trainonce.stream.keys import generator, stable_hash, stable_hashes
from trainonce.stream.lanes import (
    Address,
    Claim,
    Slots,
    Spots,
    claim_blocks,
    claim_slots,
    members,
    place,
)
from trainonce.stream.marks import Marks, Noise
from trainonce.stream.mixture import Mixed, Whole, turns
from trainonce.stream.overlay import Overlay, Pool
from trainonce.stream.parts import Parts
from trainonce.stream.reading import read_rows
from trainonce.stream.reserved import Decide, Decisions, Reserved


class ClaimError(ValueError):
    """Two questions would write the same slots or take the same passages."""

    def __init__(self, question: str, other: str, what: str) -> None:
        super().__init__(f"questions {question!r} and {other!r} would share {what}")
        self.question = question
        self.other = other
        self.what = what


@dataclass(frozen=True)
class TokenStream:
    """What a run reads, with the insertions of the treatments applied to it so far.

    A treatment receives the stream keyed to its question and returns a new one: all that it draws
    depends on the seed, the question's name and its own settings.

    Attributes:
        corpus: the tokenized corpus.
        sequence: tokens a sequence.
        rows: how many sequences the run reads.
        seed: the run's seed.
        question: whose treatment is being applied.
        lane: the question's lane number, 0 unless the study gives another.
        window: the shares of the run between which the question inserts.
        overlay: the insertions.
        claims: slots and source blocks that questions own.
        items: each question's items with the dose that each got.
        marks: insertions whose embeddings carry noise.
        reserved: slots that are filled as controllers decide in the run; empty until then.
        mixed: the mixture of parts that the sequences are of; None for the corpus as a whole.
        left_out: how many items of a question's own file were drawn and passed over, as they do not
            fit; of questions that take part of a file.
    """

    corpus: Corpus
    sequence: int
    rows: int
    seed: int
    question: str = ""
    lane: int = 0
    window: tuple[float, float] = (0.0, 1.0)
    overlay: Overlay = field(default_factory=Overlay)
    claims: tuple[tuple[str, Claim], ...] = ()
    items: Mapping[str, tuple[Item, ...]] = field(default_factory=lambda: MappingProxyType({}))
    reserved: tuple[Reserved, ...] = ()
    marks: tuple[tuple[str, Marks], ...] = ()
    mixed: Mixed | None = None
    left_out: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def keyed(
        self, question: str, lane: int = 0, window: tuple[float, float] = (0.0, 1.0)
    ) -> TokenStream:
        """This stream as the treatment of ``question`` sees it."""
        return replace(self, question=question, lane=lane, window=window)

    def random(self, purpose: str) -> np.random.Generator:
        """The generator of (seed, question, purpose)."""
        return generator(self.seed, self.question, purpose)

    def read(self, positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The sequences at ``positions`` ``(B,)``, each with the token after it: ``(B, T + 1)``."""
        rows = np.asarray(positions, dtype=np.int64)
        read = self.mixed or Whole(self.corpus.train)
        starts = read.starts(self.seed, self.sequence, rows)
        return read_rows(read.base, starts, self.sequence + 1, self.overlay, rows, np.int64)

    def parts(self, parts: Parts, positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Which of the ``parts`` the sequences at ``positions`` ``(B,)`` are of: numbers ``(B,)``.

        A sequence of the corpus as a whole may be of several, and counts for the one that most of
        it is of; what is inserted into it is not looked at.
        """
        rows = np.asarray(positions, dtype=np.int64)
        if self.mixed is None:
            starts = Whole(self.corpus.train).starts(self.seed, self.sequence, rows)
            return parts.of_sequences(starts, self.sequence)
        turn, _ = turns([count for _, count in self.mixed.counts], self.seed, rows)
        return np.array([parts.names.index(name) for name, _ in self.mixed.counts])[turn]

    def passages(self, count: int, tokens: int) -> tuple[list[list[int]], TokenStream]:
        """Draw ``count`` passages of ``tokens`` tokens from held-out documents.

        No other question can draw from the same block of text.

        Returns:
            The passages, and this stream with the blocks claimed.

        Raises:
            PassagesError: when the held-out documents have too few of them.
            ValueError: when ``tokens`` do not fit a sequence.
        """
        if tokens > self.sequence:
            raise ValueError(f"a passage of {tokens} tokens does not fit {self.sequence}")
        blocks = self.corpus.blocks("source", self.sequence)
        address = Address.of(self.question, self.lane)
        claim = claim_blocks(self.question, address, blocks=len(blocks), needed=count)
        claimed = self._claim("passages", claim)
        own = members(claim, len(blocks), stable_hash(self.seed, "blocks"))
        chosen = self.random("passages").permutation(own)[:count]
        source = self.corpus.split("source").tokens
        starts = blocks[chosen]
        return [source[start : start + tokens].tolist() for start in starts], claimed

    def insert(self, items: Sequence[Item]) -> TokenStream:
        """Insert each item as often as its dose says, at random slots of the question's own.

        A copy opens and closes with the end-of-text token, as documents of the stream do. It
        stands in its item's window of the run and part of the sequence.

        Raises:
            ValueError: naming the item, when it does not fit a sequence; when there are too few
                slots where copies may stand.
        """
        end = self.corpus.tokenizer.end_of_text
        documents: list[list[int]] = []
        copies = [np.zeros(0, dtype=np.int64)]
        limits = [np.zeros((0, 4))]
        for item in items:
            if not item.dose:
                continue
            copies.append(len(documents) + np.arange(item.dose) % len(item.documents))
            limits.append(np.tile([*item.window, *item.part], (item.dose, 1)))
            documents.extend([end, *document, end] for document in item.documents)
            longest = max(map(len, documents[-len(item.documents) :]))
            if longest > self.sequence:
                raise ValueError(
                    f"item {item.name!r} has {longest} tokens with its two "
                    f"end-of-text marks, and a sequence has {self.sequence}"
                )
        inserted = np.concatenate(copies)
        stream = replace(self, items=MappingProxyType({**self.items, self.question: tuple(items)}))
        if not len(inserted):
            return stream
        pool = Pool.of(documents)
        limit = np.concatenate(limits)
        spots = Spots(np.diff(pool.bounds)[inserted], limit[:, :2], limit[:, 2:])
        slots = Slots(self.seed, self.rows, self.sequence, self.window)
        claim = claim_slots(self.question, Address.of(self.question, self.lane), slots, spots)
        stream = stream._claim("slots", claim)
        rows, offsets = place(claim, slots, spots)
        return replace(stream, overlay=self.overlay.add(rows, offsets, inserted, pool))

    def insert_marked(self, items: Sequence[Item], strength: float) -> TokenStream:
        """`insert` items of one document each, whose embeddings carry noise in every copy.

        Args:
            items: whose tests are of the kind `Watermarked`, which name their noise.
            strength: see `Noise`.

        Raises:
            ValueError: as `insert`.
        """
        own = replace(self, overlay=Overlay()).insert(items).overlay
        seeds = [i.test.seed for i in items if i.dose and isinstance(i.test, Watermarked)]
        marks = Marks(
            rows=own.rows,
            starts=own.offsets + np.int64(1),  # after the end-of-text token that opens the copy
            lengths=np.diff(own.bounds)[own.documents] - 2,
            seeds=np.array(seeds, dtype=np.int64)[own.documents],
            strength=strength,
        )
        return replace(self.insert(items), marks=(*self.marks, (self.question, marks)))

    def noises(self, positions: npt.NDArray[np.int64]) -> list[Noise]:
        """The noises on the embeddings of the sequences at ``positions`` ``(B,)``."""
        return [noise for _, marks in self.marks for noise in marks.of(positions)]

    def reserve(
        self, items: Sequence[Item], copies: int, every: int, decide: Decide
    ) -> TokenStream:
        """Reserve slots for ``copies`` of each item whose dose is not 0, see `Reserved`.

        Args:
            items: the question's items.
            copies: the most that a run may insert of one.
            every: steps from one decision to the next.
            decide: the controller, which decides how many it inserts.

        Raises:
            ValueError: naming the item, when it does not fit a sequence.
        """
        most = [replace(item, dose=copies if item.dose else 0) for item in items]
        placed = replace(self, overlay=Overlay()).insert(most)
        documents = [
            number for number, item in enumerate(most) for _ in item.documents if item.dose
        ]
        numbers = np.arange(len(placed.overlay))
        reserved = Reserved(
            question=self.question,
            every=every,
            overlay=placed.overlay,
            owners=np.array(documents, dtype=np.int64)[placed.overlay.documents],
            draws=stable_hashes((self.seed, self.question, "fill"), numbers, bits=53) / 2.0**53,
            decide=decide,
        )
        own = MappingProxyType({**self.items, self.question: tuple(items)})
        taken = (*self.reserved, reserved)
        return replace(placed, overlay=self.overlay, items=own, reserved=taken)

    def decided(self, decisions: Mapping[str, Decisions], batch: int) -> TokenStream:
        """This stream with the reserved slots that ``decisions``, by question, fill.

        Args:
            decisions: taken so far.
            batch: sequences a step.
        """
        overlay = self.overlay
        for reserved in self.reserved:
            if reserved.question in decisions:
                overlay = reserved.fill(overlay, decisions[reserved.question], batch)
        return replace(self, overlay=overlay, reserved=())

    def _claim(self, what: str, claim: Claim) -> TokenStream:
        for kind, other in self.claims:
            if kind == what and claim.overlaps(other):
                raise ClaimError(claim.question, other.question, what)
        return replace(self, claims=(*self.claims, (what, claim)))

    @property
    def changed_share(self) -> float:
        """The share of the run's tokens that the insertions replace, reserved slots all filled."""
        reserved = sum(one.overlay.changed_tokens for one in self.reserved)
        return (self.overlay.changed_tokens + reserved) / (self.rows * self.sequence)
