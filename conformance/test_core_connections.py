"""The core protocol when connections break, clients stall or race, and the server is killed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from .marks import implied, may, should
from .process import Process
from .tus import Server, eventually, pattern
from .wire import PATIENCE, Connection, Request, chunked

MIB = 2**20
RACES = 5


def resume(server: Server, upload: str, data: bytes, within: float = PATIENCE) -> None:
    """Go on where the server says, as a client does after a broken connection, until the upload is complete."""

    def attempt() -> bool:
        reply = server.head(upload)
        if reply.status == 423:
            return False
        offset = int(reply.header("Upload-Offset") or "-1")
        assert 0 <= offset <= len(data), f"HEAD was answered with {reply.status} and offset {offset}"
        return offset == len(data) or server.patch(upload, offset, data[offset:]).status == 204

    assert eventually(attempt, within), "the upload could not be resumed"
    server.check_content(upload, data)


def announcing(server: Server, upload: str, offset: int, length: int) -> Request:
    """A PATCH with a body of this length that is still to be sent."""
    return server.patch_message(upload, offset, None, {"Content-Length": str(length)})


@should
@pytest.mark.parametrize("end", ["closed", "half-closed", "reset"])
def test_CORE_26_a_lost_connection_is_noticed(server: Server, end: str) -> None:
    """The server notices that the connection of a PATCH is gone, and the upload can be resumed within seconds."""
    upload, data = server.create(MIB), pattern(MIB)
    connection = Connection(upload)
    connection.send(announcing(server, upload, 0, MIB).head() + data[: MIB // 2])
    match end:
        case "closed":
            connection.close()
        case "half-closed":
            connection.finish_sending()
        case _:
            connection.reset()
    with connection:
        resume(server, upload, data)


@may
def test_CORE_27_a_silent_client_is_given_up(server: Server, idle_timeout: float) -> None:
    """A client that sends nothing for too long is given up; what it sent is kept, and the upload can be resumed."""
    upload, data = server.create(MIB), pattern(MIB)
    with server.stalled_patch(upload, data) as connection:
        assert connection.is_closed_within(idle_timeout + PATIENCE)
        assert server.offset(upload) == MIB // 2
        resume(server, upload, data)


@should
def test_CORE_28_after_a_time_out_the_connection_is_closed(server: Server, idle_timeout: float) -> None:
    """The server closes the connection of a client that it gave up."""
    with server.stalled_patch(server.create(MIB), pattern(MIB)) as connection:
        assert connection.is_closed_within(idle_timeout + PATIENCE)


@should
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_CORE_29_what_arrived_is_kept(server: Server, framing: str) -> None:
    """When a connection breaks in the middle of a PATCH, the bytes that arrived count."""
    upload, data, sent = server.create(MIB), pattern(MIB), MIB // 2
    with Connection(upload) as connection:
        if framing == "length":
            connection.send(announcing(server, upload, 0, MIB).head() + data[:sent])
        else:
            body = chunked([data[start : start + 8192] for start in range(0, sent, 8192)]).removesuffix(b"0\r\n\r\n")
            connection.send(server.patch_message(upload, 0, None, {"Transfer-Encoding": "chunked"}).head() + body)
    assert eventually(lambda: sent - MIB // 8 <= server.offset(upload) <= sent), f"kept: {server.offset(upload)}"
    resume(server, upload, data)


@should
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_CORE_30_one_large_patch(server: Server, framing: str) -> None:
    """The rest of an upload may come in a single PATCH, of known length or in chunked coding."""
    size = 64 * MIB if server.max_size is None else min(64 * MIB, server.max_size)
    upload, data = server.create(size), pattern(size)
    if framing == "length":
        sent = server.patch_message(upload, 0, None, {"Content-Length": str(size)}).head() + data
    else:
        pieces = chunked([data[start : start + 100_000] for start in range(0, size, 100_000)])
        sent = server.patch_message(upload, 0, None, {"Transfer-Encoding": "chunked"}).head() + pieces
    with Connection(upload) as connection:
        connection.send(sent)
        reply = connection.reply("PATCH")
    assert (reply.status, reply.header("Upload-Offset")) == (204, str(size))
    server.check_content(upload, data)


@should
def test_CORE_30_many_small_patches(server: Server) -> None:
    """The data may also come in many PATCH requests, one after the other on one connection."""
    upload, data = server.create(500 * 1024), pattern(500 * 1024)
    with Connection(upload) as connection:
        for start in range(0, len(data), 1024):
            reply = connection.exchange(server.patch_message(upload, start, data[start : start + 1024]))
            assert (reply.status, reply.header("Upload-Offset")) == (204, str(start + 1024))
    server.check_content(upload, data)


@implied
def test_CORE_36_acknowledged_bytes_survive_the_death_of_the_server(server: Server, process: Process) -> None:
    """After kill -9 during a PATCH no acknowledged byte is lost, and the resumed upload has the right content."""
    server = replace(server, url=process.url)
    upload, data = server.create(4 * MIB), pattern(4 * MIB)
    assert server.patch(upload, 0, data[:MIB]).status == 204
    with Connection(upload) as connection:
        connection.send(announcing(server, upload, MIB, 3 * MIB).head() + data[MIB : 2 * MIB])
        process.kill()
    process.start()
    assert MIB <= server.offset(upload) <= 2 * MIB
    resume(server, upload, data)


@implied
@pytest.mark.parametrize("writers", [2, 20])
def test_CORE_37_of_two_writers_at_one_offset_one_wins(server: Server, writers: int) -> None:
    """Of several PATCH requests at one offset exactly one succeeds, and the content is the winner's."""
    # A server may break a writer off for the next one: where all of them were, they race again for another upload.
    for _ in range(RACES):
        upload, statuses = race(server, writers)
        assert set(statuses) <= {204, 400, 409, 423}
        assert statuses.count(204) <= 1
        if 204 in statuses:
            break
        assert 400 in statuses, "nobody won, and nobody was broken off"
        assert server.offset(upload) < MIB
    assert statuses.count(204) == 1
    assert server.offset(upload) == MIB
    server.patch(upload, MIB, pattern(MIB, -1))
    server.check_content(upload, pattern(MIB, statuses.index(204)) + pattern(MIB, -1))


def race(server: Server, writers: int) -> tuple[str, list[int]]:
    """An upload, and what each of the writers of its first half was answered."""
    upload = server.create(2 * MIB)
    start = threading.Barrier(writers)

    def write(number: int) -> int:
        message = server.patch_message(upload, 0, pattern(MIB, number))
        with Connection(upload) as connection:
            start.wait(PATIENCE)
            return connection.exchange(message).status

    with ThreadPoolExecutor(writers) as pool:
        return upload, list(pool.map(write, range(writers)))


@implied
def test_CORE_38_a_stalled_client_does_not_block_the_next_one(server: Server) -> None:
    """While a PATCH hangs on a dead connection, a new request can resume the upload within seconds."""
    upload, data = server.create(MIB), pattern(MIB)
    with server.stalled_patch(upload, data):
        resume(server, upload, data, within=6)
