"""Uppy (https://uppy.io) with its Dashboard and @uppy/tus in Chromium, from another origin than the server's."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser import PAGE, PART, Tab, bundle, serving
from tests.clients import MIB, Source, assert_downloads, assert_stored, digest_of, random_file, stored_bytes
from tests.running import TUS, Server, ServerStarter

FEW = MIB
"""More bytes than this may not be lost, and so sent again, when an upload is interrupted."""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is."""
    directory = tmp_path_factory.mktemp("page")
    bundle(PAGE / "page.js", PAGE, directory)
    with serving(directory) as origin:
        yield origin


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return random_file(tmp_path, name="größe 1.bin")


def tus_tab(context: BrowserContext, origin: str, server: Server, **options: Any) -> Tab:
    """A tab that uploads to the server by tus, with options of @uppy/tus."""
    tus = json.dumps({"endpoint": server.url, **options})
    return Tab(context, f"{origin}/?{urlencode({'tus': tus})}", server.url)


def test_uppy_uploads_from_a_page_of_another_origin(
    context: BrowserContext, origin: str, server: Server, source: Source, tmp_path: Path
) -> None:
    tab = tus_tab(context, origin, server)
    url = tab.begin(source)
    tab.finish()
    expect(tab.page.get_by_text("Upload complete")).to_be_visible()
    take_screenshot(tab, tmp_path / "uppy-complete.png")
    assert not server.url.startswith(origin)
    assert tab.methods() == ["POST", "PATCH"]
    assert_stored(server, url, source)
    assert_downloads(server, url, source)


def test_uppy_links_to_the_download_of_a_complete_file(
    context: BrowserContext, origin: str, server: Server, source: Source
) -> None:
    tab = tus_tab(context, origin, server)
    url = tab.begin(source)
    tab.finish()
    with tab.page.expect_download() as download:
        tab.page.get_by_role("link", name=source.path.name).click()
    assert download.value.url == url
    assert download.value.suggested_filename == source.path.name
    assert digest_of(download.value.path()) == source.digest


def test_uppy_goes_on_at_the_offset_after_a_pause(
    context: BrowserContext, origin: str, server: Server, source: Source
) -> None:
    tab = tus_tab(context, origin, server)
    url = tab.begin_slowly(server, source)
    tab.press("Pause")
    expect(tab.status("Paused")).to_be_visible()
    sent = tab.sent()
    stored = server.offset(url)
    tab.unlimit()
    tab.press("Resume")
    tab.finish()
    assert PART <= stored < source.size
    assert tab.methods() == ["POST", "PATCH", "HEAD", "PATCH"]
    assert tab.offsets() == [0, stored]
    assert sent - stored < FEW
    assert bytes_received(server) == source.size
    assert_stored(server, url, source)


def test_uppy_goes_on_at_the_offset_after_the_page_was_reloaded(
    context: BrowserContext, origin: str, server: Server, source: Source
) -> None:
    tab = tus_tab(context, origin, server)
    url = tab.begin_slowly(server, source)
    sent = tab.sent()
    tab.page.reload()
    stored = server.offset(url)
    tab.unlimit()
    tab.add(source)
    tab.press("Upload 1 file")
    tab.finish()
    assert PART <= stored < source.size
    assert tab.methods() == ["POST", "PATCH", "HEAD", "PATCH"]
    assert {request.url for request in tab.requests[1:]} == {url}
    assert tab.offsets() == [0, stored]
    assert sent - stored < FEW
    assert bytes_received(server) == source.size
    assert_stored(server, url, source)


@pytest.mark.parametrize(("with_credentials", "cookie"), [(True, "session=secret"), (False, None)])
def test_uppy_sends_cookies_only_when_told_to(
    context: BrowserContext,
    origin: str,
    start: ServerStarter,
    source: Source,
    with_credentials: bool,
    cookie: str | None,
) -> None:
    server = start("-cors-allow-credentials")
    context.add_cookies([{"name": "session", "value": "secret", "url": server.url}])
    tab = tus_tab(context, origin, server, withCredentials=with_credentials)
    url = tab.begin(source)
    tab.finish()
    assert tab.methods() == ["POST", "PATCH"]
    assert [request.all_headers().get("cookie") for request in tab.requests] == [cookie, cookie]
    assert_stored(server, url, source)


def test_uppy_cannot_send_cookies_to_a_server_that_does_not_allow_credentials(
    context: BrowserContext, origin: str, server: Server, source: Source
) -> None:
    tab = tus_tab(context, origin, server, withCredentials=True, retryDelays=[])
    tab.add(source)
    tab.press("Upload 1 file")
    expect(tab.status("Upload failed")).to_be_visible()
    assert list(server.upload_dir.glob("*.info")) == []


def test_uppy_deletes_an_upload_that_is_cancelled_in_the_middle(
    context: BrowserContext, origin: str, server: Server, source: Source
) -> None:
    tab = tus_tab(context, origin, server)
    url = tab.begin_slowly(server, source)
    with tab.page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        tab.page.get_by_title("Cancel", exact=True).click()
    assert deleted.value.status == 204
    assert deleted.value.url == url
    assert tab.methods() == ["POST", "PATCH", "DELETE"]
    assert server.request("HEAD", url, TUS).status == 404
    assert not server.path_of(url).exists()


def test_uppy_finishes_by_itself_after_the_server_was_killed_and_started_again(
    context: BrowserContext, origin: str, start: ServerStarter, source: Source
) -> None:
    server = start()
    tab = tus_tab(context, origin, server, retryDelays=[500] * 120)  # a slow machine is long in starting a server
    url = tab.begin_slowly(server, source)
    sent = tab.sent()
    server.kill()
    stored = stored_bytes(server, url)
    restarted = start(port=server.port, upload_dir=server.upload_dir)
    tab.unlimit()
    tab.finish()
    assert PART <= stored < source.size
    assert tab.methods().count("POST") == 1
    assert tab.offsets() == [0, stored]
    assert sent - stored < FEW
    assert_stored(restarted, url, source)
    assert_downloads(restarted, url, source)


def bytes_received(server: Server) -> float:
    """How many bytes of bodies the server has counted, with those that it got more than once."""
    metrics = server.request("GET", "/metrics").body.decode()
    match = re.search(r"^tusd_bytes_received (\S+)$", metrics, re.MULTILINE)
    assert match is not None
    return float(match[1])


def take_screenshot(tab: Tab, path: Path) -> None:
    """A picture of the page, copied to where TUSD_PY_SCREENSHOTS tells if it does."""
    tab.page.screenshot(path=path, animations="disabled")
    assert path.stat().st_size > 0
    if directory := os.environ.get("TUSD_PY_SCREENSHOTS"):
        shutil.copy(path, directory)
