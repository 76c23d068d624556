"""The HTTP/1.1 connection, byte by byte."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.running import DEADLINE, Server, ServerStarter, eventually, has_size, is_readable, read_all, read_head
from tests.web.test_core import patch_head


@pytest.mark.parametrize("coding", ["Content-Length: 5", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("is_split", [False, True])
def test_an_offered_upgrade_does_not_cost_the_body(server: Server, coding: str, is_split: bool) -> None:
    """Java's HTTP client offers HTTP/2 with every request."""
    url = server.create(5)
    head = (
        f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAEAAEAAAAIAAAAA\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\n{coding}\r\n\r\n"
    ).encode()
    body = b"hello" if "Length" in coding else b"5\r\nhello\r\n0\r\n\r\n"
    with server.connection() as connection:
        connection.sendall(head)
        if is_split:
            eventually(lambda: "PATCH" in server.output())
        connection.sendall(body + patch_head(url, 5, 0, "Connection: close"))
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 204 ") == 2
    assert server.path_of(url).read_bytes() == b"hello"


def test_an_upgrade_without_a_body_is_ignored(server: Server) -> None:
    head = f"HEAD {urlsplit(server.create(5)).path} HTTP/1.1\r\nHost: a\r\n"
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    answers = server.raw((head + upgrade + head + "Connection: close\r\n\r\n").encode())
    assert answers.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize("size", [900_000, 1_040_000])
def test_a_head_of_up_to_one_mebibyte_is_read(server: Server, size: int) -> None:
    head = b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + b"x" * size + b"\r\n\r\n"
    assert server.raw(head).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [
        b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n",
        b"OPTIONS /files/" + b"x" * 2_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 400_000 + b"\r\n",
        b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 8_000_000,
    ],
    ids=["header", "target", "many", "endless"],
)
def test_a_larger_head_is_refused(server: Server, head: bytes) -> None:
    assert server.raw(head).startswith(b"HTTP/1.1 431 ")
    assert server.request("OPTIONS").status == 200


def test_the_largest_head_can_be_set(start: ServerStarter) -> None:
    server = start("-max-header-bytes", "1000")
    head = b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: %s\r\n\r\n"
    assert server.raw(head % (b"x" * 500)).startswith(b"HTTP/1.1 200 ")
    assert server.raw(head % (b"x" * 1000)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"PATCH /files/x HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"PATCH /files/x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PATCH /files/x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused(server: Server, request_: bytes) -> None:
    assert server.raw(request_).startswith(b"HTTP/1.1 400 ")


def test_a_broken_chunked_body_is_an_early_end_that_keeps_what_came(server: Server) -> None:
    url = server.create(100)
    path = urlsplit(url).path
    answer = server.raw(
        f"PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        "Transfer-Encoding: chunked\r\n"
        "Content-Type: application/offset+octet-stream\r\n\r\n5\r\nhello\r\nZZZ\r\n".encode()
    )
    assert b"ERR_UNEXPECTED_EOF" in answer
    assert server.offset(url) == 5


@pytest.mark.parametrize(
    "sent", [b"", b"OPTIONS /files/ HTTP/1.1\r\nX", b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\n\r\n"]
)
def test_an_idle_connection_is_closed(start: ServerStarter, sent: bytes) -> None:
    """Before the first byte, within a head, and after an answer."""
    server = start("-network-timeout", "300ms")
    with server.connection() as connection:
        connection.sendall(sent)
        began = time.monotonic()
        read_all(connection)
        assert time.monotonic() - began < DEADLINE / 2


def test_a_head_that_comes_byte_by_byte_is_cut_off(start: ServerStarter) -> None:
    server = start("-network-timeout", "300ms")
    with server.connection() as connection:
        began = time.monotonic()
        connection.sendall(b"OPTIONS /files/ HTTP/1.1\r\nX: ")
        assert eventually(lambda: _is_cut_off_after(connection, b"x"))
        assert time.monotonic() - began < DEADLINE / 2


def test_a_slow_body_is_not_cut_off_while_bytes_come(start: ServerStarter) -> None:
    server = start("-network-timeout", "500ms")
    url = server.create(20)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 20))
        for count in range(1, 21):
            connection.sendall(b"x")
            eventually(has_size(server.path_of(url), count))
            is_answered = is_readable(connection, 0.06)
            assert is_answered == (count == 20)
    assert server.offset(url) == 20


def _is_cut_off_after(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
        return is_readable(connection, 0.05) and connection.recv(1) == b""
    except OSError:
        return True


def test_requests_in_a_row_are_answered_in_order(server: Server) -> None:
    url = server.create(1_000_000)
    requests = b"".join(patch_head(url, offset * 10, 10) + b"x" * 10 for offset in range(50))
    with server.connection() as connection:
        connection.sendall(requests + patch_head(url, 500, 0, "Connection: close"))
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 204 ") == 51
    assert answers.index(b"upload-offset: 10\r\n") < answers.index(b"upload-offset: 490\r\n")


@pytest.mark.parametrize("size", [255_000, 1_000_000, 40_000_000])
def test_the_connection_goes_on_after_a_large_body(server: Server, size: int) -> None:
    """A large body goes round the parser; the requests before and after it do not."""
    url = server.create(2 * size)
    body = bytes(range(250)) * (size // 250)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, size) + body + patch_head(url, size, size))
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")
        connection.sendall(body)
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")
        connection.sendall(f"HEAD {urlsplit(url).path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert b"upload-offset: %d\r\n" % (2 * size) in read_head(connection)
    assert server.path_of(url).read_bytes() == body * 2


def test_a_client_that_closes_its_half_after_a_whole_request_is_answered(server: Server) -> None:
    for size in (5, 1_000_000):
        url = server.create(size)
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, size) + b"x" * size)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection).startswith(b"HTTP/1.1 204 ")


def test_http_1_0_works(server: Server) -> None:
    assert server.raw(b"OPTIONS /files/ HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_download_that_nobody_takes_ends(start: ServerStarter) -> None:
    server = start("-network-timeout", "200ms")
    url = server.create(50_000_000)
    server.patch(url, 0, bytes(50_000_000))
    with server.connection() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        metrics = f"http://127.0.0.1:{server.port}/metrics"
        eventually(lambda: b"tusd_connections_open 2.0" in server.request("GET", metrics).body)
        eventually(lambda: b"tusd_connections_open 1.0" in server.request("GET", metrics).body)
