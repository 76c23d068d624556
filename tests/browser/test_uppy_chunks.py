"""The README's hooks that let Uppy's plugin for S3 upload in numbered chunks, in Chromium, from another origin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser import SLOW, Tab, bundle, serving
from tests.chunked import Json, fields_of, record_when_settled, sha256
from tests.clients import ZIP, Source, digest_of, random_file
from tests.edge import readme_block
from tests.running import Server, ServerStarter, eventually

PACKAGES = Path(__file__).parent / "chunks_page"
CHUNKS = 11
ADDRESS = "'http://localhost:8080/api'"
"""The server in the README."""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is."""
    hooks = readme_block("// chunks.js: uppy.use(AwsS3, chunks)")
    assert ADDRESS in hooks
    directory = tmp_path_factory.mktemp("page")
    (directory / "chunks.js").write_text(hooks.replace(ADDRESS, "new URLSearchParams(location.search).get('api')"))
    script = directory / "page.js"
    script.write_bytes((PACKAGES / "page.js").read_bytes())
    bundle(script, PACKAGES, directory)
    with serving(directory) as origin:
        yield origin


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return random_file(tmp_path, name="größe 1.zip", start=ZIP)


def chunk_tab(context: BrowserContext, origin: str, server: Server) -> Tab:
    api = f"http://127.0.0.1:{server.port}/api"
    return Tab(context, f"{origin}/?{urlencode({'api': api})}", api)


def begin(tab: Tab, source: Source) -> str:
    """Start to upload a file; the path of the upload."""
    tab.add(source)
    with tab.page.expect_response(lambda response: response.url.endswith("/initiate")) as initiated:
        tab.press("Upload 1 file")
    return f"/api/uploads/{initiated.value.json()['uploadId']}"


def begin_slowly(tab: Tab, server: Server, source: Source) -> str:
    """Start to upload on a slow network, until some chunks are there."""
    tab.limit(SLOW)
    path = begin(tab, source)
    eventually(lambda: len(status(server, path)["uploadedChunks"]) >= 2)
    assert len(status(server, path)["uploadedChunks"]) < CHUNKS // 2
    return path


def status(server: Server, path: str) -> Json:
    return fields_of(server.request("GET", f"{path}/status"))


def chunks_sent(tab: Tab) -> list[int]:
    """The numbers of the chunks that the page began to send, in order."""
    return sorted(int(request.url.rpartition("/")[2]) for request in tab.requests if request.method == "PUT")


def assert_ready(server: Server, path: str, source: Source) -> None:
    record = record_when_settled(server, status(server, path)["fileId"])
    assert (record["status"], record["checksum"]) == ("ready", source.digest)
    assert (record["fileName"], record["contentType"]) == (source.path.name, "application/zip")
    link = fields_of(server.request("GET", f"{path}/download"))["downloadUrl"]
    assert sha256(server.request("GET", link).body) == source.digest


def test_uppy_uploads_in_chunks_and_links_to_the_file(
    context: BrowserContext, origin: str, server: Server, source: Source
) -> None:
    tab = chunk_tab(context, origin, server)
    path = begin(tab, source)
    tab.finish()
    assert chunks_sent(tab) == list(range(CHUNKS))
    assert_ready(server, path, source)
    with tab.page.expect_download() as download:
        tab.page.get_by_role("link", name=source.path.name).click()
    assert download.value.suggested_filename == source.path.name
    assert digest_of(download.value.path()) == source.digest


def test_a_small_file_is_one_chunk(context: BrowserContext, origin: str, server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path, size=1000, name="small.zip", start=ZIP)
    tab = chunk_tab(context, origin, server)
    path = begin(tab, source)
    tab.finish()
    assert chunks_sent(tab) == [0]
    assert_ready(server, path, source)


def test_uppy_sends_only_what_is_missing_after_a_pause(
    context: BrowserContext, origin: str, server: Server, source: Source
) -> None:
    tab = chunk_tab(context, origin, server)
    path = begin_slowly(tab, server, source)
    tab.press("Pause")
    expect(tab.status("Paused")).to_be_visible()
    stored = status(server, path)["uploadedChunks"]
    tab.requests.clear()
    tab.unlimit()
    tab.press("Resume")
    tab.finish()
    assert not set(stored) & set(chunks_sent(tab))
    assert_ready(server, path, source)


def test_uppy_finishes_by_itself_after_the_server_was_killed_and_started_again(
    context: BrowserContext, origin: str, start: ServerStarter, source: Source
) -> None:
    server = start()
    tab = chunk_tab(context, origin, server)
    path = begin_slowly(tab, server, source)
    server.kill()
    restarted = start(port=server.port, upload_dir=server.upload_dir)
    tab.unlimit()
    tab.finish()
    assert [request.url.endswith("/initiate") for request in tab.requests if request.method == "POST"].count(True) == 1
    assert_ready(restarted, path, source)


def test_uppy_removes_an_upload_that_is_cancelled_in_the_middle(
    context: BrowserContext, origin: str, server: Server, source: Source
) -> None:
    tab = chunk_tab(context, origin, server)
    path = begin_slowly(tab, server, source)
    with tab.page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        tab.page.get_by_title("Cancel", exact=True).click()
    assert deleted.value.status == 204
    assert server.request("GET", f"{path}/status").status == 404
