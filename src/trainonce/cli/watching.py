"""How far studies are, once or again and again."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live

from trainonce.report.status import studies_view
from trainonce.run.ledger import known_ledger
from trainonce.run.status import StudyStatus, study_statuses
from trainonce.stream.home import home

_LATEST = 5
_SECONDS = 1.0


class NothingKnownError(LookupError):
    """A study that was never begun; the message says what to do."""


def statuses(file: Path | None) -> list[StudyStatus]:
    """How far the study of ``file`` is, or the latest ones are.

    Raises:
        NothingKnownError: when there is none.
        LedgerError: when the ledger cannot be read.
    """
    ledger = known_ledger(home())
    found = []
    if ledger is not None:
        with ledger.reading() as session:
            found = study_statuses(session, file=file, latest=_LATEST if file is None else None)
        ledger.close()
    if found:
        return found
    if file is None:
        raise NothingKnownError("no study was begun yet; first: trainonce run STUDY")
    if not file.is_file():
        raise NothingKnownError(f"there is no file {file}, and no study of it was begun")
    raise NothingKnownError(f"this study was not begun yet; first: trainonce run {file}")


def watched(file: Path | None) -> None:
    """Show it every second, until nothing runs any more, or the user has seen enough.

    Raises:
        NothingKnownError: as `statuses`.
        LedgerError: as `statuses`.
    """
    with suppress(KeyboardInterrupt), Live(console=Console(), auto_refresh=False) as screen:
        while True:
            found = statuses(file)
            screen.update(studies_view(found), refresh=True)
            if all(study.state != "running" for study in found):
                return
            time.sleep(_SECONDS)
