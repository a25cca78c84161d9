"""Where words go: answers to standard output, everything else to standard error."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from trainonce.run.local import JobFailedError
from trainonce.study.problems import StudyError

DONE, FAILED, WRONG = 0, 1, 2


def show(view: RenderableType) -> None:
    """Print a view for people."""
    Console().print(view)


def show_json(document: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def errors() -> Console:
    """The console of standard error."""
    return Console(stderr=True)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what can go wrong into a message and the exit code that belongs to it."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except StudyError as error:
        count = len(error.problems)
        errors().print(f"[bold red]{count} problem{'s' * (count > 1)} in the study[/]")
        for problem in error.problems:
            errors().print(escape(str(problem)), soft_wrap=True, highlight=False)
        raise typer.Exit(WRONG) from None
    except JobFailedError as error:
        errors().print("[bold red]A job failed.[/] What is finished stays; run again to go on.")
        errors().print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        errors().print("\nStopped. What is finished or saved stays; run again to go on.")
        raise typer.Exit(FAILED) from None
