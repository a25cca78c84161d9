"""A document's source stands before it, for most of training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainonce.methods.data.conditioning.shapes import refuse_other_shapes
from trainonce.methods.registry import method
from trainonce.sites import Conditioned, Family, SettingError, Site


@method(site=Site.DATA, family=Family.CONDITIONING, paper="2501.01956", limit={"cooldown": 1.0})
@dataclass(frozen=True, kw_only=True)
class MetadataConditioning:
    """Puts metadata before each document, and ends training with a cooldown of plain documents.

    For the first ``1 - cooldown`` of training a document reads ``before metadata after document``,
    such as ``URL: en.wikipedia.org`` and an empty line; none of what stands before the document
    counts in the loss. After that it is the document alone, so that the model can do without;
    learning rate and optimizer go on as they were. Gao et al. 2025 (arXiv 2501.01956), who end
    with a tenth and keep documents apart by their attention; hashed sources do as well as names,
    so that it is the grouping that helps. Put a source before a prompt to steer the model. Extra
    cost: the tokens of the metadata.

    >>> method = MetadataConditioning(before=(7,), after=(8,))
    >>> document_T, source_M = torch.tensor([1, 2, 3]), torch.tensor([9])
    >>> method(document_T, source_M).tokens.tolist()
    [7, 9, 8, 1, 2, 3]
    >>> method(document_T, source_M).counts.tolist()
    [False, False, False, True, True, True]
    >>> method(document_T, source_M, 0.95).tokens.tolist()
    [1, 2, 3]

    Attributes:
        cooldown: share of training, its last, in which documents are plain.
        before: tokens that stand before the metadata.
        after: tokens between the metadata and the document.
    """

    cooldown: float = 0.1
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a share that is none, and ids that are none."""
        if not 0 <= self.cooldown <= 1:
            raise SettingError("cooldown", f"a share from 0 to 1, not {self.cooldown}")
        for name in ("before", "after"):
            if min(getattr(self, name), default=0) < 0:
                raise SettingError(name, f"ids of tokens, not {getattr(self, name)}")

    def __call__(
        self, document_T: Tensor, metadata_M: Tensor, progress: float = 0.0
    ) -> Conditioned:
        """The document, and which of its tokens count.

        Args:
            document_T: its tokens, at least one.
            metadata_M: what is known of it, as tokens.
            progress: share of training that is done, from 0 to 1.

        Raises:
            ValueError: when either is of more than one axis, or the document is empty.
        """
        refuse_other_shapes(document_T, metadata_M)
        counts_T = torch.ones_like(document_T, dtype=torch.bool)
        if progress >= 1 - self.cooldown:
            return Conditioned(document_T, counts_T)
        head = torch.cat(
            [
                document_T.new_tensor(self.before),
                metadata_M.to(document_T),
                document_T.new_tensor(self.after),
            ]
        )
        counts_L = torch.cat([torch.zeros_like(head, dtype=torch.bool), counts_T])
        return Conditioned(torch.cat([head, document_T]), counts_L)
