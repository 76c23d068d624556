"""One request on a connection, as the application meets it."""

from __future__ import annotations

from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tusd_py.core.body import Loan
from tusd_py.server.file_sending import send_file

FILE_SENDING = "http.response.zerocopysend"
"""ASGI's name for the message, and the extension, by which a part of an open file is sent."""


class Connection(Protocol):
    """What an exchange asks of the connection that it is on."""

    async def lend(self, cycle: RequestResponseCycle) -> Loan | None: ...

    def client_has_ended(self, cycle: RequestResponseCycle) -> bool: ...


class Exchange:
    """What one request is offered beyond ASGI, and a `receive()` that loses nothing when the client goes.

    A client may take nothing of its answer for `write_timeout` seconds.
    """

    def __init__(self, connection: Connection, cycle: RequestResponseCycle, write_timeout: float) -> None:
        self._connection = connection
        self._cycle = cycle
        self._write_timeout = write_timeout
        self._has_seen_end = False

    async def lend(self) -> Loan | None:
        return await self._connection.lend(self._cycle)

    def arrived(self) -> bytes | None:
        cycle = self._cycle
        if cycle.more_body or self._has_seen_end or self._is_over():
            return None
        whole, cycle.body = bytes(cycle.body), bytearray()
        self._has_seen_end = True
        cycle.flow.resume_reading()
        return whole

    async def receive(self) -> Any:
        """What came before the client went is handed out first; the end of the body once, and then its going."""
        cycle = self._cycle
        while not self._is_over():
            message = await cycle.receive()
            if message["type"] != "http.request":
                break
            is_end = not message["more_body"]
            if message["body"] or (is_end and not self._has_seen_end):
                self._has_seen_end = is_end
                return message
        if cycle.body:
            rest, cycle.body = bytes(cycle.body), bytearray()
            self._has_seen_end = not cycle.more_body
            return {"type": "http.request", "body": rest, "more_body": cycle.more_body}
        if not (cycle.more_body or self._has_seen_end):
            self._has_seen_end = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    def _is_over(self) -> bool:
        """Nothing more comes: the client has gone, or has its answer, or has ended its half of the connection."""
        cycle = self._cycle
        return cycle.disconnected or cycle.response_complete or self._connection.client_has_ended(cycle)

    async def send(self, message: Any) -> None:
        if message["type"] == FILE_SENDING:
            await self._send_file(message)
        else:
            await self._cycle.send(message)

    async def _send_file(self, message: Any) -> None:
        """Raises what `send_file` does; the answer cannot be completed then."""
        cycle, count = self._cycle, message["count"]
        if cycle.disconnected:  # and nothing was noted of the answer if it was not begun before
            raise ConnectionResetError("the client has gone")
        if cycle.scope["method"] != "HEAD":
            if cycle.chunked_encoding is not False or count > cycle.expected_content_length:
                raise RuntimeError("Response content longer than Content-Length")
            await self._flush()
            connection = cycle.transport.get_extra_info("socket").fileno()
            await send_file(connection, message["file"], message["offset"], count, self._write_timeout)
            cycle.expected_content_length -= count
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

    async def _flush(self) -> None:
        """Wait until the transport has handed on all that it has; the connection's own timer limits that."""
        cycle = self._cycle
        if not cycle.transport.is_closing():
            cycle.transport.set_write_buffer_limits(high=0)  # pauses the writing if there is anything
            await cycle.flow.drain()
        if cycle.disconnected or cycle.transport.is_closing():
            raise ConnectionResetError("the client has gone")
        cycle.transport.set_write_buffer_limits()
