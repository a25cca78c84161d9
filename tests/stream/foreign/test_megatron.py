from __future__ import annotations

import struct
from pathlib import Path

import pytest

from trainonce.stream.foreign.megatron import MegatronError, read_megatron

# type code -> the letter of `struct` for it
LETTERS = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 8: "H"}


def write(folder: Path, code: int, documents: list[list[list[int]]]) -> Path:
    """The format, field by field."""
    sequences = [sequence for document in documents for sequence in document]
    letter = LETTERS.get(code, "f")
    index = b"MMIDIDX\x00\x00" + struct.pack("<Q", 1) + struct.pack("<B", code)
    index += struct.pack("<Q", len(sequences)) + struct.pack("<Q", len(documents) + 1)
    for sequence in sequences:
        index += struct.pack("<i", len(sequence))
    at = 0
    for sequence in sequences:
        index += struct.pack("<q", at)
        at += len(sequence) * struct.calcsize(f"<{letter}")
    bound = 0
    index += struct.pack("<q", 0)
    for document in documents:
        bound += len(document)
        index += struct.pack("<q", bound)
    (folder / "data.idx").write_bytes(index)
    data = [struct.pack(f"<{len(sequence)}{letter}", *sequence) for sequence in sequences]
    (folder / "data.bin").write_bytes(b"".join(data))
    return folder / "data.idx"


DOCUMENTS = [[[1, 2, 3], [4]], [[5, 6]], [[7, 8, 9, 100]]]


@pytest.mark.parametrize("code", LETTERS)
def test_every_integer_type_is_read_back(tmp_path: Path, code: int) -> None:
    read = read_megatron(write(tmp_path, code, DOCUMENTS))
    found = [
        [read[sequence].tolist() for sequence in range(low, high)]
        for low, high in zip(read.documents[:-1], read.documents[1:], strict=True)
    ]
    assert found == DOCUMENTS
    assert len(read) == 4
    assert not read.tokens.flags.writeable


def test_what_is_no_pair_is_refused(tmp_path: Path) -> None:
    index = write(tmp_path, 4, DOCUMENTS)
    whole = index.read_bytes()
    for damaged, message in (
        (b"no index" + whole[8:], "does not start as"),
        (whole[:9] + struct.pack("<Q", 2) + whole[17:], "of version 2"),
        (whole[:17] + b"\x07" + whole[18:], "type code 7"),
        (whole[:-1], "is cut short"),
    ):
        index.write_bytes(damaged)
        with pytest.raises(MegatronError, match=message):
            read_megatron(index)
    index.write_bytes(whole)
    data = tmp_path / "data.bin"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(MegatronError, match=r"data\.bin is cut short"):
        read_megatron(index)
    data.unlink()
    with pytest.raises(MegatronError, match=r"no file .*data\.bin"):
        read_megatron(index)
