"""Large bodies over TLS, which a thread decrypts in the event loop's place."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients import MIB
from tests.patching import patch_head
from tests.running import DEADLINE, TUS, Server, ServerStarter, eventually, has_size, read_all, read_head, request_head
from tests.running import trusting_anybody as context
from tests.server.certificates import files_in


@pytest.fixture(scope="module")
def secure(start_shared: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Server:
    files = files_in(tmp_path_factory.mktemp("tls"))
    files.hold("lent.example")
    return start_shared(*files.flags)


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
