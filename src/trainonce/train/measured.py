"""What was measured of machines, kept as a JSON file in the home folder."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError

from trainonce.train.rehearsal_pool import cores

_Found = TypeVar("_Found")


class CalibrationError(ValueError):
    """A file of calibrations that cannot be read; the message says what mends it."""


@dataclass(frozen=True)
class Measured(Generic[_Found]):
    """What was found on each machine.

    Attributes:
        file: its name in the home folder.
        adapter: reads and writes what it holds, by machine.
    """

    file: str
    adapter: TypeAdapter[dict[str, _Found]]

    def of(self, home: Path, device: torch.device) -> _Found | None:
        """What was kept for ``device`` and the machine as it is now, if anything was.

        Raises:
            CalibrationError: when the file cannot be read.
        """
        return self._read(home).get(machine(device))

    def keep(self, home: Path, device: torch.device, found: _Found) -> None:
        """Keep ``found`` under ``home``, beside what other machines found."""
        known = {**self._read(home), machine(device): found}
        home.mkdir(parents=True, exist_ok=True)
        temporary = home / f".{self.file}.tmp"
        temporary.write_bytes(self.adapter.dump_json(known, indent=1))
        temporary.replace(home / self.file)

    def _read(self, home: Path) -> dict[str, _Found]:
        file = home / self.file
        try:
            return self.adapter.validate_json(file.read_bytes()) if file.is_file() else {}
        except ValidationError as error:
            told = f"{file} is damaged; delete it, then: trainonce doctor"
            raise CalibrationError(told) from error


def machine(device: torch.device) -> str:
    """What a measurement holds for: processor, cores, device and version of torch."""
    parts = [platform.system(), platform.machine(), _processor(), f"{cores()} cores"]
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    return ", ".join([*parts, device.type, f"torch {torch.__version__}"])


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
