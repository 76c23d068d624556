"""Uploads by clients as they are installed; here is what the tests of all of them use."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from tests.running import Server

MIB = 1024 * 1024
SIZE = 52 * MIB + 4321
"""More than 50 MiB, and no multiple of any size of chunk."""


@dataclass(frozen=True)
class Source:
    """A file to upload; `size` and `digest` are of its contents."""

    path: Path
    size: int
    digest: str


ZIP = b"PK\x03\x04\x14\0\0\0\x08\0"
"""What a ZIP archive begins with."""


def random_file(directory: Path, size: int = SIZE, name: str = "source.bin", start: bytes = b"") -> Source:
    """A file of random bytes but for those at its `start`."""
    data = (start + os.urandom(size))[:size]
    path = directory / name
    path.write_bytes(data)
    return Source(path, size, hashlib.sha256(data).hexdigest())


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def assert_stored(server: Server, url: str, source: Source) -> None:
    """The upload is complete and its file has the bytes of the source."""
    assert server.offset(url) == source.size
    assert digest_of(server.path_of(url)) == source.digest


def assert_downloads(server: Server, url: str, source: Source) -> None:
    """A GET of the upload gives the bytes of the source."""
    answer = server.request("GET", url)
    assert answer.status == 200
    assert hashlib.sha256(answer.body).hexdigest() == source.digest


def stored_bytes(server: Server, url: str) -> int:
    """How many bytes of an upload are in its file; 0 before there is one."""
    try:
        return server.path_of(url).stat().st_size
    except FileNotFoundError:
        return 0
