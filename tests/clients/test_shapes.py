"""Requests in the shape of clients that do not run here: TUSKit on iOS, tus-java-client, and Java's own HTTP client."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients import MIB, assert_downloads, assert_stored, random_file
from tests.running import CHUNK, TUS, Server, read_head, request_head

IOS_17 = {"Upload-Complete": "?0", "Upload-Draft-Interop-Version": "6"}
"""What URLSession adds to every upload task, whatever the protocol."""

UPGRADE = {
    "Connection": "Upgrade, HTTP2-Settings",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA",
}


def exchange(connection: socket.socket, head: bytes, body: bytes = b"") -> tuple[int, Mapping[str, str]]:
    """Status and headers of the answer to a request on a connection that goes on; its body is empty."""
    is_asking = b"\r\nExpect: 100-continue\r\n" in head
    connection.sendall(head if is_asking else head + body)
    if is_asking:
        assert read_head(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
    first, *lines = read_head(connection).decode().removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}


def chunks(data: bytes, size: int) -> bytes:
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_the_requests_of_tuskit_are_understood(server: Server, tmp_path: Path) -> None:
    """A blank after the comma of metadata, a header of its own, and headers of another protocol from the system."""
    source = random_file(tmp_path)
    data = source.path.read_bytes()
    names = {"filename": source.path.name, "filetype": "application/octet-stream"}
    metadata = ", ".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in names.items())
    creation = {"Upload-Extension": "creation", "Upload-Length": str(source.size), "Upload-Metadata": metadata}
    with server.connection() as connection:
        head = request_head("POST", "/files/", TUS | creation | {"Content-Length": "0"})
        status, headers = exchange(connection, head)
        assert status == 201
        url = headers["location"]
        path = urlsplit(url).path
        for start in range(0, source.size, 8 * MIB):
            status, headers = exchange(connection, request_head("HEAD", path, TUS))
            assert (status, headers["upload-offset"], headers["upload-length"]) == (200, str(start), str(source.size))
            assert headers["upload-metadata"] == metadata
            piece = data[start : start + 8 * MIB]
            fields = CHUNK | IOS_17 | {"Upload-Offset": str(start), "Content-Length": str(len(piece))}
            status, headers = exchange(connection, request_head("PATCH", path, fields), piece)
            assert (status, headers["upload-offset"]) == (204, str(start + len(piece)))
    assert_stored(server, url, source)
    assert_downloads(server, url, source)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("POST", {"X-HTTP-Method-Override": "PATCH", "Expect": "100-continue"}),
        ("PATCH", UPGRADE),
        ("POST", {"X-HTTP-Method-Override": "PATCH"} | UPGRADE),
    ],
    ids=["tus-java-client", "java.net.http", "both"],
)
def test_the_requests_of_java_are_understood(server: Server, tmp_path: Path, method: str, more: dict[str, str]) -> None:
    """Chunked coding in requests of 10 MiB, `Expect`, PATCH under the name of POST, and offers of HTTP/2."""
    source = random_file(tmp_path)
    data = source.path.read_bytes()
    url = server.create(source.size, Upload_Metadata="filename c291cmNlLmJpbg==")
    with server.connection() as connection:
        status, headers = exchange(connection, request_head("HEAD", urlsplit(url).path, TUS | UPGRADE))
        assert (status, headers["upload-offset"]) == (200, "0")
        for start in range(0, source.size, 10 * MIB):
            piece = data[start : start + 10 * MIB]
            fields = CHUNK | {"Upload-Offset": str(start), "Transfer-Encoding": "chunked"} | more
            head = request_head(method, urlsplit(url).path, fields)
            status, headers = exchange(connection, head, chunks(piece, 2 * MIB))
            assert (status, headers["upload-offset"]) == (204, str(start + len(piece)))
    assert_stored(server, url, source)


def test_a_body_of_java_with_its_length_and_an_offer_of_http_2_is_understood(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    data = source.path.read_bytes()
    url = server.create(source.size)
    with server.connection() as connection:
        for start, end in ((0, 26 * MIB), (26 * MIB, source.size)):
            fields = CHUNK | UPGRADE | {"Upload-Offset": str(start), "Content-Length": str(end - start)}
            status, headers = exchange(connection, request_head("PATCH", urlsplit(url).path, fields), data[start:end])
            assert (status, headers["upload-offset"]) == (204, str(end))
    assert_stored(server, url, source)
