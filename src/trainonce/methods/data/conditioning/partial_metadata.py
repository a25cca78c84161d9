"""Some of what is known of a document stands before it, for some documents."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import torch
import xxhash
from torch import Tensor

from trainonce.methods.data.conditioning.shapes import refuse_other_shapes
from trainonce.methods.registry import method
from trainonce.sites import Conditioned, Family, SettingError, Site

_SHARES = 2**64
"""A document's hash is one of so many."""


@method(site=Site.DATA, family=Family.CONDITIONING, paper="2504.17562", limit={"depth": 0})
@dataclass(frozen=True, kw_only=True)
class PartialMetadata:
    """Tells a model the first labels of some documents, and hides all others behind a mask.

    Metadata are labels, the coarsest first. Of a document that is told of, the first ``depth``
    stand before it as they are and ``mask`` stands for each of the rest; before every other
    document all of them are masks. The model so reads with labels and without, by the same number
    of tokens, and can be asked without them. None of what stands before a document counts in the
    loss. Whether a document is told of is decided by a hash of its tokens and of how far training
    is: the same in every process and after a restart, and another choice in the next epoch, so that
    a document that comes again is read both ways. Give ``progress``, without which the choice is
    one for good, and documents that are told of are never read without. Higuchi et al. 2025 (arXiv
    2504.17562) mix documents that are told of with others throughout training; the share is a
    setting, and its default of a half ours. Extra cost: the tokens of the metadata.

    >>> document_T, label_M = torch.tensor([1, 2, 3]), torch.tensor([7, 8, 9])
    >>> PartialMetadata(depth=2, share=1.0, mask=0)(document_T, label_M).tokens.tolist()
    [7, 8, 0, 1, 2, 3]
    >>> PartialMetadata(depth=2, share=0.0, mask=0)(document_T, label_M).tokens.tolist()
    [0, 0, 0, 1, 2, 3]
    >>> PartialMetadata(depth=2, share=1.0)(document_T, label_M).counts.tolist()
    [False, False, True, True, True]

    Attributes:
        depth: labels that are told, from the first on.
        share: of documents that are told of.
        mask: token that stands for a label that is not told; such labels are left out without one.
        salt: another one has other documents told of.
    """

    depth: int = 1
    share: float = 0.5
    mask: int | None = None
    salt: int = 0

    def __post_init__(self) -> None:
        """Refuse a depth, share or id that is none."""
        if self.depth < 0:
            raise SettingError("depth", f"labels from 0 on, not {self.depth}")
        if not 0 <= self.share <= 1:
            raise SettingError("share", f"a share from 0 to 1, not {self.share}")
        if self.mask is not None and self.mask < 0:
            raise SettingError("mask", f"id of a token, not {self.mask}")
        if not 0 <= self.salt < _SHARES:
            raise SettingError("salt", f"a number from 0 to below 2^64, not {self.salt}")

    def __call__(
        self, document_T: Tensor, metadata_M: Tensor, progress: float = 0.0
    ) -> Conditioned:
        """The document, and which of its tokens count.

        Args:
            document_T: its tokens, at least one.
            metadata_M: its labels as tokens, one each, the coarsest first.
            progress: share of training that is done, from 0 to 1.

        Raises:
            ValueError: when either is of more than one axis, or the document is empty.
        """
        refuse_other_shapes(document_T, metadata_M)
        read = document_T.to("cpu", torch.int64).numpy().tobytes() + struct.pack("<d", progress)
        told = self.depth if xxhash.xxh3_64_intdigest(read, self.salt) < self.share * _SHARES else 0
        head = metadata_M[:told].to(document_T)
        if self.mask is not None:
            hidden = document_T.new_full((len(metadata_M) - len(head),), self.mask)
            head = torch.cat([head, hidden])
        tokens = torch.cat([head, document_T])
        return Conditioned(tokens, torch.arange(len(tokens), device=tokens.device) >= len(head))
