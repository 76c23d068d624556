"""A response on its way to a client that may still be sending its request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tusd_py.core.body import WRITE_LIMIT
from tusd_py.core.log_event import LogEvent
from tusd_py.web.body import RequestBody

log = logging.getLogger("tusd_py")

LINGER_TURNS = 30
LINGER_TURN = 1.0
"""A client may go on sending after an early answer for so many turns of so many seconds; one without a byte ends it."""

_BY_SERVER = {"http.response.zerocopysend", "http.response.pathsend"}
"""Messages with which the server sends bytes of a file; how long a client may take none of them is its business."""

_WRITE_TIMEOUTS = 2
"""Network time-outs after which a client that takes nothing of its answer is dropped (as tusd)."""


class Sending:
    """One response on its way, to a client that may still be sending its request.

    Closing a connection on which unread bytes arrive would destroy the answer on its way, so they are read and dropped
    for a while first. It is closed also where the client waited for a `100 Continue` that never came: it may or may not
    send the body now (RFC 9110 10.1.1).
    """

    def __init__(self, body: RequestBody, send: Send, is_draining: Callable[[], bool], network_timeout: float) -> None:
        self._body = body
        self._unlimited_send = send
        self._send: Send = self._send_in_time
        self._write_timeout = _WRITE_TIMEOUTS * network_timeout
        self._is_draining = is_draining
        self._must_close = False

    async def send(self, response: ASGIApp, scope: Scope, receive: Receive) -> None:
        expects_continue = any(name == b"expect" for name, _ in scope["headers"])
        awaits_continue = expects_continue and not self._body.was_asked_for
        if WRITE_LIMIT in (scope.get("extensions") or {}):
            self._send = self._unlimited_send
        self._must_close = self._body.is_unread and (awaits_continue or not self._body.can_be_skipped)
        try:
            await response(scope, receive, self._pass_on)
        except TimeoutError:
            log.warning(LogEvent("NetworkTimeoutError", error="the client does not read its answer"))

    async def _send_in_time(self, message: Message) -> None:
        limit = None if message["type"] in _BY_SERVER else self._write_timeout
        async with asyncio.timeout(limit):
            await self._unlimited_send(message)

    async def _pass_on(self, message: Message) -> None:
        if not self._must_close or message["type"] in _BY_SERVER:
            await self._send(message)
        elif message["type"] == "http.response.start":
            headers = [*message.get("headers", []), (b"connection", b"close")]
            await self._send({**message, "headers": headers})
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            for _ in range(LINGER_TURNS):
                if self._is_draining() or not await self._body.discard(LINGER_TURN):
                    break
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
