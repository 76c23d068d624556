"""Large bodies over TLS, which a thread decrypts in the event loop's place."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.clients import MIB
from tests.patching import patch_head
from tests.running import DEADLINE, TUS, Server, eventually, has_size, read_all, read_head, request_head
from tests.running import trusting_anybody as context
from tests.server.certificates import files_in
from tusd_py.server.lending import SocketLoan, lend_socket, turn_away, turn_to
from tusd_py.server.tls import Certificates


def _lent_sockets(server: Server) -> int:
    """Those that the server has open twice."""
    names = []
    for entry in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            names.append(os.readlink(entry))
    return sum(names.count(name) == 2 for name in set(names) if name.startswith("socket:"))


def test_a_large_body_is_lent_after_whatever_else_was_asked_for_on_its_connection(secure: Server) -> None:
    url = secure.create(2 * MIB)
    with secure.connection() as connection:
        for _ in range(30):
            connection.sendall(request_head("HEAD", urlsplit(url).path, TUS))
            assert read_head(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(patch_head(url, 0, 2 * MIB) + bytes(MIB))
        eventually(lambda: _lent_sockets(secure) == 1)
        connection.sendall(bytes(MIB))
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")
    assert _lent_sockets(secure) == 0


def test_what_stands_before_a_broken_record_is_kept(secure: Server) -> None:
    url = secure.create(10 * MIB)
    content = os.urandom(3 * MIB)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context().wrap_bio(incoming, outgoing)
    with socket.create_connection(("127.0.0.1", secure.port), timeout=DEADLINE) as connection:
        is_agreed = False
        while not is_agreed:
            try:
                client.do_handshake()
                is_agreed = True
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(MIB))
        client.write(patch_head(url, 0, 10 * MIB))
        client.write(content)
        connection.sendall(outgoing.read() + b"\x17\x03\x03\x00\x20" + bytes(32))
        read_all(connection)
    assert secure.offset(url) == len(content)
    assert secure.path_of(url).read_bytes() == content


def test_another_request_takes_over_at_once(secure: Server) -> None:
    url = secure.create(10 * MIB)
    with secure.connection() as connection:
        connection.sendall(patch_head(url, 0, 10 * MIB) + bytes(3 * MIB))
        eventually(has_size(secure.path_of(url), 3 * MIB))
        assert secure.offset(url) == 3 * MIB
        assert secure.patch(url, 3 * MIB, bytes(7 * MIB)).status == 204


def test_a_client_that_waits_for_it_is_told_to_go_on(secure: Server) -> None:
    url = secure.create(MIB)
    with secure.connection() as connection:
        connection.sendall(patch_head(url, 0, MIB, "Expect: 100-continue"))
        assert read_head(connection).startswith(b"HTTP/1.1 100 ")
        connection.sendall(bytes(MIB))
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")


def test_an_upload_behind_a_download_that_still_waits_to_be_read_is_whole(secure: Server) -> None:
    content = os.urandom(4 * MIB)
    source, target = secure.create(len(content)), secure.create(2 * len(content))
    assert secure.patch(source, 0, content).status == 204
    download = request_head("GET", urlsplit(source).path)
    with secure.connection() as connection:
        for offset in (0, len(content)):
            connection.sendall(download + patch_head(target, offset, len(content)))
            head, _, read = read_head(connection).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            while len(read) < len(content):
                read += connection.recv(min(MIB, len(content) - len(read)))
            assert read == content
            connection.sendall(content)
            assert read_head(connection).startswith(b"HTTP/1.1 204 ")
    assert secure.path_of(target).read_bytes() == 2 * content


def test_a_client_may_ask_for_new_keys_within_a_body(secure: Server, tmp_path: Path) -> None:
    """OpenSSL's own client does where its input begins with a K."""
    url = secure.create(2 * MIB)
    shown = tmp_path / "shown"
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", "-tls1_3"]
    with (
        shown.open("wb") as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output) as client,
    ):
        try:
            assert client.stdin is not None
            client.stdin.write(patch_head(url, 0, 2 * MIB) + bytes(MIB))
            client.stdin.flush()
            eventually(has_size(secure.path_of(url), MIB))
            client.stdin.write(b"K\n")
            client.stdin.flush()
            eventually(lambda: b"KEYUPDATE" in shown.read_bytes())
            client.stdin.write(bytes(MIB))
            client.stdin.flush()
            eventually(lambda: b"HTTP/1.1 204 " in shown.read_bytes())
        finally:
            client.kill()
    assert secure.offset(url) == 2 * MIB


def test_connections_that_have_ended_hold_no_memory(secure: Server) -> None:
    """Each had a quarter of a megabyte or more until a collector of garbage came by."""
    rounds, part = 150, 300 * 1024
    url = secure.create((rounds + 1) * part)
    before = 0
    for number in range(rounds):
        with secure.connection() as connection:
            connection.sendall(patch_head(url, number * part, 2 * part) + bytes(part))
            eventually(has_size(secure.path_of(url), (number + 1) * part))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
        if number == 20:
            before = secure.rss()
    assert secure.rss() - before < 16 * MIB


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_connection_is_lent_only_once_the_kernel_has_all_that_its_client_is_to_get(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    unread = 16 * MIB

    async def scenario() -> None:
        async with _connected(tmp_path) as (transport, client):
            transport.write(bytes(unread))
            await turn_away(transport)
            assert lend_socket(transport, b"", MIB, print) is None
            turn_to(transport)
            await asyncio.to_thread(_read, client, unread)
            (await _lent(transport)).give_back()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


def test_a_client_that_has_tls_answer_all_the_time_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _connected(tmp_path) as (transport, _):
            loan = await _lent(transport)
            transport.get_extra_info("ssl_object").outgoing.write(bytes(MIB))  # as a flood of key updates has it grow
            with pytest.raises(ConnectionAbortedError):
                loan.read_into(memoryview(bytearray(MIB)))
            loan.give_back()

    asyncio.run(scenario())


@asynccontextmanager
async def _connected(folder: Path) -> AsyncIterator[tuple[asyncio.Transport, ssl.SSLSocket]]:
    """The server's end of a connection that reads nothing, and the client's."""
    files = files_in(folder)
    files.hold("lent.example")
    certificates = Certificates(str(files.certificate), str(files.key), "tls12")
    transports: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.put_nowait(cast(asyncio.Transport, transport))

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Silent, "127.0.0.1", 0, ssl=certificates.context)
    with await asyncio.to_thread(_connect, server.sockets[0].getsockname()[1]) as client:
        transport = await transports.get()
        transport.pause_reading()
        yield transport, client
        transport.abort()
    server.close()


def _connect(port: int) -> ssl.SSLSocket:
    return context().wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))


def _read(client: ssl.SSLSocket, size: int) -> None:
    while size:
        block = client.recv(min(size, MIB))
        assert block
        size -= len(block)


async def _lent(transport: asyncio.Transport) -> SocketLoan:
    """That may be refused where an acknowledgement comes in this moment."""
    async with asyncio.timeout(DEADLINE):
        while True:
            await turn_away(transport)
            loan = lend_socket(transport, b"", MIB, lambda _: None)
            if loan is not None:
                return loan
