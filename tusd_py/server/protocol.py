"""The HTTP/1.1 protocol of our server: uvicorn's httptools protocol, with the time-outs and limits that uploads need.

It adds: a limit for the header block, a time-out for it and for idle connections, bodies that an `Upgrade:` header
does not cost, request trailers, answers to clients that have closed their half of the connection, bytes that are not
forgotten when the client goes, and sockets lent for big bodies.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tusd_py.core.body import LENDING, TRAILERS, WRITE_LIMIT, Loan
from tusd_py.core.log_event import LogEvent
from tusd_py.server.exchange import FILE_SENDING, Exchange
from tusd_py.server.heads import INVALID, TOO_LARGE, ConnectionLimits, refused_head
from tusd_py.server.lending import lend_socket, turn_away, turn_to

log = logging.getLogger("tusd_py")

_LARGEST_TRAILERS = 16 * 1024
_MOST_PIPELINED = 64
"""Requests that may wait on a connection behind one that is being served."""

_LARGE_BODY = 256 * 1024
_CLOSING_LINGER = 2.0


class UploadProtocol(HttpToolsProtocol):
    """One connection. `limits` and `can_lend` are set on a subclass, since uvicorn makes the instances."""

    limits = ConnectionLimits()
    can_lend = True

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._application = self.app
        self.app = self._serve
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._silent_bytes = 0  # that came since the parser last had something to hand on
        self._trailer_bytes = 0
        self._trailers: list[tuple[bytes, bytes]] = []
        self.is_in_head = True
        self._is_resuming = False
        self._is_refused = False
        self._is_gone = False
        self._has_ended = False

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_gone = True
        self._cancel_head_timer()
        self._cancel_write_timer()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.app = self._application  # what refers to itself would stay until it is looked for
        self.pipeline.clear()

    def shutdown(self) -> None:
        """The server stops: an idle connection is closed.

        Over TLS that waits for the client to agree, which it need not do in time.
        """
        super().shutdown()
        if self.scheme == "https" and self.transport.is_closing():
            self.loop.call_later(_CLOSING_LINGER, self.transport.abort)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more.

        While it waits for an answer the connection stays open for that, as it does in Go.
        """
        self._has_ended = True
        if self.cycle is None or self.cycle.response_complete or self.scheme == "https":
            return None
        self._end_body()
        return True

    def data_received(self, data: bytes) -> None:
        while data and not self._is_refused:
            data = self._parse(data)

    def _parse(self, data: bytes) -> bytes:
        """Feed the parser; what is left over where it stopped at an offered upgrade."""
        self._silent_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # It gave up HTTP/1.1 for a protocol that we do not speak: read on as if that had not been offered.
            if self._is_refused:
                return b""
            self._resume_within_body(self._framing())
            return data[upgrade.args[0] :]
        except httptools.HttpParserError:
            self._refuse(INVALID)
        else:
            if self._silent_bytes > self.limits.header_bytes:
                self._refuse(TOO_LARGE)
        return b""

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if self.pipeline:
            self.flow.pause_reading()  # what waits is served before more is taken in
        if self.cycle.response_complete and not self.pipeline:
            self._await_head()

    def pause_writing(self) -> None:
        """The client does not take its answer: it may do so for a while (tusd: twice the network time-out)."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(2 * self.limits.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_write_timer()

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # --- the head ---

    def _await_head(self) -> None:
        """Idle, sending a head, or sending a body that nobody wants: none of them may take longer than the time-out."""
        self._cancel_head_timer()
        self._head_timer = self.loop.call_later(self.limits.timeout, self._on_head_timeout)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_timeout(self) -> None:
        """Also ends a connection that is closing and whose client does not read the rest of its answer."""
        self.transport.abort()

    def on_message_begin(self) -> None:
        if not self._is_resuming:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_resuming:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_resuming:
            return
        value = value.strip(b" \t")  # RFC 9110 5.5: blanks around a value are no part of it
        if self.is_in_head:
            super().on_header(name, value)
        elif (size := len(name) + len(value)) + self._trailer_bytes <= _LARGEST_TRAILERS:
            # Trailers are kept apart from the head, which they must not be able to change.
            self._trailer_bytes += size
            self._trailers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._is_resuming:
            return
        is_current = self.parser.get_http_version() == "1.1"
        self.expect_100_continue = self.expect_100_continue and is_current
        refusal = refused_head(self.url, self.headers, self.limits, needs_host=is_current)
        if len(self.pipeline) >= _MOST_PIPELINED:
            refusal = INVALID
        if refusal is not None:
            self._refuse(refusal)
        if self._is_refused:
            return
        self._cancel_head_timer()
        self.is_in_head = False
        self._silent_bytes = self._trailer_bytes = 0
        self._trailers = []
        extensions: Any = {TRAILERS: self._trailers, WRITE_LIMIT: {}}
        self.scope["extensions"] = extensions
        super().on_headers_complete()
        if self.can_lend and self._announced_length() >= _LARGE_BODY:
            self.flow.pause_reading()  # it stays in the socket until that is lent, or the application wants it

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_refused or (self.parser.should_upgrade() and self._framing()):
            return
        self.is_in_head = True
        if self._framing().startswith(b"Transfer-Encoding") and not self.parser.should_keep_alive():
            self.cycle.keep_alive = False  # a trailer said `Connection: close`, and the parser reads nothing after it
        super().on_message_complete()
        if self.cycle.response_complete and not self.pipeline:
            self._await_head()

    def _refuse(self, answer: bytes) -> None:
        """Read nothing more of what is no HTTP, or too much of it; close once the client has had time to read why."""
        if self._is_refused:
            return
        self._is_refused = True
        self._cancel_head_timer()
        log.info(LogEvent("RequestRefused", answer=answer[9:12].decode()))
        if self.cycle is not None and not self.cycle.response_complete:
            self._end_body()
        else:
            self.transport.write(answer)
            self.loop.call_later(_CLOSING_LINGER, self.transport.close)
            self._await_head()

    def _end_body(self) -> None:
        """Nothing more comes of the current request; its answer can still be read."""
        self._has_ended = True
        self.cycle.keep_alive = False
        self.cycle.message_event.set()

    # --- bodies that go another way ---

    def _framing(self) -> bytes:
        """The header that says where the body of the current request ends; empty without a body."""
        length = b""
        for name, value in self.headers:
            if name == b"transfer-encoding":
                return b"Transfer-Encoding: " + value
            if name == b"content-length":
                length = value
        return b"Content-Length: " + length if length.strip(b"0 ") else b""

    def _announced_length(self) -> int:
        """The length of the current request's body; 0 where it has none or a coding."""
        name, _, value = self._framing().partition(b" ")
        return int(value) if name == b"Content-Length:" else 0

    def _resume_within_body(self, framing: bytes) -> None:
        """Go on with a fresh parser that is told only how the rest of the current body is framed (empty: no rest)."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        if framing:
            self._is_resuming = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
            self._is_resuming = False

    async def lend(self, cycle: RequestResponseCycle) -> Loan | None:
        """Lend the socket for the rest of this request's body; the connection reads nothing until it is given back."""
        if self.scheme == "https":
            self.flow.pause_reading()
            self._continue(cycle)
            await turn_away(self.transport)
        loan = self._lend(cycle)
        if loan is None and self.scheme == "https":
            turn_to(self.transport)
        return loan

    def _lend(self, cycle: RequestResponseCycle) -> Loan | None:
        length = self._announced_length()
        if (
            not self.can_lend
            or cycle is not self.cycle
            or not cycle.more_body
            or not length
            or self._has_ended
            or self.transport.is_closing()
        ):
            return None
        buffered = bytes(cycle.body)
        remaining = length - len(buffered)
        if remaining <= 0:
            return None
        loan = lend_socket(self.transport, buffered, remaining, self._take_back)
        if loan is not None:
            self._continue(cycle)
            self.flow.pause_reading()
            cycle.body.clear()
        return loan

    def _continue(self, cycle: RequestResponseCycle) -> None:
        """Tell a client that waits for it to send the body."""
        if cycle.waiting_for_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False

    def _take_back(self, remaining: int) -> None:
        if self._is_gone:
            return
        if remaining:
            self._resume_within_body(b"Content-Length: %d" % remaining)
        else:
            self._resume_within_body(b"")
            self.on_message_complete()

    # --- the application's side ---

    async def _serve(self, scope: Any, receive: Any, _send: Any) -> None:
        cycle: RequestResponseCycle = receive.__self__
        exchange = Exchange(self, cycle, 2 * self.limits.timeout)
        scope["extensions"][LENDING] = exchange
        if self.can_lend and self.scheme == "http":
            scope["extensions"][FILE_SENDING] = {}
        try:
            await self._application(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            # The task ends here: the time of the shutdown is over. uvicorn would take it for an error to be logged.
            cycle.response_started = True
        if cycle.response_started and not cycle.response_complete:
            cycle.disconnected = True  # given up: what is still to be written would keep the connection for ever
            self.transport.abort()
        elif self.transport.is_closing() and not self._is_gone:
            self._await_head()
        del scope["extensions"][LENDING]

    def client_has_ended(self, cycle: RequestResponseCycle) -> bool:
        return self._has_ended and cycle is self.cycle
