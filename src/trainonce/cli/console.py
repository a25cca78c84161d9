"""Where words go: answers to standard output, everything else to standard error."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from trainonce.run.ledger import LedgerError
from trainonce.study.problems import StudyError

DONE, FAILED, WRONG = 0, 1, 2


def show(view: RenderableType) -> None:
    """Print a view for people."""
    Console().print(view)


def show_json(document: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json_text(document))


def json_text(document: Any) -> str:
    """One JSON document as it is printed."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def errors() -> Console:
    """The console of standard error."""
    return Console(stderr=True)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what can go wrong into a message and the exit code that belongs to it."""
    # these bring torch, and `status` does without
    from trainonce.plan.saved import PlanFileError
    from trainonce.run.executor import ExecutorError
    from trainonce.run.scheduler import JobFailedError
    from trainonce.run.tracking import TrackerError
    from trainonce.train.measured import CalibrationError

    first = True

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        nonlocal first
        if first:  # not through a console, whose lock this may have interrupted
            os.write(2, b"\nStopping: what is running saves its state. Again leaves at once.\n")
        first = False
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    try:
        yield
    except StudyError as error:
        count = len(error.problems)
        errors().print(f"[bold red]{count} problem{'s' * (count > 1)} in the study[/]")
        for problem in error.problems:
            errors().print(escape(str(problem)), soft_wrap=True, highlight=False)
        raise typer.Exit(WRONG) from None
    except (TrackerError, CalibrationError, ExecutorError, PlanFileError) as error:
        errors().print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(WRONG) from None
    except JobFailedError as error:
        errors().print("[bold red]A job failed.[/] What is finished stays; run again to go on.")
        errors().print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(FAILED) from None
    except LedgerError as error:
        errors().print("[bold red]The ledger cannot be used;[/] nothing was run.")
        errors().print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        errors().print(
            "[bold red]The system refused.[/] What is finished stays; run again to go on."
        )
        errors().print(escape(str(error)), soft_wrap=True, highlight=False)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            errors().print(
                "The disk is full: free some space, or move the cache to a larger disk and name it "
                "in TRAINONCE_HOME.",
                highlight=False,
            )
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        errors().print("\nStopped. What is finished or saved stays; run again to go on.")
        raise typer.Exit(FAILED) from None
