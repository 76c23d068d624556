"""Requests of random headers and of random bytes: whatever comes is answered, and harms no upload."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.running import CHUNK, TUS, Server, ServerStarter, request_head

REQUESTS = 150
"""With one seed."""
LONG = 100
"""Seeds in the long form."""

LENGTH = 1_000_000
LARGE = 300_000
"""Bytes of a body that goes round the parser."""

HEADERS = [
    *("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat"),
    *("Upload-Checksum", "Content-Type", "X-HTTP-Method-Override", "Content-Length", "Transfer-Encoding", "Trailer"),
    *("TE", "Expect", "Connection", "Upgrade", "HTTP2-Settings", "Host", "Forwarded", "X-Forwarded-Proto", "Cookie"),
    *("X-Forwarded-Host", "X-Forwarded-For", "X-Request-ID", "Range", "If-Range", "If-Match", "If-None-Match"),
    *("Origin", "Authorization", "Accept-Encoding", "Content-Encoding", "Content-Range"),
    *("If-Modified-Since", "If-Unmodified-Since", "Access-Control-Request-Method", "Access-Control-Request-Headers"),
]

VALUES = [
    *("", " ", "0", "1", "5", "-1", "+1", "1.0", "1_0", "0x5", "9" * 30, str(2**63 - 1), str(2**63), "x" * 5000),
    *("1.0.0", "partial", "final;", "final;x", "final;http://h/x", "a YQ==", "a YQ==, b Yg==", "a,b", "a !!!", "*"),
    *("sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=", "sha256 AAAA", "application/offset+octet-stream", "text/plain", "gzip"),
    *("bytes=0-0", "bytes=-1", "bytes=5-1", "bytes=" + ",".join(f"{n}-{n}" for n in range(500)), '"x"', 'W/"x"'),
    *("Thu, 01 Jan 1970 00:00:00 GMT", "100-continue", "chunked", "identity", "close", "keep-alive", "upgrade", "h2c"),
    *("GET", "HEAD", "POST", "PATCH", "OPTIONS", "TRACE", "null", "http://[::1", "h:99999", "for=1;host=x", "%00"),
    *("Upload-Checksum", "../../x", '"\\"', "a\tb", "a\x0bb", "a;", ",", "\xa0", "\xff"),
]
"""Any of them may be the value of any header; none removes an upload."""

SPLICES = [b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"\t", b"0", b"\xff", b"\r\n\r\n", b"x" * 200]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", range(LONG if metafunc.config.getoption("--long", default=False) else 1))


def good_request(rng: random.Random, path: str) -> bytes:
    """One that a server without faults may answer with success."""
    body = bytes(rng.choice([0, 5, LARGE]))
    length = {"Content-Length": str(len(body))}
    chunks = {"Transfer-Encoding": "chunked", "Trailer": "Upload-Checksum"}
    pieces = b"".join(b"%x;a=b\r\n%b\r\n" % (count, bytes(count)) for count in rng.choices([1, 1000], k=20))
    end = b"0\r\nUpload-Checksum: sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=\r\n\r\n"
    return rng.choice(
        [
            request_head("PATCH", path, CHUNK | length | {"Upload-Offset": "0"}) + body,
            request_head("PATCH", path, CHUNK | chunks | {"Upload-Offset": "0"}) + pieces + end,
            request_head("POST", "/files/", CHUNK | length | {"Upload-Length": str(LENGTH)}) + body,
            request_head("HEAD", path, TUS | {"Connection": "Upgrade", "Upgrade": "h2c"}),
            request_head("GET", path, {"Range": "bytes=0-3"}),
            request_head("OPTIONS", path, {"Origin": "https://a", "Access-Control-Request-Method": "PATCH"}),
        ]
    )


def with_random_headers(rng: random.Random, request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(HEADERS).encode()
        if rng.random() < 0.5:
            lines = [line for line in lines if not line.startswith(name + b":")]
        lines.insert(rng.randint(0, len(lines)), name + b": " + rng.choice(VALUES).encode("latin-1"))
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n" + body


def with_random_bytes(rng: random.Random, request: bytes) -> bytes:
    data = bytearray(request)
    for _ in range(rng.randint(1, 6)):
        place = rng.randint(0, min(len(data), 700))  # most of that is the head
        count = rng.randint(0, 20)
        data[place : place + count] = rng.choice([b"", rng.choice(SPLICES), rng.randbytes(count), data[place:]])
    return bytes(data)


def exchange(server: Server, request: bytes) -> bytes:
    """What is answered until the server closes the connection, the client's half of which is closed."""
    answer = b""
    with server.connection() as connection:
        with suppress(OSError):  # it may not have waited for all of it
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while block := connection.recv(65536):
                answer += block
    return answer


@pytest.mark.parametrize("change", [with_random_headers, with_random_bytes])
@pytest.mark.parametrize("flags", [(), ("-compat", "tusd", "-behind-proxy", "-expire-after", "1h")])
def test_any_request_is_answered_and_the_upload_goes_on(
    start: ServerStarter, seed: int, change: Callable[[random.Random, bytes], bytes], flags: tuple[str, ...]
) -> None:
    rng = random.Random(seed)  # noqa: S311
    server = start(*flags)
    for _ in range(REQUESTS):
        url = server.create(LENGTH)
        request = change(rng, good_request(rng, urlsplit(url).path))
        answer = exchange(server, request)
        assert not re.search(rb"HTTP/1\.1 5(?!01)", answer), (request[:2000], answer)
        assert change is with_random_bytes or answer.startswith(b"HTTP/1.1 "), (request[:2000], answer)
        offset = server.offset(url)
        assert offset <= LENGTH
        assert server.patch(url, offset, b"x").status == 204, request[:2000]
        assert server.path_of(url).stat().st_size == offset + 1
