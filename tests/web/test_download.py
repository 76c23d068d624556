"""GET of an upload; what is expected is Go's file server with tusd's headers (tusd-compat 2.13)."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

import tusd_py
from tests.patching import patch_head
from tests.running import Answer, Server, ServerStarter, eventually, has_size
from tests.tusd_directory import write_as_tusd


def stored(server: Server, body: bytes = b"hello world", **metadata: str) -> str:
    pairs = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items())
    url = server.create(len(body), Upload_Metadata=pairs)
    server.patch(url, 0, body)
    return url


def get(server: Server, url: str, **headers: str) -> Answer:
    return server.request("GET", url, {name.replace("_", "-"): value for name, value in headers.items()})


def test_a_finished_upload_can_be_downloaded(server: Server) -> None:
    url = stored(server, filetype="text/plain", filename="world.txt")
    os.utime(server.path_of(url), (1_234_567_890.9, 1_234_567_890.9))
    answer = get(server, url)
    assert answer.headers["last-modified"] == "Fri, 13 Feb 2009 23:31:30 GMT"
    assert (answer.status, answer.body) == (200, b"hello world")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-disposition"] == 'inline;filename="world.txt"'
    assert answer.headers["content-length"] == "11"
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_large_upload_is_downloaded_whole(server: Server) -> None:
    body = bytes(range(256)) * 20_000
    assert get(server, stored(server, body)).body == body


def test_without_metadata_it_is_an_attachment_of_bytes(server: Server) -> None:
    headers = get(server, stored(server)).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"] == "attachment"


def test_an_unfinished_upload_shows_what_counts(server: Server) -> None:
    url = server.create(10)
    assert (get(server, url).status, get(server, url).body) == (200, b"")
    server.patch(url, 0, b"hello")
    assert get(server, url).body == b"hello"


@pytest.mark.parametrize("filetype", ["text/html", "image/svg+xml", "application/pdf", "text/html; charset=x"])
def test_what_a_browser_might_run_is_never_inline(server: Server, filetype: str) -> None:
    headers = get(server, stored(server, filetype=filetype)).headers
    assert headers["content-disposition"] == "attachment"
    assert headers["content-type"] == filetype


def test_names_cannot_start_a_header_of_their_own(server: Server) -> None:
    name = 'x\r\nSet-Cookie: a=b"\\;filename=evil.exe'
    headers = get(server, stored(server, filename=name, filetype="text/plain\r\nX: y")).headers
    assert "set-cookie" not in headers
    assert headers["content-disposition"] == 'attachment;filename="x\\r\\nSet-Cookie: a=b\\"\\\\;filename=evil.exe"'
    assert headers["content-type"] == "application/octet-stream"


def test_a_name_beyond_ascii_is_sent_in_both_ways(server: Server) -> None:
    value = get(server, stored(server, filename="naïve €.txt")).headers["content-disposition"]
    value = value.encode("latin-1").decode()
    assert value == "attachment;filename=\"naïve €.txt\";filename*=UTF-8''na%C3%AFve%20%E2%82%AC.txt"


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"llo", "bytes 2-4/11"),
        ("bytes=6-", 206, b"world", "bytes 6-10/11"),
        ("bytes=-5", 206, b"world", "bytes 6-10/11"),
        ("bytes=0-999", 206, b"hello world", "bytes 0-10/11"),
        ("bytes=-999", 206, b"hello world", "bytes 0-10/11"),
        ("bytes=0-1,3-4", 200, b"hello world", None),
        ("bytes=11-", 416, b"invalid range: failed to overlap\n", "bytes */11"),
        ("bytes=-0", 416, b"invalid range: failed to overlap\n", "bytes */11"),
        ("foo=5", 416, b"invalid range\n", None),
        ("bytes=5-2", 416, b"invalid range\n", None),
        ("bytes=a-b", 416, b"invalid range\n", None),
        ("bytes=" + "9" * 5000 + "-", 416, b"invalid range\n", None),
    ],
)
def test_ranges(server: Server, header: str, status: int, body: bytes, content_range: str | None) -> None:
    answer = get(server, stored(server), Range=header)
    assert (answer.status, answer.body, answer.headers.get("content-range")) == (status, body, content_range)


def test_a_range_of_an_empty_upload_is_ignored(server: Server) -> None:
    assert get(server, server.create(0), Range="bytes=0-5").status == 200


def test_conditions(server: Server) -> None:
    url = stored(server)
    date = get(server, url).headers["last-modified"]
    earlier = formatdate(1_000_000_000, usegmt=True)
    assert get(server, url, If_Modified_Since=date).status == 304
    assert get(server, url, If_Modified_Since=earlier).status == 200
    assert get(server, url, If_Modified_Since="nonsense").status == 200
    assert get(server, url, If_Unmodified_Since=earlier).status == 412
    assert get(server, url, If_Unmodified_Since=date).status == 200
    assert get(server, url, If_None_Match="*").status == 304
    assert get(server, url, If_Match='"x"').status == 412
    assert get(server, url, If_Match="*").status == 200
    assert get(server, url, If_None_Match='"x"', If_Modified_Since=date).status == 200
    assert get(server, url, If_Match="*", If_Unmodified_Since=earlier).status == 200
    assert get(server, url, If_Range=date, Range="bytes=0-1").status == 206
    assert get(server, url, If_Range=earlier, Range="bytes=0-1").status == 200


def test_downloads_do_not_disturb_an_upload_in_progress(server: Server) -> None:
    url = server.create(1000)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 1000) + b"x" * 10)
        eventually(has_size(server.path_of(url), 10))
        assert get(server, url).body == b"x" * 10
        connection.sendall(b"x" * 990)
        assert connection.recv(100).startswith(b"HTTP/1.1 204 ")


def test_downloads_can_be_switched_off(start: ServerStarter) -> None:
    server = start("-disable-download")
    answer = get(server, server.create(0))
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PATCH, DELETE")


@pytest.mark.parametrize(
    ("size", "length", "range_", "types"),
    [
        (400_000, 400_000, b"", ["pathsend"]),
        (400_000, 400_000, b"bytes=0-299999", ["body", "body"]),
        (400_000, 400_001, b"", ["body", "body"]),
        (1000, 1000, b"", ["body", "body"]),
    ],
    ids=["whole", "range", "unfinished", "small"],
)
def test_a_server_that_sends_files_gets_the_paths_of_large_ones(
    tmp_path: Path, size: int, length: int, range_: bytes, types: list[str]
) -> None:
    """Of those that are whole and finished, since a path says nothing of how much to send."""
    write_as_tusd(tmp_path, "a", bytes(size), Size=length)
    headers = [(b"range", range_)] if range_ else []
    start, *messages = asyncio.run(_messages_of_get(tmp_path, "/files/a", headers))
    assert start["status"] == (206 if range_ else 200)
    assert [message["type"] for message in messages] == [f"http.response.{kind}" for kind in types]
    if types == ["pathsend"]:
        assert messages[0]["path"] == str(tmp_path / "a")
        assert (b"content-length", b"%d" % size) in start["headers"]


async def _messages_of_get(directory: Path, path: str, headers: list[tuple[bytes, bytes]]) -> list[Any]:
    """What a server with ASGI's extension `pathsend` is sent by the application."""
    sent: list[Any] = []
    is_over = asyncio.Event()

    async def receive() -> Any:
        await is_over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    app = tusd_py.create_app(directory)
    extensions: dict[str, Any] = {"http.response.pathsend": {}}
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "query_string": b""}
    await app({**scope, "extensions": extensions}, receive, send)
    await app.state.tusd_py.close()
    return sent
