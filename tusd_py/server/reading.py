"""What uvicorn makes for each connection: a reader that takes little more than the head of a request with a large body.

What the event loop reads of a body is copied several times on its way to the file. What stays in the socket until that
is lent is not.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tusd_py.core.log_event import LogEvent
from tusd_py.server.heads import ConnectionLimits
from tusd_py.server.protocol import UploadProtocol

log = logging.getLogger("tusd_py")

_HEAD = 16 * 1024
"""Bytes that are read at once where a head may end."""

_buffer = memoryview(bytearray(256 * 1024))
"""For all connections: what is in it is handed on before anything else is read."""


class Reader(asyncio.BufferedProtocol):
    """What the event loop sees of a connection.

    An event loop reads into a protocol's own buffer only if that is no `asyncio.Protocol`, as uvicorn's are.
    """

    def __init__(self, connection: UploadProtocol) -> None:
        self._connection = connection

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- of asyncio's shape
        return _buffer[:_HEAD] if self._connection.is_in_head else _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(bytes(_buffer[:nbytes]))

    def connection_made(self, transport: Any) -> None:
        self._connection.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)
        del self._connection  # event loops keep methods of this, and it keeps their transport

    def eof_received(self) -> bool | None:
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


def connection_maker(limits: ConnectionLimits) -> Callable[..., Reader]:
    """Connections with these limits; without lending and file sending where uvicorn is not as they need it."""
    differences = differences_of_uvicorn()
    if differences:
        log.warning(LogEvent("SocketLendingDisabled", reason=", ".join(differences)))
    protocol = type("LimitedUploadProtocol", (UploadProtocol,), {"limits": limits, "can_lend": not differences})
    return lambda **keywords: Reader(protocol(**keywords))


def differences_of_uvicorn() -> list[str]:
    """The internals of uvicorn that are not as `lend` and `Exchange` expect them."""
    cycle = set(inspect.signature(RequestResponseCycle.__init__).parameters)
    checks = {
        "RequestResponseCycle": {"message_event", "expect_100_continue", "transport", "flow"} <= cycle,
        "FlowControl": {"pause_reading", "resume_reading", "drain"} <= set(dir(FlowControl)),
        "receive": "self.flow.resume_reading()" in inspect.getsource(RequestResponseCycle.receive),
        "send": "self.expected_content_length -= num_bytes" in inspect.getsource(RequestResponseCycle.send),
    }
    return [name for name, is_as_expected in checks.items() if not is_as_expected]
