"""tus checksum and checksum-trailer."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.patching import chunked, patch_head
from tests.running import TUS, Server, eventually, has_size, read_all


def sha1(body: bytes) -> str:
    return "sha1 " + b64encode(hashlib.sha1(body).digest()).decode()  # noqa: S324 -- the algorithm of the protocol


DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "sha1": lambda body: hashlib.sha1(body).digest(),  # noqa: S324
    "sha256": lambda body: hashlib.sha256(body).digest(),
    "sha512": lambda body: hashlib.sha512(body).digest(),
    "md5": lambda body: hashlib.md5(body).digest(),  # noqa: S324
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
}


def test_the_example_of_the_specification_is_right(server: Server) -> None:
    url = server.create(11)
    answer = server.patch(url, 0, b"hello world", Upload_Checksum="sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
    assert (answer.status, answer.headers["upload-offset"]) == (204, "11")


@pytest.mark.parametrize("algorithm", DIGESTS)
@pytest.mark.parametrize("size", [0, 5, 1_000_000])
def test_a_body_with_its_checksum_is_taken(server: Server, algorithm: str, size: int) -> None:
    body = bytes(size)
    url = server.create(size + 1)
    checksum = f"{algorithm} {b64encode(DIGESTS[algorithm](body)).decode()}"
    assert server.patch(url, 0, body, Upload_Checksum=checksum).status == 204
    assert server.offset(url) == size


@pytest.mark.parametrize("size", [5, 1_000_000])
def test_a_body_with_another_checksum_is_thrown_away(server: Server, size: int) -> None:
    url = server.create(10 + size)
    server.patch(url, 0, b"0123456789")
    answer = server.patch(url, 10, b"x" * size, Upload_Checksum=sha1(b"y" * size))
    assert (answer.status, answer.code) == (460, "ERR_CHECKSUM_MISMATCH")
    assert server.offset(url) == 10
    assert server.path_of(url).read_bytes() == b"0123456789"
    assert server.patch(url, 10, b"y" * size, Upload_Checksum=sha1(b"y" * size)).status == 204
    assert server.path_of(url).read_bytes() == b"0123456789" + b"y" * size


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_a_body_that_breaks_off_cannot_be_verified_and_does_not_count(server: Server, size: int) -> None:
    url = server.create(10_000_000)
    with server.connection() as connection:
        head = patch_head(url, 0, 10_000_000, f"Upload-Checksum: {sha1(b'whatever')}")
        connection.sendall(head + b"x" * size)
        eventually(has_size(server.path_of(url), size))
    assert server.offset(url) == 0


def test_unverified_bytes_do_not_count_after_a_killed_server(start: Callable[..., Server]) -> None:
    server = start()
    url = server.create(1_000_000)
    server.patch(url, 0, b"hello")
    with server.connection() as connection:
        connection.sendall(patch_head(url, 5, 900_000, f"Upload-Checksum: {sha1(b'whatever')}") + b"x" * 500_000)
        eventually(has_size(server.path_of(url), 500_005))
        server.kill()
    server = start(port=server.port, upload_dir=server.upload_dir)
    assert server.request("GET", url).body == b"hello"
    assert server.offset(url) == 5
    assert server.patch(url, 5, b" world").status == 204
    assert server.path_of(url).read_bytes() == b"hello world"


# --- trailers ---


def trailing(server: Server, url: str, body: bytes, trailer: str, head: str = "Trailer: Upload-Checksum") -> bytes:
    path = urlsplit(url).path
    request = (
        f"PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        "Transfer-Encoding: chunked\r\n"
        f"Content-Type: application/offset+octet-stream\r\nConnection: close\r\n{head}\r\n\r\n"
    )
    chunks = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    return server.raw(request.encode() + chunks + b"0\r\n" + trailer.encode() + b"\r\n")


@pytest.mark.parametrize("size", [5, 1_000_000])
def test_the_checksum_may_come_after_the_body(server: Server, size: int) -> None:
    body = b"y" * size
    url = server.create(size)
    assert trailing(server, url, body, f"Upload-Checksum: {sha1(b'x')}\r\n").startswith(b"HTTP/1.1 460 ")
    assert server.offset(url) == 0
    assert trailing(server, url, body, f"upload-checksum: {sha1(body)}\r\n").startswith(b"HTTP/1.1 204 ")
    assert server.offset(url) == size


@pytest.mark.parametrize("trailer", ["", "Other: x\r\n", "Upload-Checksum: sha1\r\n", "Upload-Checksum: sha3 YQ==\r\n"])
def test_an_announced_trailer_that_does_not_come_refuses_the_body(server: Server, trailer: str) -> None:
    url = server.create(5)
    assert trailing(server, url, b"hello", trailer).startswith(b"HTTP/1.1 400 ")
    assert server.offset(url) == 0


def test_a_checksum_before_and_after_the_body_is_refused(server: Server) -> None:
    url = server.create(5)
    checksum = f"Upload-Checksum: {sha1(b'hello')}\r\n"
    head = f"Trailer: Upload-Checksum\r\nUpload-Checksum: {sha1(b'hello')}"
    assert trailing(server, url, b"hello", checksum, head).startswith(b"HTTP/1.1 400 ")
    assert server.offset(url) == 0


def test_trailers_cannot_change_the_request(server: Server) -> None:
    url = server.create(10)
    smuggled = "Upload-Offset: 3\r\nTus-Resumable: 9\r\nUpload-Length: 99\r\nAuthorization: x\r\n"
    assert trailing(server, url, b"hello", smuggled, "X-Filler: 1").startswith(b"HTTP/1.1 204 ")
    assert server.request("HEAD", url, TUS).headers["upload-length"] == "10"
    assert server.offset(url) == 5


def test_a_chunked_body_that_is_too_long_for_its_upload_is_not_kept_when_it_has_a_checksum(server: Server) -> None:
    url = server.create(5)
    assert chunked(server, url, 0, [b"hello!"], Upload_Checksum=sha1(b"hello!")).status == 413
    assert server.offset(url) == 0


def test_trailers_without_end_are_not_collected(server: Server) -> None:
    url = server.create(5)
    with server.connection() as connection:
        path = urlsplit(url).path
        head = (
            f"PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
            "Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: "
        )
        before = server.rss()
        try:
            connection.sendall(head.encode())
            for _ in range(64):
                connection.sendall(b"x" * 1024 * 1024)
        except OSError:
            pass
        assert b"HTTP/1.1 400 " in read_all(connection)
    assert server.rss() - before < 32 * 1024 * 1024
