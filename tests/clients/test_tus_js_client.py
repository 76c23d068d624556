"""tus-js-client (https://www.npmjs.com/package/tus-js-client) in Node, through the small programs in `node/`."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from tests.clients import MIB, Source, assert_downloads, assert_stored, random_file, stored_bytes
from tests.edge import readme_block
from tests.edge.nginx import configured_nginx
from tests.running import Server, ServerStarter, eventually, reserved_port

NODE = Path(__file__).parent / "node"
CHUNK_SIZE = 5 * MIB
HOLD_AFTER = 24 * MIB

Event = dict[str, Any]


@pytest.fixture(autouse=True)
def node_modules() -> None:
    assert shutil.which("node"), "these tests need node (20 or newer)"
    assert (NODE / "node_modules" / "tus-js-client").is_dir(), f"run 'npm ci' in {NODE} first"


class Driver:
    """A running `upload.mjs`; `events` is what it has printed until now."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.events: list[Event] = []
        self._process = process
        assert process.stdout is not None
        self._lines = iter(process.stdout)

    def until(self, name: str) -> Event:
        """Go on until it prints an event of that name."""
        for line in self._lines:
            event = cast(Event, json.loads(line))
            self.events.append(event)
            if event["event"] == name:
                return event
        raise AssertionError(f"ended without {name!r}: {self.events}")

    def end(self) -> None:
        """Wait for it to end without an error."""
        assert self._process.wait() == 0

    def answers(self) -> list[tuple[str, int]]:
        """Method and status of what has been asked for, in the order of the answers."""
        return [(event["method"], event["status"]) for event in self.events if event["event"] == "answer"]

    def offsets(self, method: str) -> list[int]:
        """The offsets that good answers to a method had."""
        good = (event for event in self.events if event["event"] == "answer" and event["status"] < 300)
        return [event["offset"] for event in good if event["method"] == method]


@contextmanager
def uploading(server: Server, source: Source, **task: Any) -> Iterator[Driver]:
    task = {"endpoint": server.url, "file": str(source.path), **task}
    command = ["node", "upload.mjs", json.dumps(task)]
    with subprocess.Popen(command, cwd=NODE, stdout=subprocess.PIPE, text=True) as process:
        too_late = threading.Timer(300, process.kill)
        too_late.start()
        try:
            yield Driver(process)
        finally:
            too_late.cancel()
            process.kill()


def uploaded(server: Server, source: Source, **task: Any) -> tuple[str, Driver]:
    """Upload to the end; the URL and the events."""
    with uploading(server, source, **task) as driver:
        url = driver.until("success")["url"]
        driver.end()
    return url, driver


def test_tus_js_client_uploads_a_buffer_in_one_request(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url, driver = uploaded(server, source)
    assert driver.answers() == [("POST", 201), ("PATCH", 204)]
    assert_stored(server, url, source)
    assert_downloads(server, url, source)


def test_tus_js_client_uploads_a_stream_of_unknown_length(server: Server, tmp_path: Path) -> None:
    """Its size is no multiple of the chunk size: then the client stalls (tus/tus-js-client#779)."""
    source = random_file(tmp_path)
    options = {"uploadLengthDeferred": True, "chunkSize": CHUNK_SIZE}
    url, driver = uploaded(server, source, input="stream", options=options)
    assert driver.answers() == [("POST", 201)] + [("PATCH", 204)] * 11
    assert_stored(server, url, source)


def test_tus_js_client_uploads_three_parts_in_parallel(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url, driver = uploaded(server, source, options={"parallelUploads": 3})
    assert driver.answers().count(("POST", 201)) == 4
    assert driver.answers().count(("PATCH", 204)) == 3
    assert_stored(server, url, source)
    assert_downloads(server, url, source)


def test_tus_js_client_uploads_with_post_in_the_place_of_patch(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url, driver = uploaded(server, source, options={"overridePatchMethod": True})
    assert driver.answers() == [("POST", 201), ("POST", 204)]
    assert_stored(server, url, source)


def test_tus_js_client_uploads_all_in_the_creation(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url, driver = uploaded(server, source, options={"uploadDataDuringCreation": True})
    assert driver.answers() == [("POST", 201)]
    assert_stored(server, url, source)


def test_tus_js_client_uploads_the_first_chunk_in_the_creation(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    options = {"uploadDataDuringCreation": True, "chunkSize": CHUNK_SIZE}
    url, driver = uploaded(server, source, options=options)
    assert driver.offsets("POST") == [CHUNK_SIZE]
    assert_stored(server, url, source)


def test_tus_js_client_resumes_an_upload_that_it_aborted(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url, driver = uploaded(server, source, hold={"after": HOLD_AFTER, "then": "abort"})
    assert 0 < driver.offsets("HEAD")[0] < source.size
    assert driver.answers().count(("POST", 201)) == 1
    assert_stored(server, url, source)


def test_tus_js_client_deletes_a_complete_upload(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url, _ = uploaded(server, source)
    subprocess.run(["node", "terminate.mjs", url], cwd=NODE, check=True, timeout=300)
    assert server.request("GET", url).status == 404
    assert not server.path_of(url).exists()


def test_tus_js_client_deletes_an_upload_in_the_middle_of_a_request(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    with uploading(server, source, hold={"after": HOLD_AFTER, "then": "terminate"}) as driver:
        url = driver.until("terminated")["url"]
        driver.end()
    assert server.request("GET", url).status == 404
    assert not server.path_of(url).exists()


def test_tus_js_client_goes_on_after_the_server_was_killed_in_the_middle_of_a_request(
    start: ServerStarter, tmp_path: Path
) -> None:
    source = random_file(tmp_path)
    server = start()
    hold = {"after": HOLD_AFTER, "then": "wait"}
    with uploading(server, source, hold=hold, options={"retryDelays": [100] * 200}) as driver:
        url = driver.until("held")["url"]
        eventually(lambda: stored_bytes(server, url) >= HOLD_AFTER // 2)
        server.kill()
        restarted = start(port=server.port, upload_dir=server.upload_dir)
        success = driver.until("success")
        driver.end()
    assert success["url"] == url
    assert driver.answers().count(("POST", 201)) == 1
    assert HOLD_AFTER // 2 <= driver.offsets("HEAD")[-1] < source.size
    sent_again = success["written"] - source.size
    assert sent_again < source.size // 2
    assert_stored(restarted, url, source)
    assert_downloads(restarted, url, source)


def test_tus_js_client_goes_on_after_a_server_behind_the_proxy_of_the_readme_was_away(
    start: ServerStarter, tmp_path: Path
) -> None:
    source = random_file(tmp_path)
    proxy = f"server {{\nlisten 80;\n{readme_block('location /files/ {')}}}\n"
    with reserved_port() as port, configured_nginx(proxy, {"127.0.0.1:8080": f"127.0.0.1:{port}"}) as nginx:
        first = start("-behind-proxy", port=port)
        task = {
            "endpoint": f"http://127.0.0.1:{nginx.port}/files/",
            "hold": {"after": HOLD_AFTER, "then": "wait"},
            "options": {"chunkSize": CHUNK_SIZE, "retryDelays": [200] * 500},
        }
        with uploading(first, source, **task) as driver:
            driver.until("held")
            first.kill()
            while (answer := driver.until("answer"))["method"] != "HEAD":
                pass
            assert answer["status"] == 423
            second = start("-behind-proxy", port=port)
            url = driver.until("success")["url"]
            driver.end()
        assert driver.answers().count(("POST", 201)) == 1
        assert_stored(second, urlsplit(url).path, source)
