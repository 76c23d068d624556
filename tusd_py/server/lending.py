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

_MOST_UNSENT = 64 * 1024
"""Bytes that what a client sends may have TLS answer while its connection is lent; honest ones ask for a few."""


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
        """Hand on records that have come, by way of `space`.

        The event loop sends what they have TLS answer once the connection is back.
        """
        if self._tls.outgoing.pending > _MOST_UNSENT:
            raise ConnectionAbortedError("the client asks for more than an upload needs")
        count = os.readv(self.fd, [space])
        self._tls.incoming.write(space[:count])
        return count

    def give_back(self) -> None:
        if self._has_ended:  # as TLS says it, which an event loop answers in the same way, and with nothing else
            self._transport.close()
        else:
            turn_to(self._transport)
        super().give_back()


async def turn_away(transport: asyncio.Transport) -> None:
    """Have the event loop keep off a connection over TLS whose application reads and writes nothing.

    Where it has met an end or an error before, the transport is closing when this is left.
    """
    await asyncio.sleep(0)  # what it was about to read or to send is behind it then
    if not transport.is_closing():
        # That the application reads nothing does not keep an event loop from reading on, up to this limit.
        transport.set_read_buffer_limits(high=0)  # type: ignore[attr-defined] # transports over TLS have it
        await asyncio.sleep(0)  # what it has met at that it says a turn later


def turn_to(transport: asyncio.Transport) -> None:
    """Have the event loop read on."""
    if not transport.is_closing():
        transport.set_read_buffer_limits()  # type: ignore[attr-defined]


def lend_socket(
    transport: asyncio.Transport, buffered: bytes, remaining: int, on_return: Callable[[int], None]
) -> SocketLoan | None:
    """Lend a connection's socket, or None where that cannot be done. One over TLS must have been turned away from."""
    connection, tls = transport.get_extra_info("socket"), transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    descriptor = connection.fileno()
    try:
        if tls is None:
            return SocketLoan(descriptor, buffered, remaining, on_return)
        if isinstance(tls, TlsConnection) and tls.has_sent_all(connection):
            return TlsLoan(transport, tls, descriptor, buffered, remaining, on_return)
    except OSError:  # no descriptor left: the other way needs none
        pass
    return None
