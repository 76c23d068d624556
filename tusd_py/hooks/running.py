"""Talking to a program that has been started: a text in, its output out, and nothing of it left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO

_REST_OF_OUTPUT = 0.5
"""Seconds for what is still in the pipe after the end of a program; what it left running may hold the pipe open."""

_LAST_RITES = 1.0
"""Seconds for a killed process to be gone; one that waits for a disk is reaped later."""


async def converse(process: subprocess.Popen[bytes], text: bytes, most: int) -> bytes:
    """Write `text` to the program and return what it has printed by its end, or the first `most` bytes and some more.

    The process leads a session of its own, has unbuffered pipes for input and output, and is nobody else's to wait
    for. If it has not ended by itself when this returns or is cancelled, its session is killed; it is always reaped.
    """
    loop = asyncio.get_running_loop()
    end = _End(process, loop)
    output = _Output(most, loop.create_future())
    feed = _Pipe(loop.create_future())
    try:
        await loop.connect_read_pipe(lambda: output, process.stdout)
        writer, _ = await loop.connect_write_pipe(lambda: feed, process.stdin)
        writer.write(text)
        writer.close()  # once all is written
        await asyncio.wait([output.closed, end.reached], return_when=asyncio.FIRST_COMPLETED)
        if not output.is_too_much:
            await end.reached
            await asyncio.wait([output.closed], timeout=_REST_OF_OUTPUT)
        return bytes(output.data)
    finally:
        end.hasten()
        feed.drop(process.stdin)
        output.drop(process.stdout)
        await asyncio.wait([end.reached, feed.closed, output.closed], timeout=_LAST_RITES)


class _Pipe(asyncio.Protocol):
    """One of our ends; `closed` is done when it is closed."""

    def __init__(self, closed: asyncio.Future[None]) -> None:
        self.closed = closed
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    def drop(self, pipe: IO[bytes] | None) -> None:
        """Close our end, whatever is still in it; `pipe` itself where there is no transport."""
        transport = self._transport
        if isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size():
            transport.abort()  # only then: asyncio would report the end of a transport that is closed already twice
        elif transport is not None:
            transport.close()
        elif pipe is not None:
            pipe.close()
            self.connection_lost(None)


class _Output(_Pipe):
    """What comes out of a program, until that closes the pipe or has printed too much."""

    def __init__(self, most: int, closed: asyncio.Future[None]) -> None:
        super().__init__(closed)
        self.data = bytearray()
        self._most = most

    @property
    def is_too_much(self) -> bool:
        return len(self.data) > self._most

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.is_too_much:
            self.drop(None)


class _End:
    """The end of a process. A thread waits for it, the loop reaps: so the process's number stays its own meanwhile."""

    def __init__(self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self.reached: asyncio.Future[None] = loop.create_future()
        self._process = process
        self._loop = loop
        threading.Thread(target=self._wait, name="hook-program", daemon=True).start()

    def hasten(self) -> None:
        """Kill the process, if it runs, with all that it has started."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _wait(self) -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        try:
            self._loop.call_soon_threadsafe(self._reap)
        except RuntimeError:  # the loop is closed
            self._process.wait()

    def _reap(self) -> None:
        self._process.wait()
        if not self.reached.done():
            self.reached.set_result(None)
