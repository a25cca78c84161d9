"""An attention barrier between the documents that are packed in one sequence.

Documents are told apart by the end-of-text token alone: whatever is inserted into a sequence opens
and closes with it, so it is a document of its own, and a model needs nothing but tokens. The token
belongs to the document that it *opens*: it is what a document's first token is predicted from, as
in the prompts of probes, and it sees nothing of the document that it closes.

Shape suffixes: B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor


def document_ids(tokens_BT: Tensor, boundary: int) -> Tensor:
    """Which document of its sequence each token belongs to, counted from 0: ``(B, T)``."""
    return (tokens_BT == boundary).cumsum(1)


def within_documents(tokens_BT: Tensor, boundary: int) -> Tensor:
    """The block-diagonal causal mask ``(B, 1, T, T)``: True where a token (row) sees another.

    Args:
        tokens_BT: token ids.
        boundary: the token that opens a document.
    """
    ids_BT = document_ids(tokens_BT, boundary)
    same_BTT = ids_BT[:, :, None] == ids_BT[:, None, :]
    return same_BTT.tril()[:, None]


def positions_within(tokens_BT: Tensor, boundary: int) -> Tensor:
    """The position of each token in its own document, from 0: ``(B, T)``.

    Hugging Face's models take a position that does not grow as the start of another document.
    """
    place_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    opens_BT = torch.where(tokens_BT == boundary, place_T, 0)
    return place_T - opens_BT.cummax(1).values
