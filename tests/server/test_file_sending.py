"""Downloads that the server hands to the kernel, over real sockets."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.running import DEADLINE, Server, ServerStarter, eventually, read_all, request_head
from tests.tusd_directory import write_as_tusd

MIB = 1024 * 1024
CLOSE = {"Connection": "close"}
CONTENT = os.urandom(MIB + 241) * 17
"""More than is sent at once, and not a whole number of anything."""


@pytest.fixture(scope="module")
def shared(start_shared: ServerStarter) -> Server:
    return start_shared()


def stored(server: Server, content: bytes = CONTENT) -> str:
    write_as_tusd(server.upload_dir, "whole", content, Size=len(content))
    return server.url + "whole"


def get(server: Server, url: str, **headers: str) -> bytes:
    return request_head("GET", urlsplit(url).path, CLOSE | headers)


def stalled(server: Server, url: str, buffer: int = 4096) -> socket.socket:
    """A download of which nothing is taken; it has begun."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(DEADLINE)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(get(server, url))
    assert connection.recv(15, socket.MSG_PEEK).startswith(b"HTTP/1.1 200 ")
    return connection


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("header", "first", "end"),
    [
        ("", 0, len(CONTENT)),
        (f"bytes=0-{3 * MIB}", 0, 3 * MIB + 1),
        ("bytes=13000001-", 13_000_001, len(CONTENT)),
        (f"bytes=-{MIB}", len(CONTENT) - MIB, len(CONTENT)),
    ],
    ids=["whole", "start", "rest", "end"],
)
def test_large_parts_arrive_byte_for_byte_and_the_connection_goes_on(
    shared: Server, header: str, first: int, end: int
) -> None:
    path = urlsplit(stored(shared)).path
    wanted = {"Range": header} if header else {}
    with shared.connection() as connection:
        connection.sendall(request_head("GET", path, wanted) + request_head("GET", path, wanted | CLOSE))
        answers = read_all(connection)
    for expected in (CONTENT[first:end], CONTENT[first:end]):
        head, _, answers = answers.partition(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % len(expected) in head + b"\r\n"
        assert answers[: len(expected)] == expected
        answers = answers[len(expected) :]
    assert answers == b""


def test_a_head_that_is_overridden_to_a_get_has_no_body(shared: Server) -> None:
    path = urlsplit(stored(shared)).path
    override = {"X-HTTP-Method-Override": "GET"} | CLOSE
    head, _, body = shared.raw(request_head("HEAD", path, override)).partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(CONTENT) in head
    assert body == b""


def test_what_is_sent_of_an_unfinished_upload_ends_where_it_counts(shared: Server) -> None:
    size = 3 * MIB
    write_as_tusd(shared.upload_dir, "part", CONTENT[:size], Size=2 * size)
    assert body_of(shared.raw(get(shared, shared.url + "part"))) == CONTENT[:size]


def test_clients_that_take_nothing_hinder_nobody(start: ServerStarter) -> None:
    """There are more of them than threads."""
    server = start()
    url = stored(server)
    with ExitStack() as stack:
        slow = [stack.enter_context(stalled(server, url)) for _ in range(30)]
        assert body_of(server.raw(get(server, url))) == CONTENT
        assert body_of(read_all(slow[0])) == CONTENT
        assert body_of(read_all(slow[-1])) == CONTENT
    eventually(lambda: len(list(Path(f"/proc/{server.pid}/fd").iterdir())) < 30)
    assert server.terminate() == 0


def test_a_file_that_is_cut_back_meanwhile_ends_the_connection(shared: Server) -> None:
    url = stored(shared)
    with stalled(shared, url) as connection:
        os.truncate(shared.path_of(url), 16 * MIB)
        body = body_of(read_all(connection))
    assert len(body) <= 16 * MIB
    assert body == CONTENT[: len(body)]
    assert shared.request("OPTIONS").status == 200


def test_a_client_that_takes_nothing_is_dropped_and_one_that_takes_a_little_is_not(start: ServerStarter) -> None:
    server = start("-network-timeout", "2s")
    url = stored(server)
    taken = bytearray()

    def take_a_little(connection: socket.socket) -> bool:
        taken.extend(connection.recv(65536))
        return "NetworkTimeoutError" in server.output()

    with stalled(server, url) as silent, stalled(server, url, 65536) as slow:
        eventually(lambda: take_a_little(slow))
        received = read_all(silent)
        taken.extend(read_all(slow))
    assert len(body_of(received)) < len(CONTENT)
    assert body_of(bytes(taken)) == CONTENT


def test_a_client_that_goes_before_its_answer_begins_is_no_error(start: ServerStarter, tmp_path: Path) -> None:
    """A hook still thinks about it then."""
    asked, go_on, hook = tmp_path / "asked", tmp_path / "go_on", tmp_path / "pre-access"
    hook.write_text(f"#!/bin/sh\ntouch {asked}\nuntil [ -e {go_on} ]; do sleep 0.01; done\n")
    hook.chmod(0o755)
    server = start("-hooks-dir", str(tmp_path), "-hooks-enabled-events", "pre-access")
    url = stored(server)
    with server.connection() as connection:
        connection.sendall(get(server, url))
        eventually(asked.exists)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    metrics = f"http://127.0.0.1:{server.port}/metrics"
    eventually(lambda: b"tusd_connections_open 1.0" in server.request("GET", metrics).body)
    go_on.touch()
    eventually(lambda: server.output().count("event=ResponseOutgoing") == 1)
    assert server.terminate() == 0
    assert "Traceback" not in server.output()


def test_large_bodies_pass_through_the_kernel_alone(start: ServerStarter, tmp_path: Path) -> None:
    """In both directions; what has to be seen is read."""
    trace = tmp_path / "trace"
    server = start(wrapper=("strace", "-D", "-f", "-qq", "-e", "trace=splice,sendfile,readv,pread64", "-o", str(trace)))
    url = server.create(len(CONTENT))
    assert server.patch(url, 0, CONTENT).status == 204
    assert server.path_of(url).read_bytes() == CONTENT
    assert body_of(server.raw(get(server, url))) == CONTENT
    server.terminate()
    moved = [line for line in trace.read_text().splitlines() if "splice(" in line or "sendfile(" in line]
    read = [line for line in trace.read_text().splitlines() if "= 1048576" in line and "read" in line]
    assert any("splice(" in line for line in moved)
    assert any("sendfile(" in line for line in moved)
    assert read == []
