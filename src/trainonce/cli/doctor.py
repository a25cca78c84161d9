"""What this machine has, and what would mend what it lacks."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from trainonce.cli.doctor_machine import machine
from trainonce.cli.doctor_packages import packages
from trainonce.cli.finding import Finding
from trainonce.stream.home import VARIABLE, home

if TYPE_CHECKING:
    from trainonce.train.calibrate import Timing
    from trainonce.train.compiling import Compiling

_LITTLE_DISK = 2 * 10**9


def examine(tell: Callable[[str], None], *, calibrate: bool = False) -> list[Finding]:
    """Look at everything that a study needs.

    Args:
        tell: told in a line what takes its time.
        calibrate: whether to time replicas, up to a minute, also when it was done before.
    """
    found = [*_python(), *_torch(), *machine(), *_home(), *_ledger(), *packages()]
    if all(finding.state != "bad" for finding in found):
        found += [*_replicas(tell, calibrate), *_compiling(tell, calibrate)]
    return found


def findings_view(findings: list[Finding]) -> Table:
    """The findings as a table."""
    styles = {"good": "green", "note": "yellow", "bad": "bold red"}
    table = Table(title="This machine", title_justify="left")
    for name in ("what", "state", "found", "fix"):
        table.add_column(name)
    for finding in findings:
        state = Text(finding.state, style=styles[finding.state])
        table.add_row(finding.name, state, Text(finding.found), Text(finding.fix))
    return table


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("Python", "good" if good else "bad", version, "" if good else "use 3.11 or newer")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("torch", "bad", str(error), "pip install -c constraints.txt trainonce")
        return
    from trainonce.train.precision import fastest

    yield Finding("torch", "good", torch.__version__)
    cuda = torch.cuda.is_available()
    if not cuda and shutil.which("nvidia-smi"):
        fix = "install a torch that was built for CUDA, as pytorch.org says"
        yield Finding("GPU", "note", f"there is one that torch {torch.__version__} cannot use", fix)
    else:
        yield Finding("GPU", "good", torch.cuda.get_device_name(0) if cuda else "none; CPU it is")
    device = torch.device("cuda" if cuda else "cpu")
    yield Finding("fastest precision", "good", f"{fastest(device).value} (timed just now)")


def _home() -> Iterator[Finding]:
    from trainonce.run.entries import size_of

    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        fix = f"set {VARIABLE} to a folder that can be written to"
        yield Finding("cache", "bad", f"{folder}: {error.strerror}", fix)
        return
    free = shutil.disk_usage(folder).free
    little = free < _LITTLE_DISK
    fix = f"free some space, or set {VARIABLE} to a folder elsewhere" if little else ""
    jobs = sum(1 for job in (folder / "jobs").glob("*/result.json")) if folder.is_dir() else 0
    found = f"{folder}: {jobs} finished jobs, {size_of(folder) / 1e6:.0f} MB"
    yield Finding("cache", "good", found)
    yield Finding("disk", "note" if little else "good", f"{free / 1e9:.0f} GB free there", fix)


def _ledger() -> Iterator[Finding]:
    from trainonce.run.ledger import LedgerError, known_ledger

    try:
        ledger = known_ledger(home())
    except LedgerError as error:
        yield Finding("ledger", "bad", str(error), "mend it, or move it away to begin a new one")
        return
    if ledger is None:
        yield Finding("ledger", "good", "none yet")
        return
    yield Finding("ledger", "good", ledger.engine.url.render_as_string(hide_password=True))
    ledger.close()


def _replicas(tell: Callable[[str], None], measure: bool) -> Iterator[Finding]:
    """Which way of training several runs of one shape pays; measured once, and remembered."""
    import torch

    from trainonce.train.calibrate import COUNTS, calibrate, remember, remembered
    from trainonce.train.measured import CalibrationError
    from trainonce.train.rehearsal import REFERENCES

    for name in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        device = torch.device(name)
        try:
            known = remembered(home(), device)
        except CalibrationError as error:
            yield Finding(f"replicas, {name}", "bad", str(error), "delete it")
            return
        if measure or not known:
            known = calibrate(device, tell=tell)
            remember(home(), device, known)
        for reference, timing in known.items():
            found = ", ".join(_pays(timing, runs) for runs in COUNTS)
            title = REFERENCES[reference].title if reference in REFERENCES else reference
            yield Finding(f"replicas: {reference}, {name}", "good", f"{title}: {found}")


def _compiling(tell: Callable[[str], None], measure: bool) -> Iterator[Finding]:
    """Whether compiling pays; measured once, and remembered."""
    import torch

    from trainonce.train import compiling
    from trainonce.train.measured import CalibrationError

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        known = compiling.remembered(home(), device)
    except CalibrationError as error:
        yield Finding(f"compiling, {device.type}", "bad", str(error), "delete it")
        return
    if known is None or measure:
        tell(f"timing a compiled model on {device.type}")
        known = compiling.measure(device)
        compiling.remember(home(), device, known)
    if known.why_not:
        found, fix = f"not possible: {known.why_not}", "install a C++ compiler, such as g++"
        yield Finding(f"compiling, {device.type}", "note", found, fix)
        return
    found = f"{known.faster:.2f}x faster, the first step {known.first:.0f} s slower"
    yield Finding(f"compiling, {device.type}", "good", f"{found}; {_from(known)}")


def _from(known: Compiling) -> str:
    if known.least is None:
        return "never pays"
    return f"plans compile runs over {known.least / 60:.0f} min"


def _pays(timing: Timing, runs: int) -> str:
    way = timing.best(runs)
    gain = timing.alone * runs / timing.seconds(way, runs)
    return f"K={runs} {way.value} {gain:.1f}x"
