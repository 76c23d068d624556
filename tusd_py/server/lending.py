"""Lending a connection's socket to the thread that writes the upload, so that bytes are not copied on their way."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import Any

from tusd_py.server.tls import TlsConnection

_CIPHERTEXT = 256 * 1024
"""Bytes that are decrypted at once, as event loops do it: what a connection keeps for them grows to that size."""


class SocketLoan:
    """See `Loan`. Works on a duplicate of the connection's descriptor, since an event loop refuses its transports' own.

    `on_return(remaining)` hears how much of the body was left on the socket. Everything but reading happens on the
    event loop.
    """

    is_encrypted = False

    def __init__(self, descriptor: int, buffered: bytes, remaining: int, on_return: Callable[[int], None]) -> None:
        self.fd = os.dup(descriptor)
        self.buffered = buffered
        self.remaining = remaining
        self._on_return = on_return
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def read_into(self, view: memoryview) -> int:
        count = os.readv(self.fd, [view[: self.remaining]])
        self.remaining -= count
        return count

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


class TlsLoan(SocketLoan):
    """The same of a connection over TLS: the thread decrypts what it reads, and the event loop keeps off."""

    is_encrypted = True

    def __init__(
        self,
        transport: Any,
        tls: TlsConnection,
        descriptor: int,
        buffered: bytes,
        remaining: int,
        on_return: Callable[[int], None],
    ) -> None:
        super().__init__(descriptor, buffered, remaining, on_return)
        self._transport = transport
        self._tls = tls
        self._has_ended = False
        # That the application reads nothing does not keep an event loop from reading on, up to this limit.
        transport.set_read_buffer_limits(high=0)

    def read_into(self, view: memoryview) -> int:
        """Read what the records hold that have come. Where that is nothing, it raises what reading the socket does."""
        wanted, count = min(len(view), self.remaining), 0
        while count < wanted:
            try:
                taken = self._tls.read_into(view[count:wanted])
            except ssl.SSLError as error:
                if count:
                    break  # what is wrong is met again
                if not isinstance(error, ssl.SSLWantReadError):
                    raise
                if not self._take_in(view[:_CIPHERTEXT]):
                    break
            else:
                if not taken:
                    self._has_ended = True
                    break
                count += taken
        self.remaining -= count
        return count

    def _take_in(self, space: memoryview) -> int:
        """Hand on records that have come, by way of `space`."""
        count = os.readv(self.fd, [space])
        self._tls.incoming.write(space[:count])
        return count

    def give_back(self) -> None:
        if self._has_ended:  # as TLS says it, which an event loop answers in the same way, and with nothing else
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.set_read_buffer_limits()
        super().give_back()


def note_request(transport: asyncio.Transport) -> None:
    """A request has come on a connection over TLS, which is worth knowing before its socket is lent."""
    connection, tls = transport.get_extra_info("socket"), transport.get_extra_info("ssl_object")
    if isinstance(tls, TlsConnection):
        tls.note_request(connection.fileno())


def lend_socket(
    transport: asyncio.Transport, buffered: bytes, remaining: int, on_return: Callable[[int], None]
) -> SocketLoan | None:
    """Lend a connection's socket, or None where that cannot be done."""
    connection, tls = transport.get_extra_info("socket"), transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    descriptor = connection.fileno()
    try:
        if tls is None:
            return SocketLoan(descriptor, buffered, remaining, on_return)
        if isinstance(tls, TlsConnection) and tls.has_sent_all():
            return TlsLoan(transport, tls, descriptor, buffered, remaining, on_return)
    except OSError:  # no descriptor left: the other way needs none
        pass
    return None
