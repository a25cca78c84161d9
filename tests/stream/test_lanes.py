from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainonce.stream.keys import stable_hash, stable_hashes
from trainonce.stream.lanes import Address, Claim, claim_blocks, claim_slots, members, place


def slots(claim: Claim, seed: int, rows: int, width: int, lengths: list[int]) -> set[int]:
    found_rows, offsets = place(
        claim, seed, rows=rows, width=width, lengths=np.array(lengths, dtype=np.int64)
    )
    return {
        int(row * width + offset + inside)
        for row, offset, length in zip(found_rows, offsets, lengths, strict=True)
        for inside in range(length)
    }


@given(
    names=st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=2, unique=True),
    seed=st.integers(0, 100),
    rows=st.integers(40, 400),
    width=st.integers(16, 130),
    data=st.data(),
)
def test_claims_that_do_not_overlap_never_share_a_token(
    names: list[str], seed: int, rows: int, width: int, data: st.DataObject
) -> None:
    claims, lengths = [], []
    for name in names:
        own = data.draw(st.lists(st.integers(1, width // 2), min_size=1, max_size=rows // 8))
        claims.append(
            claim_slots(
                name, Address.of(name), rows=rows, width=width, copies=len(own), longest=max(own)
            )
        )
        lengths.append(own)
    assume(not claims[0].overlaps(claims[1]))
    first, second = (
        slots(claim, seed, rows, width, own) for claim, own in zip(claims, lengths, strict=True)
    )
    assert len(first) == sum(lengths[0])
    assert not first & second


@given(rows=st.integers(1, 500), copies=st.integers(1, 500), width=st.integers(8, 200))
def test_a_claim_holds_what_it_must(rows: int, copies: int, width: int) -> None:
    assume(copies <= rows)
    claim = claim_slots(
        "q", Address.of("q"), rows=rows, width=width, copies=copies, longest=width // 3
    )
    own = members(claim, rows, order_key=1)
    assert len(own) >= copies
    assert len(set(own)) == len(own)
    assert claim.share <= 1


def test_another_lane_leads_elsewhere() -> None:
    assert Address.of("q", 0) != Address.of("q", 1)


def test_what_does_not_fit_is_refused() -> None:
    address = Address.of("q")
    with pytest.raises(ValueError, match="30 tokens does not fit a sequence of 16"):
        claim_slots("q", address, rows=10, width=16, copies=1, longest=30)
    with pytest.raises(ValueError, match="11 insertions do not fit 10"):
        claim_slots("q", address, rows=10, width=16, copies=11, longest=3)
    with pytest.raises(ValueError, match="needs 5 passages"):
        claim_blocks("q", address, blocks=4, needed=5)


def test_positions_spread_over_the_run_and_the_sequence() -> None:
    claim = claim_slots("q", Address.of("q"), rows=4096, width=128, copies=250, longest=20)
    rows, offsets = place(claim, 1, rows=4096, width=128, lengths=np.full(250, 20, dtype=np.int64))
    quarters = np.bincount(rows // 1024, minlength=4)
    assert quarters.min() > 30  # 62.5 expected, standard deviation 6.8
    assert offsets.min() < 16
    assert offsets.max() > 92


@given(
    parts=st.lists(st.one_of(st.integers(), st.text(max_size=5)), min_size=1, max_size=3),
    last=st.lists(st.integers(0, 2**40), max_size=5),
    bits=st.integers(1, 63),
)
def test_hashes_of_many_are_the_hashes_of_each(
    parts: list[object], last: list[int], bits: int
) -> None:
    many = stable_hashes(parts, np.array(last, dtype=np.int64), bits)
    assert many.tolist() == [stable_hash(*parts, number, bits=bits) for number in last]


def test_positions_are_those_of_the_first_release() -> None:
    """A golden value: a study that was run must place its insertions where it did."""
    claim = claim_slots("q", Address.of("q"), rows=500, width=64, copies=6, longest=9)
    rows, offsets = place(claim, 5, rows=500, width=64, lengths=np.arange(4, 10, dtype=np.int64))
    assert rows.tolist() == [10, 47, 409, 359, 29, 102]
    assert offsets.tolist() == [49, 7, 37, 32, 22, 51]
