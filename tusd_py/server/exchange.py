"""One request on a connection, as the application meets it."""

from __future__ import annotations

from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tusd_py.core.body import Loan


class Connection(Protocol):
    """What an exchange asks of the connection that it is on."""

    def lend(self, cycle: RequestResponseCycle) -> Loan | None: ...

    def client_has_ended(self, cycle: RequestResponseCycle) -> bool: ...


class Exchange:
    """What one request is offered beyond ASGI, and a `receive()` that loses nothing when the client goes."""

    def __init__(self, connection: Connection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle
        self._has_seen_end = False

    def lend(self) -> Loan | None:
        return self._connection.lend(self._cycle)

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
