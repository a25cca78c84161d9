"""Which documents are trained on, which are measured on, and which give passages."""

from __future__ import annotations

from trainonce.stream.keys import stable_hash

SPLITS = ("train", "source", "heldout")


def split_of(document: object, heldout: float) -> str:
    """Which split a document belongs to: a function of itself alone.

    Args:
        document: its text, or a hash of its tokens.
        heldout: the share of the documents that is not trained on.
    """
    place = stable_hash("split", document) / 2.0**64
    if place >= heldout:
        return "train"
    return "source" if place < heldout / 2 else "heldout"
