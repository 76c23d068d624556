"""Uploads from a page in a browser: the page's own web server, and a tab that shows the page."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from playwright.sync_api import BrowserContext, Error, Locator, Request, expect

from tests.clients import MIB, Source, stored_bytes
from tests.running import DEADLINE, Server, eventually

SLOW = 10 * MIB
"""Bytes a second that a slow network takes, which leaves seconds until the end of an upload."""

PART = 8 * MIB
"""So many stored bytes are the middle of an upload."""


PAGE = Path(__file__).parent / "page"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any, **__: Any) -> None:
        """Not among the output of the tests."""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """A web server for the files of a directory; its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory))) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


def bundle(script: Path, packages: Path, directory: Path) -> None:
    """Make a page of a script in `directory`; what it imports is installed in `packages`."""
    assert shutil.which("node"), "these tests need node (20 or newer)"
    esbuild = packages / "node_modules" / ".bin" / "esbuild"
    assert esbuild.is_file(), f"run 'npm ci' in {packages} first"
    shutil.copy(PAGE / "index.html", directory)
    command = [str(esbuild), str(script), "--bundle", "--format=esm", "--log-level=warning"]
    variables = {**os.environ, "NODE_PATH": str(packages / "node_modules")}
    subprocess.run([*command, f"--outfile={directory}/bundle.js"], env=variables, check=True, timeout=300)


class Tab:
    """A tab with Uppy's Dashboard, at `address`; `requests` are those that the page sent to URLs below `endpoint`."""

    def __init__(self, context: BrowserContext, address: str, endpoint: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(DEADLINE * 1000)
        self.requests: list[Request] = []
        self.errors: list[Error] = []
        self._endpoint = endpoint
        self._devtools = context.new_cdp_session(self.page)
        self._devtools.send("Network.enable")
        self.page.on("pageerror", self._keep_error)
        self.page.on("request", self._keep_request)
        self.page.goto(address)

    def _keep_error(self, error: Error) -> None:
        self.errors.append(error)

    def _keep_request(self, request: Request) -> None:
        if request.url.startswith(self._endpoint):
            self.requests.append(request)

    def add(self, source: Source) -> None:
        """Choose a file, as with the Dashboard's "browse files"."""
        self.page.locator("input.uppy-Dashboard-input").first.set_input_files(source.path)
        expect(self.page.get_by_title(source.path.name)).to_be_visible()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def begin(self, source: Source) -> str:
        """Add a file and start to upload it; the URL that the server gave it."""
        self.add(source)
        with self.page.expect_response(lambda response: response.request.method == "POST") as created:
            self.press("Upload 1 file")
        return created.value.headers["location"]

    def begin_slowly(self, server: Server, source: Source) -> str:
        """Start to upload on a slow network, until a part of the file is stored."""
        self.limit(SLOW)
        url = self.begin(source)
        eventually(lambda: stored_bytes(server, url) >= PART)
        assert stored_bytes(server, url) < source.size // 2
        return url

    def limit(self, upload: int) -> None:
        """Let the network take so many bytes a second from the page; -1 for no limit."""
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload}
        self._devtools.send("Network.emulateNetworkConditions", conditions)

    def unlimit(self) -> None:
        self.limit(-1)

    def status(self, text: str) -> Locator:
        """The Dashboard's bar at the bottom, when it says so."""
        return self.page.locator(".uppy-StatusBar-statusPrimary").filter(has_text=text)

    def finish(self) -> None:
        """Wait until the Dashboard says that the upload is complete."""
        expect(self.status("Complete")).to_be_visible()
        assert not self.errors

    def sent(self) -> int:
        """How far into the file the browser has sent bytes, by the last progress that it told the page of."""
        return cast(int, self.page.evaluate("window.sent"))

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def offsets(self) -> list[int]:
        """Where the PATCH requests began."""
        return [int(request.headers["upload-offset"]) for request in self.requests if request.method == "PATCH"]
