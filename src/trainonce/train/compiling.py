"""Whether compiling a model pays on this machine: measured once, and remembered.

Compiling (`torch.compile`) makes a step faster and the first one much slower, so it pays for long
runs only. Other kernels give other last bits: whether a run is compiled is decided before it
begins, and belongs to its job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor

from trainonce.models.build import build
from trainonce.train.measured import Measured
from trainonce.train.rehearsal import Reference

_VOCABULARY, _SEQUENCES, _TOKENS = 1024, 8, 256


def _tokens() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(_VOCABULARY, (_SEQUENCES, _TOKENS + 1), generator=draw)
    return tokens_BT[:, :-1], tokens_BT[:, 1:]


REFERENCE = Reference(
    name="mini",
    title=f"the decoder `mini`, {_SEQUENCES} x {_TOKENS} tokens",
    build=lambda seed: build("mini", _VOCABULARY, seed),
    batch=_tokens,
    rows=_SEQUENCES * _TOKENS,
)
"""What is compiled to see what it brings: larger models gain less, so one that is not tiny."""

_TURNS = 9
_STARTS = 2.0
_LEAST_SAVED = 0.02  # less than that is noise


@dataclass(frozen=True, kw_only=True)
class Compiling:
    """What compiling brings on one machine.

    Attributes:
        faster: how often a compiled step fits into one that is not.
        first: seconds that the first compiled step takes longer.
        why_not: what the compiler said when it failed, else empty.
    """

    faster: float
    first: float
    why_not: str = ""

    @property
    def least(self) -> float | None:
        """Seconds that a run takes at least, not compiled, for it to pay; None when it never does.

        A run is compiled again each time it goes on: one such stop is counted on.
        """
        saved = 1 - 1 / self.faster
        return _STARTS * self.first / saved if saved > _LEAST_SAVED else None

    def pays(self, seconds: float) -> bool:
        """Whether a run of so many seconds, not compiled, ends earlier compiled."""
        return self.least is not None and seconds > self.least


_MEASURED = Measured("compiling.json", TypeAdapter(dict[str, Compiling]))


def measure(
    device: torch.device,
    *,
    reference: Reference = REFERENCE,
    compiler: Callable[[torch.nn.Module], None] = torch.nn.Module.compile,
) -> Compiling:
    """Time steps of ``reference`` as it is and compiled, in turns; the best turns count.

    Where the compiler fails, which without a C++ compiler it does, compiling never pays.
    """
    plain, compiled = reference.build(0).to(device), reference.build(0).to(device)
    compiler(compiled)
    inputs, targets = (tensor.to(device) for tensor in reference.batch())

    def step(model: torch.nn.Module) -> float:
        start = time.perf_counter()
        loss = F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        loss.backward()
        model.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    try:
        first = step(compiled)
    except Exception as error:  # whatever a compiler may raise
        return Compiling(faster=1.0, first=0.0, why_not=str(error).strip().partition("\n")[0])
    times = [[step(model) for model in (plain, compiled)] for _ in range(_TURNS)]
    slow, fast = (min(column) for column in zip(*times, strict=True))
    return Compiling(faster=max(1.0, slow / fast), first=max(0.0, first - slow))


def remembered(home: Path, device: torch.device) -> Compiling | None:
    """What was measured for ``device`` and the machine as it is now, if it was.

    Raises:
        CalibrationError: when what was remembered cannot be read.
    """
    return _MEASURED.of(home, device)


def remember(home: Path, device: torch.device, found: Compiling) -> None:
    """Keep ``found`` under ``home``, beside what other machines found."""
    _MEASURED.keep(home, device, found)
