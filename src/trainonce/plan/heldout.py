"""Whether the held-out documents have room for all questions, and how much text would have."""

from __future__ import annotations

from collections.abc import Sequence

from trainonce.stream.lanes import PassagesError
from trainonce.stream.stream import TokenStream
from trainonce.study.load import StudyDefinition
from trainonce.study.problems import Problem
from trainonce.tasks.specs.runs import Treated


def corpus_problem(
    study: StudyDefinition, base: TokenStream, treatments: Sequence[Treated]
) -> Problem:
    """The questions take more passages than the corpus has, in any lanes: what would be enough.

    A question owns a power of two of all blocks, less than twice what it takes, so that twice the
    blocks that all of them take together has a lane for each.
    """
    data, corpus, place = study.recipe.data, base.corpus, ("recipe", "data", "corpus")
    there = len(corpus.blocks("source", base.sequence))
    if not there:
        return study.document.problem(
            place,
            data.corpus.name,
            f"its held-out documents have no stretch of {base.sequence} tokens, which questions "
            "take their passages from; give longer documents, or a shorter `sequence`",
        )
    taken = {one.question: _passages(base, one) for one in treatments}
    parts = ", ".join(f"{name} {count}" for name, count in taken.items() if count)
    times = max(2.0, 2 * sum(taken.values()) / there)
    tokens = times * sum(corpus.facts["tokens"].values())
    return study.document.problem(
        place,
        data.corpus.name,
        f"the questions take {sum(taken.values())} passages ({parts}), each from a stretch of "
        f"{base.sequence} tokens of its own within a held-out document, and there are {there}; "
        f"give a corpus {times:.1f} times as large ({tokens / 1e6:,.0f} million tokens of such "
        f"documents), as many times the `heldout` of {data.heldout:.0%}, or a shorter `sequence`",
    )


def _passages(base: TokenStream, treatment: Treated) -> int:
    """How many passages a question takes by itself."""
    try:
        claims = treatment.apply(base).claims
    except PassagesError as error:
        return error.needed
    except ValueError:  # told by itself
        return 0
    return sum(claim.needed for what, claim in claims if what == "passages")
