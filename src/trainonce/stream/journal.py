"""Files that only grow, and a journal of how far they are good."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

JOURNAL = "journal.json"


class GrowingFiles:
    """Files in a folder that are appended to, each cut back to the last commit when opened.

    What was committed survives SIGKILL and power loss; what was not is written again.

    Attributes:
        facts: what the last commit said; empty when there was none.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        state = _read(folder / JOURNAL)
        sizes: dict[str, int] = state.get("sizes", {})
        there = {name: (folder / name).stat().st_size for name in names if (folder / name).exists()}
        if any(there.get(name, 0) < sizes.get(name, 0) for name in names):
            state, sizes = {}, {}  # a file was taken away: begin anew
        self.facts: dict[str, Any] = state.get("facts", {})
        self._files = {name: (folder / name).open("ab") for name in names}
        for name, file in self._files.items():
            file.truncate(sizes.get(name, 0))

    def __enter__(self) -> GrowingFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()

    def append(self, name: str, data: bytes) -> None:
        """Write ``data`` at the end of a file."""
        self._files[name].write(data)

    def commit(self, **facts: Any) -> None:
        """Vouch for all that was appended so far, and remember ``facts``."""
        sizes = {}
        for name, file in self._files.items():
            file.flush()
            os.fsync(file.fileno())
            sizes[name] = os.fstat(file.fileno()).st_size
        self.facts = facts
        write_whole(self._folder / JOURNAL, json.dumps({"sizes": sizes, "facts": facts}))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either as before or whole."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read(journal: Path) -> dict[str, Any]:
    return dict(json.loads(journal.read_text(encoding="utf-8"))) if journal.is_file() else {}
