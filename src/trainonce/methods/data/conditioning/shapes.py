"""What all conditioning methods are given: a document and what is known of it, as tokens."""

from __future__ import annotations

from torch import Tensor


def refuse_other_shapes(document_T: Tensor, metadata_M: Tensor) -> None:
    """Refuse what is no document with its metadata.

    Raises:
        ValueError: when either is of more than one axis, or the document is empty.
    """
    if document_T.ndim != 1 or not len(document_T):
        raise ValueError(f"a document is (T,) of some tokens, not {tuple(document_T.shape)}")
    if metadata_M.ndim != 1:
        raise ValueError(f"metadata is (M,) of a document, not {tuple(metadata_M.shape)}")
