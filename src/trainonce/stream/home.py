"""Where TrainOnce keeps what it can use again: corpora, tokenizers, jobs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "TRAINONCE_HOME"


def home() -> Path:
    """The folder named by ``TRAINONCE_HOME``, or the user's cache folder."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("trainonce")
