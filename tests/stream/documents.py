"""A corpus of text files in two folders and outside of them."""

from __future__ import annotations

import random
from pathlib import Path

CODE = ("def", "class", "return", "import", "self", "lambda", "yield", "raise", "with", "async")
PROSE = ("river", "stone", "paper", "glass", "water", "bread", "light", "dark", "green", "blue")


def write_folders(folder: Path, files: int = 60, others: int = 20, words: int = 150) -> Path:
    """``files`` files below ``code/`` and below ``deep/docs/``, of other words, and some others."""
    draw = random.Random(11)

    def write(name: str, vocabulary: tuple[str, ...]) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(draw.choice(vocabulary) for _ in range(words)))

    for number in range(files):
        write(f"code/{number:03d}.py", CODE)
        write(f"deep/docs/{number:03d}.txt", PROSE)
    for number in range(others):
        write(f"other-{number:03d}.txt", (*CODE, *PROSE))
    return folder
