"""Lending a connection's socket to the thread that writes the upload, so that bytes are not copied on their way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


class SocketLoan:
    """See `Loan`. Works on a duplicate of the connection's descriptor, since an event loop refuses its transports' own.

    `on_return(remaining)` hears how much of the body was left on the socket. Everything but reading happens on the
    event loop.
    """

    def __init__(self, descriptor: int, buffered: bytes, remaining: int, on_return: Callable[[int], None]) -> None:
        self.fd = os.dup(descriptor)
        self.buffered = buffered
        self.remaining = remaining
        self._on_return = on_return
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    async def readable(self) -> None:
        if self.buffered:
            return
        self._waiter = self._loop.create_future()
        self._loop.add_reader(self.fd, self.wake)
        try:
            await self._waiter
        finally:
            self._loop.remove_reader(self.fd)
            self._waiter = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def give_back(self) -> None:
        os.close(self.fd)
        self._on_return(self.remaining)
