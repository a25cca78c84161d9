"""The live page, served until the user has seen enough."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
from pathlib import Path

import typer

from trainonce.cli.console import WRONG, errors
from trainonce.cli.progress import data_progress
from trainonce.lab import Study
from trainonce.stream.home import home

_NEEDED = ("starlette", "uvicorn")
_LAST_SECONDS = 5


def serve_study(study: Path | None, *, host: str, port: int, closed: bool) -> None:
    """Plan a study, if there is one, and serve its page until interrupted.

    Args:
        study: the study file; None for the list of studies.
        host: the address to listen at.
        port: there; 0 for any that is free.
        closed: whether a token is asked for even at loopback.

    Raises:
        StudyError: when the study cannot be planned.
        typer.Exit: when the page cannot be served; what is missing is said.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        errors().print(
            "the live page needs two more packages: pip install 'trainonce[serve]'", markup=False
        )
        raise typer.Exit(WRONG)
    import uvicorn

    from trainonce.report.live.app import Live, live_app
    from trainonce.report.live.guard import Access, is_loopback
    from trainonce.report.live.study import Records, ServedStudy

    listening = _listening(host, port)
    access = Access(host=host, closed=closed or not is_loopback(host))
    records = Records(home())
    served = None
    if study is not None:
        loaded = Study.load(study)
        with data_progress(errors()) as progress:
            planned = loaded.plan(progress)
        served = ServedStudy(records, lambda: Study.load(study).plan(), planned)
    live = Live(records, access, served)
    config = uvicorn.Config(
        live_app(live),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    server = uvicorn.Server(config)
    live.is_closing = lambda: server.should_exit
    typer.echo(_address(host, listening.getsockname()[1], access.token if access.closed else None))
    if access.closed:
        errors().print("Whoever has this address sees the study and can stop it.", style="yellow")
    errors().print("Ctrl-C ends the page; a study that runs goes on.", style="dim")
    for number in (signal.SIGINT, signal.SIGTERM):  # from here on they end the page and no more
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), listening:
        server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        errors().print(
            f"cannot listen at {host}, port {port}: {error.strerror}; choose another with --port, "
            "or 0 for any that is free",
            markup=False,
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(WRONG) from None


def _address(host: str, port: int, token: str | None) -> str:
    """The page's address, for the user to open."""
    name = socket.getfqdn() if host in ("0.0.0.0", "::") else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/{f'?token={token}' if token else ''}"
