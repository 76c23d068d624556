"""The checksum algorithms that the server announces."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tusd_py.core.body import Buffer


class Digest(Protocol):
    """A running digest, as `hashlib` makes them."""

    def update(self, data: Buffer, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc32:
    """CRC-32 (zlib) with the face of a `hashlib` object; four bytes, big-endian."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How to start a digest, and its size in bytes."""

    start: Callable[[], Digest]
    size: int


ALGORITHMS = {
    "sha1": Algorithm(lambda: hashlib.sha1(usedforsecurity=False), 20),
    "sha256": Algorithm(hashlib.sha256, 32),
    "sha512": Algorithm(hashlib.sha512, 64),
    "md5": Algorithm(lambda: hashlib.md5(usedforsecurity=False), 16),
    "crc32": Algorithm(Crc32, 4),
}
