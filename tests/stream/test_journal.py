from __future__ import annotations

from pathlib import Path

from trainonce.stream.journal import GrowingFiles

NAMES = ["a", "b"]


def test_what_was_not_committed_is_cut_off(tmp_path: Path) -> None:
    with GrowingFiles(tmp_path, NAMES) as files:
        assert files.facts == {}
        files.append("a", b"one")
        files.commit(done=1)
        files.append("a", b"lost")
        files.append("b", b"lost")
    with GrowingFiles(tmp_path, NAMES) as files:
        assert files.facts == {"done": 1}
        files.append("a", b"two")
        files.commit(done=2)
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert (tmp_path / "b").read_bytes() == b""


def test_a_file_that_was_taken_away_begins_anew(tmp_path: Path) -> None:
    with GrowingFiles(tmp_path, NAMES) as files:
        files.append("a", b"one")
        files.append("b", b"two")
        files.commit(done=1)
    (tmp_path / "b").unlink()
    with GrowingFiles(tmp_path, NAMES) as files:
        assert files.facts == {}
    assert (tmp_path / "a").read_bytes() == b""
