"""Memory does not depend on what clients send."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.running import ServerStarter, read_head
from tests.web.test_core import patch_head

MEBIBYTE = 1024 * 1024
FIVE_GIBIBYTES = 5 * 1024 * MEBIBYTE + 1
LIMIT = 100 * MEBIBYTE
_PIECE = 16 * MEBIBYTE


@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_more_than_five_gibibytes_in_one_patch_need_no_more_memory(start: ServerStarter, coding: str) -> None:
    """The kernel's memory is the disk where there is enough of it, so that the run does not wait for a real one."""
    directory = _roomy_directory()
    try:
        server = start("-durability", "none", upload_dir=directory)
        url = server.create(FIVE_GIBIBYTES)
        peak = 0
        piece = bytes(_PIECE)
        with server.connection() as connection:
            connection.settimeout(120)
            connection.sendall(patch_head(url, 0, FIVE_GIBIBYTES) if coding == "length" else _chunked_head(url))
            rest = FIVE_GIBIBYTES
            while rest:
                count = min(rest, _PIECE)
                _send(connection, memoryview(piece)[:count], coding)
                rest -= count
                peak = max(peak, server.rss())
            if coding == "chunked":
                connection.sendall(b"0\r\n\r\n")
            assert read_head(connection).startswith(b"HTTP/1.1 204 ")
        assert server.offset(url) == FIVE_GIBIBYTES
        assert peak < LIMIT
    finally:
        shutil.rmtree(directory)


def _roomy_directory() -> Path:
    shared = Path("/dev/shm")
    free = shutil.disk_usage(shared).free if shared.is_dir() else 0
    place = shared if free > 2 * FIVE_GIBIBYTES else Path(os.environ.get("TMPDIR", "/tmp"))
    directory = place / f"tusd-py-memory-{os.getpid()}"
    directory.mkdir()
    return directory


def _chunked_head(url: str) -> bytes:
    return (
        f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        "Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()


def _send(connection: socket.socket, piece: memoryview, coding: str) -> None:
    if coding == "length":
        connection.sendall(piece)
    else:
        connection.sendall(b"%x\r\n" % len(piece))
        connection.sendall(piece)
        connection.sendall(b"\r\n")


def test_many_large_uploads_at_once_need_little_memory(start: ServerStarter, tmp_path: Path) -> None:
    server = start("-durability", "none")
    size = 32 * MEBIBYTE
    piece = bytes(MEBIBYTE)
    urls = [server.create(size) for _ in range(16)]
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in urls]
    peak = 0
    for connection, url in zip(connections, urls, strict=True):
        connection.sendall(patch_head(url, 0, size))
    for _ in range(size // MEBIBYTE):
        for connection in connections:
            connection.sendall(piece)
        peak = max(peak, server.rss())
    for connection in connections:
        assert read_head(connection).startswith(b"HTTP/1.1 204 ")
        connection.close()
    assert peak < LIMIT
