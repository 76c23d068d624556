"""The bytes that are uploaded: in memory, as a file, so that the kernel sends them without a copy by the client."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass

MIB = 1024 * 1024
GIB = 1024 * MIB

_NUMBER = 8


@dataclass(frozen=True)
class Slice:
    """`length` bytes from `start` of the file with this descriptor."""

    descriptor: int
    start: int
    length: int

    def read(self, start: int, length: int) -> bytes:
        """At most `length` bytes, from `start` within the slice."""
        return os.pread(self.descriptor, min(length, self.length - start), self.start + start)


class Payload:
    """Random bytes without an end, made as far as they are asked for; no two MiB are the same."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("payload")
        self._block = os.urandom(MIB - _NUMBER)

    def slice(self, start: int, length: int) -> Slice:
        made = os.fstat(self._descriptor).st_size
        for number in range(made // MIB, -(-(start + length) // MIB)):
            os.pwrite(self._descriptor, number.to_bytes(_NUMBER) + self._block, number * MIB)
        return Slice(self._descriptor, start, length)


PAYLOAD = Payload()


@functools.cache
def sha256(part: Slice) -> bytes:
    """The digest of a slice; made once, so that it is not among what is measured."""
    digest = hashlib.sha256()
    for start in range(0, part.length, MIB):
        digest.update(part.read(start, MIB))
    return digest.digest()
