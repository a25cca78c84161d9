"""The precision that is fastest on this machine, by a short timed probe."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path

import torch

_SIZE = 256
_REPEATS = 5
_WORTH = 1.2


class Precision(StrEnum):
    """What the matrix products of a run are computed in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def fastest(device: torch.device) -> Precision:
    """The faster of float32 and bfloat16, the second only where it clearly pays.

    What a machine supports says little: on some CPUs bfloat16 products run a hundred times slower
    than float32. The probe times a product of two 256 x 256 matrices, some milliseconds in all.
    """
    exact = _seconds(torch.float32, device)
    rough = _seconds(torch.bfloat16, device)
    return Precision.BFLOAT16 if rough * _WORTH < exact else Precision.FLOAT32


def resolve(wanted: str, device: torch.device, home: Path) -> Precision:
    """The precision that a recipe asks for; ``auto`` is probed once a machine and remembered.

    It is remembered because a probe that decided otherwise next time would make all jobs new.
    """
    if wanted != "auto":
        return Precision(wanted)
    file = home / "precision.json"
    known: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
    machine = f"{device.type} torch {torch.__version__}"
    if machine not in known:
        known[machine] = fastest(device).value
        home.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known))
    return Precision(known[machine])


def _seconds(dtype: torch.dtype, device: torch.device) -> float:
    left = torch.ones(_SIZE, _SIZE, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        (left @ left).sum().item()
        best = min(best, time.perf_counter() - start)
    return best
