"""The pages, the events that keep them up to date, and the two buttons."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from subprocess import Popen
from typing import Any

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from trainonce.plan.plan import Plan
from trainonce.report.html import environment
from trainonce.report.live import curves
from trainonce.report.live.facts import SLOTS, Facts, Seen, changed, steps_reached
from trainonce.report.live.guard import Access, Guard
from trainonce.report.live.study import (
    Glance,
    LedgerStudy,
    Records,
    ServedStudy,
    end_of_log,
    studies_seen,
)
from trainonce.report.picture import STYLE, plan_svg
from trainonce.run.control import ControlError, go_on, stop
from trainonce.study.schema import AA

SECONDS = 1.0
"""Between two looks at what is shown."""

_MOST_PAGES = 100
_STATIC = {
    "report.css": "text/css",
    "live.css": "text/css",
    "live.js": "text/javascript",
}


@dataclass
class Live:
    """What the server shows and does.

    Attributes:
        records: the ledger.
        access: who may see it.
        study: the one that it was started for; None to show all of the ledger's and stop none.
        started: the process that a button started last.
        is_closing: whether the server is about to end, and its pages with it.
    """

    records: Records
    access: Access
    study: ServedStudy | None = None
    started: Popen[bytes] | None = None
    is_closing: Callable[[], bool] = lambda: False
    _glances: dict[str, Glance] = field(default_factory=dict)
    _others: dict[str, LedgerStudy] = field(default_factory=dict)
    _note: str = ""
    _stopping: bool = False
    _log: Path | None = None

    def glance(self, page: str) -> Glance | None:
        """What a page shows: ``study``, ``studies``, or the hash of a plan that the ledger knows.

        Raises:
            LedgerError: when the ledger cannot be read.
        """
        if page not in self._glances:
            look = self._look_of(page)
            if look is None:
                return None
            self._glances[page] = Glance(look)
        return self._glances[page]

    def other(self, page: str) -> LedgerStudy:
        """A study that is known by the ledger alone."""
        return self._others[page]

    def stop(self) -> str:
        """Ask the process that runs the study to stop.

        Raises:
            ControlError: when it cannot be.
        """
        study = self._served()
        if study.status is None:
            raise ControlError("nothing runs this study: it was not begun yet")
        stop(study.status)
        self._stopping = True
        self._note = "Asked to stop. What runs saves its state first."
        return self._note

    def go_on(self) -> str:
        """Start a process that goes on with the study.

        Raises:
            ControlError: when one runs, or none can be started.
        """
        study = self._served()
        if study.is_finished:
            raise ControlError("this study is finished")
        if self._is_running(study):
            raise ControlError("this study runs already")
        self._log = study.plan.home / "logs" / f"serve-{int(time.time())}.log"
        self.started = go_on(study.plan.file, self._log)
        self._stopping = False
        self._note = f"Started process {self.started.pid}. It goes on when this page is closed."
        return self._note

    def _served(self) -> ServedStudy:
        if self.study is None:
            raise ControlError("this page is for no study: trainonce serve STUDY")
        return self.study

    def _is_running(self, study: ServedStudy) -> bool:
        own = self.started is not None and self.started.poll() is None
        return own or (study.status is not None and study.status.state == "running")

    def _look_of(self, page: str) -> Callable[[], Seen] | None:
        if page == "studies":
            return lambda: studies_seen(self.records.studies())
        if page == "study":
            return self._look if self.study else None
        if all(study.plan_hash != page for study in self.records.studies()):
            return None
        self._others[page] = LedgerStudy(self.records, page)
        return self._others[page].look

    def _look(self) -> Seen:
        """The served study, with what its buttons can do."""
        study = self._served()
        seen = study.look()
        running = self._is_running(study)
        ledger_runs = study.status is not None and study.status.state == "running"
        facts = seen.facts | {
            "stop.off": not ledger_runs,
            "resume.off": running or study.is_finished,
            "resume.word": "Resume" if study.status else "Run",
            "control.note": self._told(ledger_runs),
        }
        return Seen(seen.structure, facts)

    def _told(self, ledger_runs: bool) -> str:
        """What became of the button that was pressed last, until it has done what it does."""
        if self._note and ledger_runs != self._stopping:
            self._note = ""
        code = self.started.poll() if self.started else None
        if self._note and not self._stopping and code and self._log:
            said = end_of_log(self._log, self._served().plan.home).strip()
            return f"The process that was started ended with {code}. {said}"
        return self._note


def live_app(live: Live) -> Starlette:
    """The page as an ASGI application, guarded."""

    async def home(request: Request) -> Response:
        return await (study_page(request) if live.study else studies_page(request))

    async def study_page(_request: Request) -> Response:
        assert live.study
        seen = await _seen(live, "study")
        assert seen
        return await run_in_threadpool(_study_page, live, seen)

    async def studies_page(_request: Request) -> Response:
        seen = await _seen(live, "studies")
        studies = await run_in_threadpool(live.records.studies)
        return _html("live_studies.html.j2", live, seen, "studies", studies=studies)

    async def other_page(request: Request) -> Response:
        name = request.path_params["name"]
        seen = await _seen(live, name)
        if seen is None:
            return Response("No such study.\n", 404, media_type="text/plain")
        return await run_in_threadpool(_other_page, live, name, seen)

    async def events(request: Request) -> Response:
        glance = await run_in_threadpool(live.glance, request.path_params["name"])
        if glance is None:
            return Response("No such study.\n", 404, media_type="text/plain")
        if open_pages >= _MOST_PAGES:
            return Response("Too many pages are open.\n", 503, media_type="text/plain")
        return StreamingResponse(counted(glance), media_type="text/event-stream")

    open_pages = 0

    async def counted(glance: Glance) -> AsyncIterator[str]:
        nonlocal open_pages
        open_pages += 1
        try:
            async for event in stream(glance, until=live.is_closing):
                yield event
        finally:
            open_pages -= 1

    def button(act: Callable[[], str]) -> Callable[[Request], Awaitable[Response]]:
        async def press(_request: Request) -> Response:
            try:
                note = await run_in_threadpool(act)
            except ControlError as error:
                return JSONResponse({"note": str(error)}, 409)
            glance = live.glance("study")
            assert glance
            glance.forget()
            return JSONResponse({"note": note})

        return press

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return Response("No such file.\n", 404, media_type="text/plain")
        return Response(_source(name), media_type=_STATIC[name])

    return Starlette(
        routes=[
            Route("/", home),
            Route("/studies", studies_page),
            Route("/studies/{name}", other_page),
            Route("/events/{name}", events),
            Route("/static/{name}", static),
            Route("/stop", button(live.stop), methods=["POST"]),
            Route("/resume", button(live.go_on), methods=["POST"]),
        ],
        middleware=[Middleware(Guard, access=live.access, policy=POLICY)],
    )


async def stream(
    glance: Glance,
    seconds: float = SECONDS,
    keep_alive: float = 15.0,
    until: Callable[[], bool] = lambda: False,
) -> AsyncIterator[str]:
    """Server-sent events: everything at first, then what has changed.

    Args:
        glance: what is looked at.
        seconds: between two looks.
        keep_alive: seconds without news after which a word is said, so that nobody hangs up.
        until: asked before each look whether to end.
    """
    shown: Facts = {}
    quiet = 0.0
    while not until():
        seen = await run_in_threadpool(glance)
        now: Facts = {**seen.facts, "structure": seen.structure}
        if news := changed(shown, now):
            yield f"data: {json.dumps(news, ensure_ascii=True)}\n\n"
            shown, quiet = now, 0.0
        elif quiet >= keep_alive:
            yield ": still here\n\n"
            quiet = 0.0
        await asyncio.sleep(seconds)
        quiet += seconds


async def _seen(live: Live, page: str) -> Seen | None:
    glance = await run_in_threadpool(live.glance, page)
    return await run_in_threadpool(glance) if glance else None


def _study_page(live: Live, seen: Seen) -> Response:
    assert live.study
    study = live.study
    plan: Plan = study.plan
    jobs = study.jobs
    return _html(
        "live_study.html.j2",
        live,
        seen,
        "study",
        title=plan.study,
        file=str(plan.file),
        plan=plan,
        graph=Markup(plan_svg(plan, steps_reached(plan, jobs))),  # escapes what a study holds
        lines=study.lines,
        runs=study.losses.runs,
        controls=True,
        aa=AA,
    )


def _other_page(live: Live, name: str, seen: Seen) -> Response:
    other = live.other(name)
    status = other.status
    return _html(
        "live_study.html.j2",
        live,
        seen,
        name,
        title=status.study if status else "A study that is gone",
        file=status.file if status else "",
        plan=None,
        graph="",
        lines=other.lines,
        runs=other.losses.runs if other.losses else (),
        controls=False,
        aa=AA,
    )


def _html(template: str, live: Live, seen: Seen | None, page: str, **values: Any) -> Response:
    assert seen
    text = environment.get_template(template).render(
        facts=seen.facts,
        structure=seen.structure,
        page=page,
        token=live.access.token,
        served=live.study is not None,
        slots=SLOTS,
        axes=curves,
        **values,
    )
    return HTMLResponse(text)


@cache
def _source(name: str) -> str:
    return (files("trainonce.report") / "templates" / name).read_text(encoding="utf-8")


def _policy() -> str:
    """Only our own files, and the one style sheet that the plan's picture carries in itself."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'sha256-{digest}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


POLICY = _policy()
