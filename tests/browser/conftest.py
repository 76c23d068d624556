"""A browser for tests of pages, and servers for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.running import DEADLINE, Server, ServerStarter

BROWSER_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with the module: as long as it runs there is an event loop in this thread."""
    executable = shutil.which("chromium")
    assert executable, "these tests need Debian's package chromium"
    expect.set_options(timeout=DEADLINE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def server(start: ServerStarter) -> Server:
    """One for each test, which counts what it has been sent."""
    return start()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser without a history."""
    with browser.new_context() as context:
        yield context
