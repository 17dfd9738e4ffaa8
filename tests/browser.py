"""Chromium for tests: Debian's package, driven by Playwright, with the network cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

PROGRAM = "/usr/bin/chromium"
HINT = "install Chromium (Debian: apt-get install chromium) to run the tests that need it"
PATIENCE_MS = 240_000
"""For a page and each step on it: a machine that runs other tests beside is slow."""
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync"]  # fmt: skip


def program() -> str:
    """Path of Chromium. Where there is none the test fails in CI and is skipped elsewhere, with a hint."""
    found = PROGRAM if Path(PROGRAM).exists() else shutil.which("chromium")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(HINT)
        pytest.skip(HINT)
    return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser for all tests of a worker."""
    path = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=OPTIONS)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page that is open, what it asked the network for, and what its console complained of."""

    page: Page
    context: BrowserContext
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def open_page(chromium: Browser, path: Path, **options: Any) -> Opened:
    """A page of a file, drawn, in a context of its own without network; the caller closes the context."""
    context = chromium.new_context(offline=True, **options)
    context.set_default_timeout(PATIENCE_MS)
    opened = Opened(context.new_page(), context)

    def only_files(route: Route) -> None:
        if route.request.url.startswith(("file:", "blob:", "data:")):
            route.continue_()
        else:
            opened.asked.append(route.request.url)
            route.abort()

    context.route("**/*", only_files)
    opened.page.on("console", lambda said: opened.complaints.append(said.text) if said.type in ("error", "warning")
                   else None)  # fmt: skip
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.goto(path.as_uri())
    wait_drawn(opened.page)
    return opened


def wait_drawn(page: Page) -> None:
    """Until all charts of the page are drawn; a page without charts needs no wait."""
    # Not by a function: those that wait are evaluated in the page, whose policy forbids it.
    if page.locator("#data").count():
        page.locator("body[data-drawn='true']").wait_for(state="attached", timeout=PATIENCE_MS)
