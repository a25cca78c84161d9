"""The precision that is fastest on this machine, by a short timed probe."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path

import torch

_SIZE = 256
_REPEATS = 40
_WORTH = 1.2


class Precision(StrEnum):
    """What the matrix products of a run are computed in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def fastest(device: torch.device) -> Precision:
    """The faster of float32 and bfloat16, the second only where it clearly pays.

    What a machine supports says little: on some CPUs bfloat16 products run a hundred times slower
    than float32. The probe times products of two 256 x 256 matrices, some 30 milliseconds in all:
    on one thread, in turn, the best of forty, so that what else the machine does decides nothing.
    """
    best = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_REPEATS):
            for dtype in best:
                best[dtype] = min(best[dtype], _seconds(dtype, device))
    finally:
        torch.set_num_threads(threads)
    pays = best[torch.bfloat16] * _WORTH < best[torch.float32]
    return Precision.BFLOAT16 if pays else Precision.FLOAT32


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
    """The time of one product."""
    left = torch.ones(_SIZE, _SIZE, dtype=dtype, device=device)
    start = time.perf_counter()
    (left @ left)[0, 0].item()
    return time.perf_counter() - start
