"""Sockets lent to the threads that write, seen from their other ends."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.patching import patch_head
from tests.running import Server, ServerStarter, eventually, has_size, read_head
from tests.server.certificates import files_in

MIB = 1024 * 1024
MORE_THAN_THREADS = 40


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def shared(
    request: pytest.FixtureRequest, start_shared: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    if request.param == "plain":
        return start_shared()
    files = files_in(tmp_path_factory.mktemp("tls"))
    files.hold("lent.example")
    return start_shared(*files.flags)


def _begin(server: Server, connection: socket.socket, size: int, sent: bytes) -> str:
    """A PATCH of which no more than `sent` comes for now."""
    url = server.create(size)
    connection.sendall(patch_head(url, 0, size) + sent)
    eventually(has_size(server.path_of(url), len(sent)))
    return url


def test_uploads_that_stall_hold_no_threads(shared: Server) -> None:
    """Whether they were fast before or not."""
    content = os.urandom(3 * MIB)
    with ExitStack() as stack:
        stalled = []
        for number in range(MORE_THAN_THREADS):
            connection = stack.enter_context(shared.connection())
            sent = (2 * MIB, 300_000, 10)[number % 3]
            stalled.append((connection, _begin(shared, connection, len(content), content[:sent]), sent))
        url = shared.create(20 * MIB)
        assert shared.patch(url, 0, bytes(20 * MIB)).status == 204
        for connection, url, sent in stalled:
            connection.sendall(content[sent:])
            assert read_head(connection).startswith(b"HTTP/1.1 204 ")
            assert shared.path_of(url).read_bytes() == content


def test_more_fast_uploads_than_threads_all_come_to_their_end(shared: Server) -> None:
    content = os.urandom(3 * MIB)

    def upload(_number: int) -> bool:
        url = shared.create(len(content))
        return shared.patch(url, 0, content).status == 204 and shared.path_of(url).read_bytes() == content

    with ThreadPoolExecutor(MORE_THAN_THREADS) as clients:
        assert all(clients.map(upload, range(MORE_THAN_THREADS)))


def test_bodies_that_are_there_with_their_heads_need_no_news_of_the_socket(shared: Server) -> None:
    """Some requests of one connection, each in the socket before the one before it is read to its end."""
    content = os.urandom(MIB)
    url = shared.create(5 * MIB)
    requests = b"".join(patch_head(url, number * MIB, MIB) + content for number in range(5))
    with shared.connection() as connection, ThreadPoolExecutor(1) as sender:
        sending = sender.submit(connection.sendall, requests)
        answers = b""
        while answers.count(b"\r\n\r\n") < 5:
            answers += read_head(connection)
        sending.result()
    assert answers.count(b"HTTP/1.1 204 ") == 5
    assert shared.path_of(url).read_bytes() == content * 5
