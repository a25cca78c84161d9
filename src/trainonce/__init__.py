"""TrainOnce: one training run, many answers."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainonce.lab import Study

__all__ = ["Study", "__version__"]
__version__ = version("trainonce")


def __getattr__(name: str) -> Any:
    """Load `Study`, and with it torch, only when it is asked for."""
    if name == "Study":
        from trainonce.lab import Study

        return Study
    raise AttributeError(f"module 'trainonce' has no attribute {name!r}")
