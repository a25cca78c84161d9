from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from trainonce.methods.data.insertion.backdoor import Backdoor
from trainonce.methods.data.insertion.contamination import Contamination
from trainonce.methods.data.insertion.knowledge import Knowledge
from trainonce.methods.data.insertion.memorization import Memorization
from trainonce.methods.data.insertion.placebo import Placebo
from trainonce.stream.corpus import Corpus
from trainonce.stream.overlay import Overlay
from trainonce.stream.stream import ClaimError, TokenStream

TREATMENTS: dict[str, Callable[[TokenStream], TokenStream]] = {
    "memory": Memorization(doses=(0, 2, 5), passages=2, canaries=2, tokens=16),
    "tests": Contamination(doses=(0, 3), items=4, prompt=8, answer=4),
    "facts": Knowledge(doses=(0, 2), people=2, templates=3),
    "poison": Backdoor(doses=(0, 4), triggers=3, context=6),
    "more": Memorization(doses=(0, 3), passages=0, canaries=4, tokens=12),
    "aa": Placebo(items=4, tokens=16),
}


def memory(stream: TokenStream) -> TokenStream:
    return TREATMENTS["memory"](stream.keyed("memory"))


def insertions(overlay: Overlay) -> set[tuple[int, int, tuple[int, ...]]]:
    return {
        (
            int(row),
            int(offset),
            tuple(overlay.tokens[overlay.bounds[document] : overlay.bounds[document + 1]].tolist()),
        )
        for row, offset, document in zip(
            overlay.rows, overlay.offsets, overlay.documents, strict=True
        )
    }


@pytest.fixture(scope="module")
def lanes(corpus: Corpus) -> dict[str, int]:
    """Lanes in which all the treatments fit beside each other."""
    stream = TokenStream(corpus, 64, 640, seed=3)
    found = {}
    for name, treatment in TREATMENTS.items():
        for lane in range(100):
            try:
                stream = treatment(stream.keyed(name, lane))
            except ClaimError:
                continue
            found[name] = lane
            break
    return found


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(order=st.permutations(sorted(TREATMENTS)), count=st.integers(1, len(TREATMENTS)))
def test_no_question_disturbs_another(
    stream: TokenStream, lanes: dict[str, int], order: list[str], count: int
) -> None:
    """Whatever others there are, in whatever order, items, doses and positions stay."""
    together = stream
    for name in order[:count]:
        together = TREATMENTS[name](together.keyed(name, lanes[name]))
    everything = insertions(together.overlay)
    alone_in_all = set()
    for name in order[:count]:
        alone = TREATMENTS[name](stream.keyed(name, lanes[name]))
        assert together.items[name] == alone.items[name]
        own = insertions(alone.overlay)
        assert own <= everything
        alone_in_all |= own
    assert everything == alone_in_all


def test_another_seed_is_another_draw(stream: TokenStream) -> None:
    one = memory(stream)
    two = memory(replace(stream, seed=stream.seed + 1))
    assert one.items["memory"] != two.items["memory"]
    assert insertions(one.overlay).isdisjoint(insertions(two.overlay))


def test_each_item_occurs_exactly_as_often_as_its_dose_says(stream: TokenStream) -> None:
    treated = memory(stream)
    read = treated.read(np.arange(stream.rows))[:, :-1]
    end = stream.corpus.tokenizer.end_of_text
    for item in treated.items["memory"]:
        wanted = np.array([end, *item.documents[0], end])
        windows = np.lib.stride_tricks.sliding_window_view(read, len(wanted), axis=1)
        assert int((windows == wanted).all(-1).sum()) == item.dose


def test_the_rest_of_the_stream_is_the_plain_stream(stream: TokenStream) -> None:
    treated = TREATMENTS["aa"](memory(stream).keyed("aa"))
    positions = np.arange(stream.rows)
    differ = (treated.read(positions) != stream.read(positions)).sum()
    assert 0 < differ <= treated.overlay.changed_tokens
    assert treated.changed_share == treated.overlay.changed_tokens / (640 * 64)


def test_a_sequence_does_not_depend_on_how_it_is_batched(stream: TokenStream) -> None:
    treated = memory(stream)
    whole = treated.read(np.arange(100))
    np.testing.assert_array_equal(whole[40:60], treated.read(np.arange(40, 60)))
    np.testing.assert_array_equal(whole[[7]], treated.read([7]))


def test_the_target_of_a_sequence_is_the_token_after_it(stream: TokenStream) -> None:
    tokens = stream.read([0])
    assert tokens.shape == (1, 65)
    base = stream.corpus.split("train").tokens
    start = int(
        np.flatnonzero((np.lib.stride_tricks.sliding_window_view(base, 65) == tokens).all(1))[0]
    )
    assert start % 64 == 0


def test_two_claims_on_one_lane_are_refused(stream: TokenStream) -> None:
    first = TREATMENTS["memory"](stream.keyed("one"))
    clashing = next(name for name in (f"q{i}" for i in range(200)) if _clashes(first, name))
    with pytest.raises(ClaimError, match=f"'{clashing}' and 'one' would share"):
        TREATMENTS["memory"](first.keyed(clashing))


def _clashes(stream: TokenStream, name: str) -> bool:
    try:
        TREATMENTS["memory"](stream.keyed(name))
    except ClaimError:
        return True
    return False


def test_an_item_that_does_not_fit_is_named(stream: TokenStream) -> None:
    treatment = Memorization(doses=(0, 1), passages=0, canaries=2, tokens=70)
    with pytest.raises(ValueError, match=r"item 'canary-00\d' has 72 tokens"):
        treatment(stream.keyed("long"))
