"""Bodies, from a socket into a file."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MIB = 1024 * 1024

Update = Callable[[memoryview], object]


@dataclass(frozen=True)
class Body:
    """What is left of a request on a socket: `first` came with the head, `rest` bytes follow."""

    connection: socket.socket
    first: bytes
    rest: int
    buffer: bytearray

    @property
    def length(self) -> int:
        return len(self.first) + self.rest

    def read(self) -> bytes:
        """All of a short one."""
        data = bytearray(self.first)
        while len(data) < self.length:
            data += self.connection.recv(self.length - len(data))
        return bytes(data)


class Receive(Protocol):
    """Bring a body to `offset` of a file; each byte also goes to `update` if that is given."""

    def __call__(self, body: Body, file: int, offset: int, update: Update | None = None) -> None: ...


def receive(body: Body, file: int, offset: int, update: Update | None = None) -> None:
    """`recv_into` one buffer that is used again, and `pwrite`."""
    offset = _write(memoryview(body.first), file, offset, update)
    rest, view = body.rest, memoryview(body.buffer)
    while rest:
        count = body.connection.recv_into(view, min(rest, len(view)))
        if not count:
            raise ConnectionError("the body has no end")
        offset = _write(view[:count], file, offset, update)
        rest -= count


def splice(body: Body, file: int, offset: int, update: Update | None = None) -> None:
    """Through a pipe: the pages of the socket's buffer become those of the file, where the kernel can."""
    if update is not None:
        raise ValueError("bytes that are not read have no digest")
    offset = _write(memoryview(body.first), file, offset, None)
    rest, source = body.rest, body.connection.fileno()
    outlet, inlet = os.pipe()
    try:
        fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, MIB)
        while rest:
            count = os.splice(source, inlet, min(rest, MIB))
            if not count:
                raise ConnectionError("the body has no end")
            rest -= count
            while count:
                moved = os.splice(outlet, file, count, offset_dst=offset)
                offset += moved
                count -= moved
    finally:
        os.close(outlet)
        os.close(inlet)


def _write(view: memoryview, file: int, offset: int, update: Update | None) -> int:
    """The offset after it."""
    if update is not None:
        update(view)
    while view:
        count = os.pwrite(file, view, offset)
        offset += count
        view = view[count:]
    return offset
