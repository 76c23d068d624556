"""Where a body ends: heads that leave it open, bodies that are not what was announced, and what comes behind them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from tests.running import CHUNK, TUS, Server, read_all, read_head, request_head

METHODS = ("POST", "PATCH", "DELETE", "HEAD", "GET", "OPTIONS")

CHUNKED = {"Transfer-Encoding": "chunked"}

UNCLEAR = {
    "two lengths": "Content-Length: 5\r\nContent-Length: 0",
    "the same length twice": "Content-Length: 5\r\nContent-Length: 5",
    "a list of lengths": "Content-Length: 5, 5",
    "a length and a coding": "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "a coding and a length": "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "a negative length": "Content-Length: -5",
    "a length with a sign": "Content-Length: +5",
    "a hexadecimal length": "Content-Length: 0x5",
    "a length with more": "Content-Length: 5x",
    "a fraction": "Content-Length: 5.0",
    "no digits": "Content-Length: ",
    "beyond 64 bits": "Content-Length: 18446744073709551621",
    "a coding twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "a list of codings": "Transfer-Encoding: chunked, chunked",
    "a last coding that is not chunked": "Transfer-Encoding: chunked, identity",
    "an unknown coding": "Transfer-Encoding: xchunked",
    "a blank in the name of the length": "Content-Length : 5",
    "a blank in the name of the coding": "Transfer-Encoding : chunked",
    "a folded length": "X: y\r\n Content-Length: 5\r\nContent-Length: 5",
    "a bare return": "X: y\rContent-Length: 5",
}

BROKEN_CHUNKS = {
    "no number": b"ZZZ\r\nhello\r\n",
    "nothing": b"\r\nhello\r\n",
    "a sign": b"+5\r\nhello\r\n",
    "negative": b"-5\r\nhello\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "beyond 64 bits": b"10000000000000005\r\nhello\r\n",
    "longer than said": b"5\r\nhello, world\r\n",
    "no end of a line": b"5\r\nhello0\r\n\r\n",
    "bare newlines": b"5\nhello\n0\n\n",
    "endless extension": b"5;" + b"x" * 2_000_000 + b"\r\nhello\r\n",
}


def length_of(data: bytes) -> dict[str, str]:
    return {"Content-Length": str(len(data))}


def lines(fields: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()


def targets(server: Server, url: str) -> list[tuple[str, str, dict[str, str]]]:
    """A request that would be served, for each method: with its path, and its fields but for those of the body."""
    fields = CHUNK | {"Upload-Length": "5", "Upload-Offset": "0"}
    return [(method, urlsplit(server.url if method == "POST" else url).path, fields) for method in METHODS]


@pytest.mark.parametrize("framing", UNCLEAR.values(), ids=UNCLEAR)
def test_a_head_that_leaves_the_end_of_the_body_open_is_refused_with_all_that_follows(
    server: Server, framing: str
) -> None:
    url = server.create(5)
    before = server.files()
    smuggled = request_head("DELETE", urlsplit(url).path, TUS)
    for method, path, fields in targets(server, url):
        head = request_head(method, path, fields).removesuffix(b"\r\n") + framing.encode() + b"\r\n\r\n"
        answers = server.raw(head + b"0\r\n\r\n" + smuggled, until_closed=False)
        assert answers.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), (method, answers)
        assert answers.count(b"HTTP/1.1 ") == 1, (method, answers)
        assert b"\r\nconnection: close\r\n" in answers, (method, answers)
    assert server.files() == before
    assert server.patch(url, 0, b"hello").status == 204


@pytest.mark.parametrize("chunk", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_a_broken_chunk_ends_the_body_and_what_came_before_it_is_kept(server: Server, chunk: bytes) -> None:
    url = server.create(100)
    fields = CHUNK | CHUNKED | {"Upload-Offset": "0"}
    answer = server.raw(request_head("PATCH", urlsplit(url).path, fields) + b"6\r\nhello \r\n" + chunk)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"ERR_UNEXPECTED_EOF" in answer
    offset = server.offset(url)
    assert server.path_of(url).read_bytes() == b"hello hello"[:offset]
    assert offset >= 6
    assert server.patch(url, offset, bytes(100 - offset)).status == 204


@pytest.mark.parametrize("size", [5, 400_000])
def test_bytes_beyond_the_announced_length_are_no_part_of_the_upload(server: Server, size: int) -> None:
    """They are no request either: where they come before the answer, it is the last one on its connection."""
    url, body = server.create(2 * size), b"y" * size
    before = set(server.upload_dir.glob("*.info"))
    patch = request_head("PATCH", urlsplit(url).path, CHUNK | length_of(body) | {"Upload-Offset": "0"})
    post = request_head("POST", "/files/", CHUNK | length_of(body) | {"Upload-Length": str(2 * size)})
    for head, status in ((patch, 204), (post, 201)):
        first, *others = server.raw(head + body + b"zzz\r\n\r\n").split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"%d " % status)
        assert b"\r\nupload-offset: %d\r\n" % size in first
        assert [answer[:4] for answer in others] in ([], [b"400 "])
    (other,) = set(server.upload_dir.glob("*.info")) - before
    for one in (url, server.url + other.stem):
        assert server.path_of(one).read_bytes() == body
        assert server.patch(one, size, body).status == 204


@pytest.mark.parametrize("framing", [{"Content-Length": "1000000"}, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("body", [b"", b"5\r\nhello\r\n"], ids=["nothing comes", "something comes"])
def test_a_body_that_nobody_needs_keeps_no_answer_waiting(server: Server, framing: dict[str, str], body: bytes) -> None:
    url = server.create(5)
    statuses = {"OPTIONS": 200, "HEAD": 200, "GET": 200, "DELETE": 204}
    for method, status in statuses.items():
        with server.connection() as connection:
            connection.sendall(request_head(method, urlsplit(url).path, TUS | framing) + body)
            assert read_head(connection).startswith(b"HTTP/1.1 %d " % status), method
    assert server.request("HEAD", url, TUS).status == 404


SMUGGLED = {
    "Upload-Offset": "3",
    "Upload-Length": "99",
    "Tus-Resumable": "9",
    "Authorization": "Bearer x",
    "X-HTTP-Method-Override": "DELETE",
    "Host": "evil",
    "Content-Type": "text/plain",
    "Expect": "100-continue",
    "Origin": "https://evil",
}


@pytest.mark.parametrize("is_checked", [False, True])
def test_trailers_change_neither_their_request_nor_the_next_one(server: Server, is_checked: bool) -> None:
    url = server.create(10)
    path = urlsplit(url).path
    digest = b64encode(hashlib.sha256(b"hello").digest()).decode()
    trailers = SMUGGLED | ({"Upload-Checksum": f"sha256 {digest}"} if is_checked else {})
    announced = {"Trailer": ", ".join(trailers)} if is_checked else {}
    with server.connection() as connection:
        for offset in (0, 5):
            head = request_head("PATCH", path, CHUNK | CHUNKED | announced | {"Upload-Offset": str(offset)})
            connection.sendall(head + b"5\r\nhello\r\n0\r\n" + lines(trailers) + b"\r\n")
            answer = read_head(connection)
            assert answer.startswith(b"HTTP/1.1 204 ")
            assert b"\r\nupload-offset: %d\r\n" % (offset + 5) in answer
            assert b"access-control" not in answer
        connection.sendall(request_head("HEAD", path, TUS | {"Connection": "close"}))
        assert b"\r\nupload-length: 10\r\n" in read_all(connection)
    assert server.path_of(url).read_bytes() == b"hellohello"


@pytest.mark.parametrize("trailer", ["Content-Length: 100", "Transfer-Encoding: gzip", "no colon", "X : y", "X: a\0b"])
def test_trailers_that_are_no_http_end_the_body_and_the_connection(server: Server, trailer: str) -> None:
    url = server.create(10)
    head = request_head("PATCH", urlsplit(url).path, CHUNK | CHUNKED | {"Upload-Offset": "0"})
    smuggled = request_head("DELETE", urlsplit(url).path, TUS)
    answers = server.raw(head + b"5\r\nhello\r\n0\r\n" + trailer.encode() + b"\r\n\r\n" + smuggled)
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1 ") == 1
    assert server.offset(url) == 5
    assert server.patch(url, 5, b"hello").status == 204


def test_a_trailer_that_ends_the_connection_ends_it(server: Server) -> None:
    url = server.create(5)
    head = request_head("PATCH", urlsplit(url).path, CHUNK | CHUNKED | {"Upload-Offset": "0"})
    answer = server.raw(head + b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"\r\nconnection: close\r\n" in answer
