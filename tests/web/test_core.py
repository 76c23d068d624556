"""tus core: OPTIONS, HEAD, PATCH, versions, method override."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.patching import chunked, patch_head
from tests.running import CHUNK, DEADLINE, TUS, Server, ServerStarter, eventually, has_size, read_all


def test_options_tells_what_the_server_can_do_whatever_version_is_asked_for(server: Server) -> None:
    for version in ({}, {"Tus-Resumable": "0.0.1"}, TUS):
        answer = server.request("OPTIONS", headers=version)
        assert answer.status == 200
        assert answer.body == b""
        assert answer.headers["tus-version"] == "1.0.0"
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert answer.headers["tus-extension"] == (
            "creation,creation-with-upload,termination,concatenation,creation-defer-length,checksum,checksum-trailer"
        )
        assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256,sha512,md5,crc32"
        assert "tus-max-size" not in answer.headers
    assert server.request("OPTIONS", server.create(1)).headers["tus-version"] == "1.0.0"


def test_options_announces_only_what_is_switched_on(start: ServerStarter) -> None:
    server = start("-max-size", "100", "-disable-termination", "-disable-concatenation", "-expire-after", "1h")
    headers = server.request("OPTIONS").headers
    assert headers["tus-max-size"] == "100"
    assert headers["tus-extension"] == (
        "creation,creation-with-upload,creation-defer-length,checksum,checksum-trailer,expiration"
    )


@pytest.mark.parametrize("version", [None, "0.2.2", "9.9.9", "1.0.0, 1.0.0", "1.0"])
def test_a_wrong_version_is_refused_before_anything_is_stored(server: Server, version: str | None) -> None:
    url = server.create(1024 * 1024)
    headers = {"Tus-Resumable": version} if version is not None else {}
    chunk = headers | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    answer = server.request("PATCH", url, chunk, b"x" * 1024 * 1024)
    assert (answer.status, answer.code) == (412, "ERR_UNSUPPORTED_VERSION")
    assert answer.headers["tus-version"] == "1.0.0"
    assert server.offset(url) == 0
    before = len(list(server.upload_dir.iterdir()))
    assert server.request("POST", headers=headers | {"Upload-Length": "5"}).status == 412
    assert len(list(server.upload_dir.iterdir())) == before


def test_head_and_get_need_no_version(server: Server) -> None:
    url = server.create(0)
    assert server.request("HEAD", url).status == 200
    assert server.request("GET", url).status == 200
    assert server.request("HEAD", url, {"Tus-Resumable": "0.2.2"}).status == 412
    assert server.request("GET", url, {"Tus-Resumable": "0.2.2"}).status == 200


def test_every_answer_names_the_version_and_forbids_sniffing(server: Server) -> None:
    url = server.create(5)
    answers = [
        server.request("POST", headers=TUS | {"Upload-Length": "5"}),
        server.request("POST", headers=TUS),
        server.request("PUT", url, TUS),
        server.request("GET"),
        server.request("HEAD", server.url + "unknown"),
        server.request("PATCH", url),
        server.patch(url, 3, b"x"),
        server.patch(url, 0, b"too long"),
        server.patch(url, 0, b"x", Content_Type="text/plain"),
        server.patch(url, 0, b"x", Upload_Checksum="sha1 " + "A" * 27 + "="),
        server.patch(url, 0, b"hello"),
        server.request("DELETE", url, TUS),
    ]
    assert [answer.status for answer in answers] == [201, 400, 405, 405, 404, 412, 409, 413, 415, 460, 204, 204]
    assert all(answer.headers["tus-resumable"] == "1.0.0" for answer in answers)
    assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers)


def test_other_methods_are_refused_with_what_is_allowed(server: Server) -> None:
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = server.request(method, headers=TUS)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    answer = server.request("PUT", server.create(1), TUS)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PATCH, DELETE")
    assert answer.body == b"method not allowed"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_head_shows_offset_and_length_and_is_never_cached(server: Server) -> None:
    url = server.create(11)
    answer = server.request("HEAD", url, TUS)
    assert answer.status == 200
    assert answer.body == b""
    assert answer.headers["upload-offset"] == "0"
    assert answer.headers["upload-length"] == "11"
    assert answer.headers["content-length"] == "11"
    assert answer.headers["cache-control"] == "no-store"
    assert "upload-defer-length" not in answer.headers
    server.patch(url, 0, b"hello world")
    assert server.offset(url) == 11


def test_head_of_an_unknown_upload_has_no_offset_and_no_body(server: Server) -> None:
    answer = server.request("HEAD", server.url + "0" * 32, TUS)
    assert answer.status == 404
    assert answer.headers["cache-control"] == "no-store"
    assert "upload-offset" not in answer.headers
    assert answer.body == b""


def test_patch_writes_at_the_offset_and_says_the_new_one(server: Server) -> None:
    url = server.create(11)
    for offset, piece, expected in ((0, b"hello", "5"), (5, b"", "5"), (5, b" world", "11")):
        answer = server.patch(url, offset, piece)
        assert (answer.status, answer.body, answer.headers["upload-offset"]) == (204, b"", expected)
        assert "content-length" not in answer.headers
    assert server.path_of(url).read_bytes() == b"hello world"


@pytest.mark.parametrize("offset", [0, 4, 6, 2**62])
def test_another_offset_is_a_conflict_that_changes_nothing(server: Server, offset: int) -> None:
    url = server.create(100)
    server.patch(url, 0, b"hello")
    answer = server.patch(url, offset, b"XXXXX")
    assert (answer.status, answer.body) == (409, b"ERR_MISMATCHED_OFFSET: mismatched offset\n")
    assert answer.headers["upload-offset"] == "5"
    assert server.path_of(url).read_bytes() == b"hello"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/octet-stream", ""])
def test_another_media_type_is_refused(server: Server, content_type: str | None) -> None:
    url = server.create(5)
    headers = TUS | {"Upload-Offset": "0"} | ({} if content_type is None else {"Content-Type": content_type})
    assert server.request("PATCH", url, headers, b"hello").status == 415
    assert server.offset(url) == 0


def test_the_media_type_is_compared_without_case_and_parameters(server: Server) -> None:
    url = server.create(5)
    answer = server.patch(url, 0, b"hello", Content_Type="Application/Offset+Octet-Stream; charset=x")
    assert answer.status == 204


def test_more_than_the_rest_is_refused_and_nothing_of_it_is_kept(server: Server) -> None:
    url = server.create(5)
    answer = server.patch(url, 0, b"hello!")
    assert (answer.status, answer.code) == (413, "ERR_UPLOAD_SIZE_EXCEEDED")
    assert server.offset(url) == 0


def test_a_body_without_content_length_is_taken(server: Server) -> None:
    url = server.create(11)
    assert chunked(server, url, 0, [b"hello", b" ", b"world"]).status == 204
    assert server.path_of(url).read_bytes() == b"hello world"


@pytest.mark.parametrize("pieces", [[b"hello!"], [b"hello", b"!"], [b"hel", b"lo", b"x" * 100_000]])
def test_a_chunked_body_that_is_too_long_never_finishes_the_upload(server: Server, pieces: list[bytes]) -> None:
    url = server.create(5)
    assert chunked(server, url, 0, pieces).status == 413
    assert server.offset(url) == 4
    assert server.patch(url, 4, b"o").status == 204
    assert server.path_of(url).read_bytes() == b"hello"


def test_a_complete_upload_takes_an_empty_patch_and_no_other(server: Server) -> None:
    url = server.create(5)
    server.patch(url, 0, b"hello")
    assert server.patch(url, 5, b"").status == 204
    assert server.patch(url, 5, b"x").status == 413
    assert chunked(server, url, 5, [b"x"]).status == 413
    assert server.patch(url, 0, b"hello").status == 409
    assert server.path_of(url).read_bytes() == b"hello"


def test_patch_of_an_unknown_upload_is_answered_without_reading_the_body(server: Server) -> None:
    head = (
        b"PATCH /files/unknown HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        b"Content-Type: application/offset+octet-stream\r\nContent-Length: 1000000000\r\n\r\n"
    )
    assert server.raw(head, until_closed=False).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("sent_method", ["POST", "PUT"])
def test_the_overriding_method_is_executed(server: Server, sent_method: str) -> None:
    url = server.create(5)
    override = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0"}
    assert server.request(sent_method, url, CHUNK | override, b"hello").status == 204
    answer = server.request(sent_method, url, TUS | {"X-HTTP-Method-Override": "HEAD"})
    assert (answer.status, answer.headers["upload-offset"], answer.headers["content-length"]) == (200, "5", "0")
    assert server.request(sent_method, url, TUS | {"X-HTTP-Method-Override": "patch"}).status == 405
    assert server.request(sent_method, url, TUS | {"X-HTTP-Method-Override": "DELETE"}).status == 204
    assert server.request("HEAD", url, TUS).status == 404


def test_bytes_that_arrived_before_a_lost_connection_are_kept(server: Server) -> None:
    for size, linger in ((1_000, False), (1_000, True), (3_000_000, False), (3_000_000, True)):
        url = server.create(10_000_000)
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, 10_000_000) + b"x" * size)
            eventually(has_size(server.path_of(url), size))
            if linger:  # closing resets the connection instead of ending it
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert server.offset(url) == size


def test_bytes_in_flight_when_the_client_closes_are_kept(server: Server) -> None:
    for size in (5, 41_000, 300_000, 5_000_000):
        url = server.create(10_000_000)
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, 10_000_000) + b"x" * size)
            connection.shutdown(socket.SHUT_WR)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"ERR_UNEXPECTED_EOF" in answer
        assert server.offset(url) == size


def test_a_silent_client_is_cut_off_and_its_bytes_are_kept(start: ServerStarter) -> None:
    server = start("-network-timeout", "300ms")
    for size in (10, 400_000):
        url = server.create(1_000_000)
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, 1_000_000) + b"x" * size)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"ERR_READ_TIMEOUT" in answer
        assert b"connection: close" in answer
        assert server.offset(url) == size


@pytest.mark.parametrize("size", [100_000, 1_000_000])
@pytest.mark.parametrize("way", ["length", "chunked", "checksum"])
def test_of_twenty_writers_at_one_offset_one_wins(server: Server, size: int, way: str) -> None:
    url = server.create(2 * size)
    bodies = [bytes([number]) * size for number in range(20)]
    together = threading.Barrier(20)

    def write(body: bytes) -> int:
        digest = b64encode(hashlib.sha256(body).digest()).decode()
        together.wait(DEADLINE)
        if way == "chunked":
            return chunked(server, url, 0, [body[:10], body[10:]]).status
        return server.patch(
            url, 0, body, **({"Upload_Checksum": f"sha256 {digest}"} if way == "checksum" else {})
        ).status

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(write, bodies))
    assert statuses.count(204) <= 1
    assert set(statuses) <= {204, 400, 409, 423}
    offset = server.offset(url)
    stored = server.path_of(url).read_bytes()
    assert len(stored) == offset
    assert len(set(stored)) <= 1
    if 204 in statuses:
        assert stored == bodies[statuses.index(204)]
    assert server.patch(url, offset, bytes(2 * size - offset)).status == 204
    assert server.path_of(url).read_bytes() == stored + bytes(2 * size - offset)


def test_an_early_error_can_be_read_by_a_client_that_goes_on_sending(server: Server) -> None:
    url = server.create(200_000_000)
    answer = server.patch(url, 7, os.urandom(1_000_000) * 100)
    assert answer.status == 409
    assert answer.headers["connection"] == "close"


def test_the_next_request_on_a_connection_works_after_a_small_unread_body(server: Server) -> None:
    url = server.create(5)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 3, 5) + b"hello" + patch_head(url, 0, 5, "Connection: close") + b"hello")
        answers = read_all(connection)
    assert answers.startswith(b"HTTP/1.1 409 ")
    assert b"HTTP/1.1 204 " in answers


def test_a_client_that_waits_for_a_continue_gets_it_only_for_a_body_that_is_wanted(server: Server) -> None:
    url = server.create(1_000_000)
    for offset, size, expected in ((1, 5, b"HTTP/1.1 409 "), (0, 5, b"HTTP/1.1 100 "), (5, 900_000, b"HTTP/1.1 100 ")):
        with server.connection() as connection:
            connection.sendall(patch_head(url, offset, size, "Expect: 100-continue"))
            first = connection.recv(65536)
            assert first.startswith(expected)
            if expected.endswith(b"100 "):
                connection.sendall(b"x" * size)
                assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")
            else:
                assert (first + read_all(connection)).endswith(b"ERR_MISMATCHED_OFFSET: mismatched offset\n")
