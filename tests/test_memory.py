"""Memory does not depend on what clients send."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.chunked import fields_of, record_when_settled, sha256
from tests.patching import patch_head
from tests.running import Server, ServerStarter, read_head

MEBIBYTE = 1024 * 1024
FIVE_GIBIBYTES = 5 * 1024 * MEBIBYTE + 1
LIMIT = 100 * MEBIBYTE
LIMIT_OF_CHUNKS = 150 * MEBIBYTE
CHUNK_SIZE = 5 * MEBIBYTE
SENDERS = 4
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


def test_five_gibibytes_in_chunks_from_four_senders_become_a_file_in_little_memory(start: ServerStarter) -> None:
    """All chunks are the same, so that the test itself has little to do."""
    directory = _roomy_directory()
    count = FIVE_GIBIBYTES // CHUNK_SIZE
    try:
        server = start("-durability", "none", upload_dir=directory)
        upload_id = _initiate_zeros(server, count)
        numbers = iter(range(count))
        peak = 0
        with ThreadPoolExecutor(SENDERS) as pool:
            senders = [pool.submit(_send_zeros, server, upload_id, numbers) for _ in range(SENDERS)]
            while wait(senders, timeout=0.05).not_done:
                peak = max(peak, server.rss())
            completion = pool.submit(server.request, "POST", f"/api/uploads/{upload_id}/complete")
            while wait([completion], timeout=0.05).not_done:
                peak = max(peak, server.rss())
        assert [sender.result() for sender in senders] == [None] * SENDERS
        record = record_when_settled(server, fields_of(completion.result())["fileId"])
        assert (record["status"], record["fileSize"]) == ("ready", count * CHUNK_SIZE)
        assert peak < LIMIT_OF_CHUNKS
    finally:
        shutil.rmtree(directory)


def _initiate_zeros(server: Server, count: int) -> str:
    """An upload of so many chunks; its id."""
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(bytes(CHUNK_SIZE))
    announced = {"fileName": "zeros.txt", "contentType": "text/plain", "checksum": digest.hexdigest()}
    body = json.dumps(announced | {"fileSize": count * CHUNK_SIZE}).encode()
    answer = server.request("POST", "/api/uploads/initiate", body=body)
    assert (answer.status, fields_of(answer)["totalChunks"]) == (201, count)
    return str(fields_of(answer)["uploadId"])


def _send_zeros(server: Server, upload_id: str, numbers: Iterator[int]) -> None:
    """Send those of the chunks that the others leave."""
    chunk = bytes(CHUNK_SIZE)
    headers = {"X-Chunk-Checksum": sha256(chunk)}
    with closing(server.http_connection()) as connection:
        for number in numbers:
            connection.request("PUT", f"/api/uploads/{upload_id}/chunks/{number}", chunk, headers)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            response.read()
