"""The body of a request: read ahead in the background, bounded in memory and in time, and never lost on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from starlette.types import Message, Receive

from tusd_py.core import errors
from tusd_py.core.body import LENDING, TRAILERS, Lender, Loan
from tusd_py.core.errors import UploadError

READ_AHEAD = 2 * 1024 * 1024
"""Bytes that may wait for the disk; a server adds what it had read when it was told to stop (uvicorn: 320 KiB)."""

WORTH_LENDING = 256 * 1024
"""Bytes below which a body comes quicker through `receive()`."""

WORTH_WRITING = 64 * 1024
GATHERING = 1.0
"""Bytes for which a worker thread is woken at once; fewer are gathered for so many seconds, while more are to come."""

COMPLETION = 2.0
"""Seconds for work without a body to come to its end when its client has sent all that it will ever send."""

SMALL = 64 * 1024
"""Bytes of an unread body that a server may skip to keep the connection."""


class RequestBody:
    """See `Body`. A task is always waiting in `receive()` while there is room, since a server may throw away what it
    holds for an application that is not (uvicorn does, when the client goes).

    `length` in bytes is None for chunked coding; `read_timeout` in seconds counts from one piece to the next.
    """

    def __init__(
        self, receive: Receive, length: int | None, extensions: MutableMapping[str, Any], read_timeout: float
    ) -> None:
        self.length = length
        self.ended_early: UploadError | None = None
        self.stop_requested = False
        self.was_asked_for = length == 0
        self._receive = receive
        self._lender: Lender | None = extensions.get(LENDING)
        self._trailers: list[tuple[bytes, bytes]] | None = extensions.get(TRAILERS)
        self._read_timeout = read_timeout
        self._is_complete = length == 0
        self._missing = length or 0
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._loan: Loan | None = None
        self._remaining = 0
        self._turned_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- the two ways out ---

    async def batches(self) -> AsyncIterator[Sequence[bytes]]:
        """Everything that came since the last batch; what came before an early end comes out before it."""
        self._start_reading()
        while True:
            if not self._is_complete:
                await self._wait_for_news()
                await self._gather()
            if self._pieces:
                batch, self._pieces, self._waiting_bytes = self._pieces, [], 0
                self._room.set()
                yield batch
            elif self._is_complete or self.ended_early is not None:
                return

    async def lend(self) -> Loan | None:
        if self._lender is None or self.length is None or self.length < WORTH_LENDING or self._reader is not None:
            return None
        self._loan = await self._lender.lend()
        if self._loan is not None:
            self.was_asked_for = True
            self._missing = 0
            self._remaining, self._turned_at = self._loan.remaining, time.monotonic()
        return self._loan

    async def readable(self, loan: Loan) -> bool:
        if self._is_trickling(loan.remaining):
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHERING):
                    await self._enough.wait()
        if self.ended_early is None:
            try:
                async with asyncio.timeout(self._read_timeout):
                    await loan.readable()
            except TimeoutError:
                self.fail(UploadError(errors.READ_TIMEOUT))
        return self.ended_early is None

    def _is_trickling(self, remaining: int) -> bool:
        """Whether little came since the last turn, and the rest will take longer than a wait for more of it."""
        now = time.monotonic()
        moved, elapsed = self._remaining - remaining, now - self._turned_at
        self._remaining, self._turned_at = remaining, now
        return 0 < moved < WORTH_WRITING and remaining * elapsed > moved * 2 * GATHERING

    # --- early ends ---

    def fail(self, error: UploadError) -> None:
        is_whole = self._is_complete or (self._loan is not None and not self._loan.remaining)
        if self.ended_early is None and not is_whole:
            self.ended_early = error

    def interrupt(self, error: UploadError, grace: float) -> None:
        if self._timer is None or grace == 0:
            self._cancel_timer()
            self._timer = asyncio.get_running_loop().call_later(grace, self._stop, error)

    def _stop(self, error: UploadError) -> None:
        self.fail(error)
        self.stop_requested = True
        if self._reader is not None:
            self._reader.cancel()
        if self._loan is not None:
            self._loan.wake()
        self._news.set()
        self._enough.set()

    # --- after the end ---

    def trailer(self, name: str) -> list[str] | None:
        if self._trailers is None:
            return None
        wanted = name.encode()
        return [value.decode("latin-1") for key, value in self._trailers if key == wanted]

    @property
    def is_unread(self) -> bool:
        """Whether the client may still be sending."""
        return not self._is_complete

    @property
    def can_be_skipped(self) -> bool:
        """Whether the rest is so small that the connection is worth keeping."""
        return self.length is not None and self.length <= SMALL and self.ended_early is None

    async def discard(self, seconds: float) -> bool:
        """Read on and forget for a while, so that a client which is still sending gets to read the answer.

        Returns whether bytes came and more may come.
        """
        await self.close()
        has_read = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._is_complete:
                    message = await self._receive()
                    has_read = True
                    self._is_complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return has_read and not self._is_complete

    def watch(self) -> None:
        """Request a stop some time after the client has gone, for work that has no body to read.

        One that has only ended its half of the connection looks the same, and waits for the answer.
        """
        if self._reader is None:
            self._reader = asyncio.create_task(self._wait_for_disconnect())

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        await asyncio.sleep(COMPLETION)
        self.stop_requested = True

    async def close(self) -> None:
        """End the reading ahead. What was read and not taken is forgotten."""
        self._cancel_timer()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    # --- reading ahead ---

    def _start_reading(self) -> None:
        self.was_asked_for = True
        if self._reader is None and not self._is_complete and self.ended_early is None:
            whole = self._lender.arrived() if self._lender is not None else None
            if whole is not None:
                self._take({"type": "http.request", "body": whole})
            else:
                self._reader = asyncio.create_task(self._read_ahead())

    async def _read_ahead(self) -> None:
        try:
            while not self._is_complete and self.ended_early is None:
                self._take(await self._receive())
                self._news.set()
                if self._waiting_bytes >= WORTH_WRITING:
                    self._enough.set()
                if self._waiting_bytes >= READ_AHEAD:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._news.set()
            self._enough.set()

    def _take(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.fail(UploadError(errors.UNEXPECTED_EOF, missing=self._missing))
            return
        if piece := message.get("body", b""):
            self._pieces.append(piece)
            self._waiting_bytes += len(piece)
            self._missing = max(0, self._missing - len(piece))
        if not message.get("more_body", False):
            if self._missing:  # a server lost it: uvicorn with httptools does after an `Upgrade:` header
                self.fail(UploadError(errors.UNEXPECTED_EOF, missing=self._missing))
            self._is_complete = True

    async def _wait_for_news(self) -> None:
        if not (self._pieces or self._is_complete or self.ended_early is not None):
            try:
                async with asyncio.timeout(self._read_timeout):
                    await self._news.wait()
            except TimeoutError:
                self._stop(UploadError(errors.READ_TIMEOUT))
        self._news.clear()
        if self._reader is not None and self._reader.done() and not self._reader.cancelled():
            self._reader.result()  # raises what the server's receive() did

    async def _gather(self) -> None:
        """Let a trickle become worth the writing; its end, or a stop, ends the wait."""
        if self._waiting_bytes < WORTH_WRITING and not self._is_complete and self.ended_early is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHERING):
                    await self._enough.wait()
        if self._reader is not None and not self._reader.done():
            self._enough.clear()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
