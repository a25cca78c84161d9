"""The live page as a person meets it: in Chromium, while a real study runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.report.conftest import IN_CHROMIUM
from tests.report.live.conftest import HOSTILE, write_study
from trainonce.run.ledger import VARIABLE as LEDGER
from trainonce.run.store import VARIABLE as STORE
from trainonce.stream.home import VARIABLE as HOME

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE = {"width": 360, "height": 740}
SECONDS = 120_000
"""Milliseconds that something may take on a machine that is busy."""

pytestmark = IN_CHROMIUM


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which nothing may go wrong unseen."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(SECONDS)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
    opened.on(
        "console",
        lambda said: (
            wrong.append(said.text) if said.type == "error" and "409" not in said.text else None
        ),
    )
    opened.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith(("http://127.0.0.1:", "data:"))
            else wrong.append(asked.url)
        ),
    )
    yield opened
    context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, documents_file: Path) -> Iterator[str]:
    """A server for a study that takes a while and was not begun."""
    folder = tmp_path_factory.mktemp("served")
    file = write_study(folder, documents_file, 1500)
    process = subprocess.Popen(
        [sys.executable, "-m", "trainonce", "serve", str(file), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, HOME: str(folder / "home"), LEDGER: "", STORE: ""},
    )
    assert process.stdout
    found = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", found), found
    yield found
    process.terminate()
    process.communicate(timeout=30)


def serious(page: Page) -> list[str]:
    """What axe-core finds that is serious or worse."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {[node['html'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def is_as_wide_as_the_screen(page: Page) -> bool:
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    return bool(page.evaluate(wide))


@pytest.mark.slow
def test_a_study_is_run_stopped_and_gone_on_with_from_the_page(page: Page, address: str) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=SECONDS)
    page.goto(address)
    expect(page.locator("#line")).to_have_text("Connected: this page keeps itself up to date.")
    expect(page.locator("h1")).to_have_text(f"Seen {HOSTILE}")
    assert page.title() == f"Seen {HOSTILE}"
    expect(page.locator(".now .state")).to_have_text("Not begun")
    assert serious(page) == []

    # by keyboard alone: the link that skips, the way to the studies, the two buttons
    names = []
    for _ in range(4):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
    assert names == ["Skip to the content", "All studies", "Stop", "Run"]
    page.keyboard.press("Enter")
    expect(page.locator("#control")).to_contain_text("Started process")
    expect(page.locator(".now .state")).to_have_text("Running")
    assert page.evaluate("document.activeElement.textContent") == "Resume"

    # it fills in without being loaded again
    page.evaluate("window.same = true")
    note = page.locator(".running li:not([hidden]) .quiet").first
    expect(note).to_have_text(re.compile(r"step [\d,]+ of 1,500, loss \d"))
    before = note.text_content()
    expect(note).not_to_have_text(before or "")
    expect(page.locator(".losses polyline").first).to_have_attribute("points", re.compile(r"\d"))
    expect(page.locator(".branch").first).to_have_attribute("data-state", "running")
    assert serious(page) == []

    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert is_as_wide_as_the_screen(page)
    assert serious(page) == []
    page.emulate_media(color_scheme="dark")
    assert serious(page) == []

    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#control")).to_contain_text("saves its state")
    expect(page.locator(".now .state")).to_have_text("Stopped")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".now .state")).to_have_text("Finished")
    expect(page.locator("article.live[data-state=waiting]")).to_have_count(0)
    expect(page.locator(".branch:not([data-state=finished])")).to_have_count(0)
    assert page.evaluate("window.same")
    page.get_by_role("button", name="Resume").press("Enter")  # off, and says why
    expect(page.locator("#control")).to_have_text("this study is finished")
    assert serious(page) == []

    page.get_by_role("link", name="All studies").click()
    expect(page.locator("h2")).to_contain_text(f"Seen {HOSTILE}")
    assert serious(page) == []
    page.get_by_role("link", name=re.compile("^Seen")).click()
    expect(page.locator(".now .state")).to_have_text("Finished")
    assert is_as_wide_as_the_screen(page)
    assert serious(page) == []
