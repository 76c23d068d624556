"""The HTTP/1.1 connection, byte by byte."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.patching import patch_head
from tests.running import (
    CHUNK,
    DEADLINE,
    TUS,
    Server,
    ServerStarter,
    eventually,
    is_readable,
    read_all,
    read_head,
    request_head,
)

MEBIBYTE = 1024 * 1024


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
    before = server.output().count("method=PATCH")
    with server.connection() as connection:
        connection.sendall(head)
        if is_split:
            eventually(lambda: server.output().count("method=PATCH") > before)
        connection.sendall(body + patch_head(url, 5, 0, "Connection: close"))
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 204 ") == 2
    assert server.path_of(url).read_bytes() == b"hello"


def test_an_upgrade_without_a_body_is_ignored(server: Server) -> None:
    head = f"HEAD {urlsplit(server.create(5)).path} HTTP/1.1\r\nHost: a\r\n"
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    answers = server.raw((head + upgrade + head + "Connection: close\r\n\r\n").encode())
    assert answers.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize("size", [900_000, 1_040_000, 1_100_000, 2_000_000])
def test_a_head_of_up_to_one_mebibyte_is_read_and_a_larger_one_refused(server: Server, size: int) -> None:
    """As one header, and as hundreds of them."""
    url = server.create(5)
    fields = CHUNK | {"Upload-Offset": "0", "Upload-Length": "5", "Content-Length": "5"}
    statuses = {"OPTIONS": 200, "POST": 201, "HEAD": 200, "GET": 200, "PATCH": 204, "DELETE": 204}
    for more in ([("X", "x" * size)], [(f"X-{number}", "x" * (size // 500)) for number in range(499)]):
        url = server.create(5)
        for method, status in statuses.items():
            path = urlsplit(server.url if method == "POST" else url).path
            before = server.files()
            answer = server.raw(request_head(method, path, [*fields.items(), *more]) + b"hello", until_closed=False)
            expected = status if size < MEBIBYTE else 431
            assert answer.startswith(b"HTTP/1.1 %d " % expected), (method, len(more))
            assert expected != 431 or server.files() == before, (method, len(more))


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
    assert server.raw(head, until_closed=False).startswith(b"HTTP/1.1 431 ")
    assert server.request("OPTIONS").status == 200


def test_the_largest_head_can_be_set(start: ServerStarter) -> None:
    server = start("-max-header-bytes", "1024")
    head = b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: %s\r\n\r\n"
    assert server.raw(head % (b"x" * 500)).startswith(b"HTTP/1.1 200 ")
    assert server.raw(head % (b"x" * 1000)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=["words", "TLS"]
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


@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_a_slow_body_is_not_cut_off_while_bytes_come(start: ServerStarter, method: str, coding: str) -> None:
    server = start("-network-timeout", "1s")
    is_chunked = coding == "chunked"
    framing = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": "20"}
    named = {"Upload-Offset": "0"} if method == "PATCH" else {"Upload-Length": "20"}
    path = urlsplit(server.create(20) if method == "PATCH" else server.url).path
    with server.connection() as connection:
        connection.sendall(request_head(method, path, CHUNK | framing | named))
        for _ in range(20):
            assert not is_readable(connection, 0.08)
            connection.sendall(b"1\r\nx\r\n" if is_chunked else b"x")
        connection.sendall(b"0\r\n\r\n" if is_chunked else b"")
        answer = read_head(connection)
    assert answer.startswith(b"HTTP/1.1 204 " if method == "PATCH" else b"HTTP/1.1 201 ")
    (info,) = server.upload_dir.glob("*.info")
    assert server.request("GET", server.url + info.stem).body == b"x" * 20


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
    part = server.create(100_000, Upload_Concat="partial")
    assert server.patch(part, 0, bytes(100_000)).status == 204
    for size in (5, 1_000_000):
        url = server.create(size)
        path = urlsplit(url).path
        concat = "final;" + " ".join([urlsplit(part).path] * 500)
        requests = {
            204: patch_head(url, 0, size) + b"x" * size,
            200: request_head("HEAD", path, TUS),
            201: request_head("POST", "/files/", TUS | {"Upload-Concat": concat, "Content-Length": "0"}),
        }
        for status, request in requests.items():
            with server.connection() as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                assert read_all(connection).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("size", [10_000, 40_000_000])
def test_a_client_that_closes_its_half_gets_the_whole_of_a_download(server: Server, size: int) -> None:
    url = server.create(size)
    content = os.urandom(1000) * (size // 1000)
    assert server.patch(url, 0, content).status == 204
    with server.connection() as connection:
        connection.sendall(request_head("GET", urlsplit(url).path, {}))
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer.partition(b"\r\n\r\n")[2] == content


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


@pytest.mark.parametrize("taken", [0, 65536])
def test_a_download_that_is_broken_off_harms_nobody(start: ServerStarter, taken: int) -> None:
    server = start()
    url = server.create(8_000_000)
    server.patch(url, 0, bytes(8_000_000))
    for _ in range(5):
        with server.connection() as connection:
            connection.sendall(f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            if taken:
                connection.recv(taken)
    assert server.offset(url) == 8_000_000
    eventually(lambda: len(list(Path(f"/proc/{server.pid}/fd").iterdir())) < 30)
    assert server.terminate() == 0


@pytest.mark.parametrize("blank", [" ", "\t", "  "])
def test_blanks_after_a_value_are_no_part_of_it(server: Server, blank: str) -> None:
    for size in (5, 400_000):
        url = server.create(size)
        head = (
            f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0{blank}\r\nConnection: close\r\n"
            f"Upload-Offset: 0{blank}\r\nContent-Type: application/offset+octet-stream{blank}\r\n"
        )
        answer = server.raw(f"{head}Content-Length: {size}{blank}\r\n\r\n".encode() + b"x" * size)
        assert b"upload-offset: %d\r\n" % size in answer
        assert server.offset(url) == size


def test_requests_of_a_client_that_reads_no_answers_cost_little(start: ServerStarter) -> None:
    server = start("-network-timeout", "1s")
    request = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    before = server.rss()
    with server.connection() as connection:
        connection.settimeout(2)
        try:
            for _ in range(100):
                connection.sendall(request * 1000)
        except OSError:
            pass  # the server had enough of it
        assert server.rss() - before < 32 * 1024 * 1024
    assert server.request("OPTIONS").status == 200


def test_many_offered_upgrades_in_a_row_are_answered(server: Server) -> None:
    path = urlsplit(server.create(5)).path
    request = f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n".encode()
    last = f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    assert server.raw(request * 60 + last).count(b"HTTP/1.1 200 ") == 61


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Host: a\r\nTransfer-Encoding: gzip, chunked", 501),
        ("Host: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: x", 501),
        ("X: y", 400),
        ("Host: a\r\nHost: b", 400),
        ("Host: a\r\n" + "X: y\r\n" * 2000 + "X: y", 431),
    ],
)
def test_a_head_that_cannot_be_served_is_refused(server: Server, fields: str, status: int) -> None:
    answer = server.raw(f"PATCH /files/x HTTP/1.1\r\n{fields}\r\n\r\n".encode(), until_closed=False)
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_a_client_that_does_not_wait_for_a_continue_can_read_its_error(server: Server) -> None:
    url = server.create(100_000_000)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 7, 100_000_000, "Expect: 100-continue"))
        for _ in range(100):
            connection.sendall(bytes(1_000_000))
        assert read_head(connection).startswith(b"HTTP/1.1 409 ")


def test_a_newline_in_a_url_is_part_of_the_id(server: Server) -> None:
    url = server.create(5)
    for path in (urlsplit(url).path + "%0A", "/files/a%0Ab"):
        answer = server.raw(f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"tus-resumable: 1.0.0" in answer
