from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from trainonce.stream.foreign import flat
from trainonce.stream.foreign.flat import FlatError, document_bounds, read_flat

TOKENS = [5, 6, 0, 7, 0, 8, 9]


@pytest.mark.parametrize(("dtype", "letter"), [("uint16", "H"), ("uint32", "I")])
def test_a_file_without_header_is_tokens_from_its_first_byte(
    tmp_path: Path, dtype: str, letter: str
) -> None:
    file = tmp_path / "part.npy"
    file.write_bytes(struct.pack(f"<{len(TOKENS)}{letter}", *TOKENS))
    read = read_flat(file, dtype)
    assert read.tolist() == TOKENS
    assert not read.flags.writeable


def test_a_file_with_header_says_its_own_type(tmp_path: Path) -> None:
    file = tmp_path / "part.npy"
    header = "{'descr': '<u4', 'fortran_order': False, 'shape': (7,), }".ljust(117) + "\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    file.write_bytes(start + struct.pack("<7I", *TOKENS))
    read = read_flat(file)
    assert read.tolist() == TOKENS
    assert read.dtype == np.uint32


def test_bounds_close_documents_with_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for block in (1, 2, 3, 100):
        monkeypatch.setattr(flat, "_BLOCK", block)
        assert document_bounds(np.array(TOKENS), 0).tolist() == [0, 3, 5, 7]
        assert document_bounds(np.array(TOKENS[:5]), 0).tolist() == [0, 3, 5]


def test_what_holds_no_tokens_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "part.npy"
    with pytest.raises(FlatError, match="there is no file"):
        read_flat(file)
    file.write_bytes(b"abc")
    with pytest.raises(FlatError, match="3 bytes, which is no number of uint16"):
        read_flat(file)
    for array in (np.zeros((2, 2), dtype=np.uint16), np.zeros(3)):
        np.save(file, array)
        with pytest.raises(FlatError, match="not tokens"):
            read_flat(file)
