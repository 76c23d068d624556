"""Clients that go, fall silent or are in the way in the middle of a body, whatever way it comes."""

from __future__ import annotations

import re
import signal
import socket
import struct

import pytest

from tests.half_sent import half_sent_requests
from tests.running import DEADLINE, TUS, Server, ServerStarter, eventually, read_all


def status_and_code(answer: bytes) -> tuple[int, str]:
    """Of an answer with an error."""
    match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) .*\r\n\r\n(ERR_\w+): .*\n", answer, re.DOTALL)
    assert match is not None, answer
    return int(match[1]), match[2].decode()


def assert_nothing_half_made(server: Server) -> None:
    """Every file is an upload's data or description."""
    names = server.files().keys()
    described = {name.removesuffix(".info") for name in names if name.endswith(".info")}
    assert names == described | {f"{name}.info" for name in described}


def test_a_client_that_ends_its_half_is_told_and_can_go_on(server: Server) -> None:
    with half_sent_requests(server) as requests:
        for request in requests:
            request.connection.shutdown(socket.SHUT_WR)
        for request in requests:
            answer = read_all(request.connection)
            assert status_and_code(answer) == (400, "ERR_UNEXPECTED_EOF"), request.name
            request.assert_resumable(server)
    assert_nothing_half_made(server)


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_a_client_that_is_gone_can_come_back(server: Server, end: str) -> None:
    with half_sent_requests(server) as requests:
        for request in requests:
            if end == "reset":
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.connection.close()
        for request in requests:
            request.assert_resumable(server)
    assert_nothing_half_made(server)


def test_a_client_that_falls_silent_is_told_and_can_go_on(start: ServerStarter) -> None:
    server = start("-network-timeout", "2s")
    with half_sent_requests(server) as requests:
        for request in requests:
            assert status_and_code(read_all(request.connection)) == (500, "ERR_READ_TIMEOUT"), request.name
            request.assert_resumable(server)
    assert_nothing_half_made(server)


def test_a_stop_of_the_server_is_told_and_the_next_server_goes_on(start: ServerStarter) -> None:
    server = start()
    with half_sent_requests(server) as requests:
        server.process.send_signal(signal.SIGTERM)
        for request in requests:
            answer = read_all(request.connection)
            assert status_and_code(answer) == (503, "ERR_SERVER_SHUTDOWN"), request.name
            assert b"\r\nretry-after: " in answer
        assert server.process.wait(DEADLINE) == 0
        server = start(port=server.port, upload_dir=server.upload_dir)
        for request in requests:
            request.assert_resumable(server)
    assert_nothing_half_made(server)


def test_a_killed_server_is_followed_by_one_that_goes_on(start: ServerStarter) -> None:
    server = start()
    with half_sent_requests(server) as requests:
        server.kill()
        server = start(port=server.port, upload_dir=server.upload_dir)
        for request in requests:
            request.assert_resumable(server)
    assert_nothing_half_made(server)


def test_whoever_asks_for_the_offset_replaces_the_writer(server: Server) -> None:
    with half_sent_requests(server) as requests:
        for request in requests:
            request.assert_resumable(server)
        for request in requests:
            answer = read_all(request.connection)
            assert status_and_code(answer) == (400, "ERR_UPLOAD_INTERRUPTED"), request.name
    assert_nothing_half_made(server)


def test_a_delete_ends_the_writer_and_leaves_nothing(server: Server) -> None:
    with half_sent_requests(server) as requests:
        for request in requests:
            assert server.request("DELETE", request.url, TUS).status == 204, request.name
            assert server.request("HEAD", request.url, TUS).status == 404, request.name
        for request in requests:
            answer = read_all(request.connection)
            assert status_and_code(answer) == (400, "ERR_UPLOAD_INTERRUPTED"), request.name
    assert server.files() == {}


def test_an_upload_that_vanishes_ends_its_writer_in_peace(server: Server) -> None:
    """Somebody has removed the files."""
    with half_sent_requests(server) as requests:
        for request in requests:
            for path in server.upload_dir.glob(f"{server.path_of(request.url).name}*"):
                path.unlink()
            request.connection.shutdown(socket.SHUT_WR)
            assert read_all(request.connection).startswith(b"HTTP/1.1 4"), request.name
            assert server.request("HEAD", request.url, TUS).status == 404, request.name
    eventually(lambda: server.files() == {})
