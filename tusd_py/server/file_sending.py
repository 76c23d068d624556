"""Sending a part of a file to a client without its bytes passing through this process."""

from __future__ import annotations

import asyncio
import os
import select

from tusd_py.service.threads import Threads
from tusd_py.store.patience import Patience

TURN = 16 * 1024 * 1024
"""Bytes that one connection may send before its thread serves another."""

_threads = Threads("send", 8)


async def send_file(connection: int, file: int, offset: int, count: int, timeout: float) -> None:
    """Send `count` bytes of an open file, from `offset` on, to a non-blocking socket with nothing else to send.

    A client that takes nothing holds no thread; it may do so for `timeout` seconds. Raises `ConnectionError` when it
    has gone, `TimeoutError`, and `EOFError` when the file has fewer bytes. Works on a duplicate of the connection's
    descriptor, since an event loop refuses its transports' own; no thread uses it any more when this is left.
    """
    duplicate = os.dup(connection)
    try:
        while count:
            sent = await _threads(_send, duplicate, file, offset, min(count, TURN))
            offset, count = offset + sent, count - sent
            if count:
                await _writable(duplicate, timeout)
    finally:
        os.close(duplicate)


def _send(connection: int, file: int, offset: int, count: int) -> int:
    """What one turn of a thread has sent."""
    patience = Patience()
    sent = 0
    while sent < count:
        try:
            moved = os.sendfile(connection, file, offset + sent, count - sent)
        except BlockingIOError:
            if patience.is_ready(connection, select.POLLOUT, sent):
                continue
            break
        if not moved:
            raise EOFError("the file has become shorter")
        sent += moved
    return sent


async def _writable(descriptor: int, timeout: float) -> None:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    loop.add_writer(descriptor, wake)
    try:
        async with asyncio.timeout(timeout):
            await waiter
    finally:
        loop.remove_writer(descriptor)
