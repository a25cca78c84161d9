"""The report as a reader meets it: in Chromium, opened from disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.report.conftest import IN_CHROMIUM
from tests.report.test_html import SEEN, about_runs, study
from trainonce.report.html import render
from trainonce.report.tables import tables

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = IN_CHROMIUM


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    answers, plan = study()
    answers = replace(answers, answers=(*answers.answers[:-1], about_runs(3), answers.answers[-1]))
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render(answers, plan, (SEEN,)), encoding="utf-8")
    return file


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, on which nothing may go wrong unseen and nothing may be fetched."""
    context = browser.new_context(
        viewport={"width": 1100, "height": 900}, color_scheme=request.param
    )
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(("file:", "data:", "blob:")) else wrong.append(asked.url)
        ),
    )
    opened.goto(file.as_uri())
    opened.wait_for_selector("#curves .main-svg")
    opened.wait_for_selector("a[data-file][download]")
    yield opened
    context.close()
    assert wrong == []


def test_axe_finds_nothing(page: Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:80] for node in one["nodes"]]) for one in found] == []


def test_every_file_can_be_saved(page: Page) -> None:
    answers, plan = study()
    answers = replace(answers, answers=(*answers.answers[:-1], about_runs(3), answers.answers[-1]))
    made = {table.name: table.csv for table in tables(answers, plan, (SEEN,))}
    for name in ("answers", "tokens"):
        with page.expect_download() as waiting:
            page.click(f'.files a[data-file="my study-{name}.csv"]')
        assert waiting.value.suggested_filename == f"my study-{name}.csv"
        with waiting.value.path().open(encoding="utf-8", newline="") as saved:
            assert saved.read() == made[name]


@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_is_wider_than_the_page(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    page.wait_for_timeout(300)  # figures follow
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('main p, main li, main td')].filter((one) => "
        "one.textContent.trim() && parseFloat(getComputedStyle(one).fontSize) < 12).length"
    )
    assert small == 0


def test_it_can_be_used_from_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#question-0"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#question-0"
    summary = page.locator("article summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("article details").first.evaluate("one => one.open")


def test_who_points_at_the_plan_is_told_of_jobs(page: Page) -> None:
    key = study()[1].jobs[0].key
    told = page.locator(".plan title").all_text_contents()
    assert any(key[:8] in text and "run-equivalents" in text for text in told)


def test_it_prints(page: Page, tmp_path: Path) -> None:
    page.emulate_media(media="print")
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert page.locator(".files").is_hidden()
