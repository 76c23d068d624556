"""Talking to a program that has been started: a text in, its output out, and nothing of it left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO

_BLOCK = 64 * 1024

_REST_OF_OUTPUT = 0.5
"""Seconds for what is still in the pipe after the end of a program; what it left running may hold the pipe open."""

_LAST_RITES = 1.0
"""Seconds for a killed process to be gone; one that waits for a disk is reaped later."""


async def converse(process: subprocess.Popen[bytes], text: bytes, most: int) -> bytes:
    """Write `text` to the program and return what it has printed by its end, or the first `most` bytes and some more.

    The process leads a session of its own, has unbuffered pipes for input and output, and is nobody else's to wait
    for. If it has not ended by itself when this returns or is cancelled, its session is killed; it is always reaped.
    """
    if process.stdin is None or process.stdout is None:
        raise ValueError("the program needs pipes")
    loop = asyncio.get_running_loop()
    end = _End(process, loop)
    feed, output = _Feed(process.stdin, loop, text), _Output(process.stdout, loop, most)
    try:
        await asyncio.wait([output.closed, end.reached], return_when=asyncio.FIRST_COMPLETED)
        if not output.is_too_much:
            await end.reached
            await asyncio.wait([output.closed], timeout=_REST_OF_OUTPUT)
        return bytes(output.data)
    finally:
        end.hasten()
        feed.close()
        output.close()
        await asyncio.wait([end.reached], timeout=_LAST_RITES)


class _Feed:
    """Our end of a program's input: written to as fast as it reads, and closed when it has all or wants no more.

    The loop only watches the descriptor: uvloop's transport of a pipe closes it twice, and by the second time it may
    be that of another file, which a thread has just opened. So it is with `_Output`.
    """

    def __init__(self, pipe: IO[bytes], loop: asyncio.AbstractEventLoop, text: bytes) -> None:
        self._pipe = pipe
        self._loop = loop
        self._rest = memoryview(text)
        os.set_blocking(pipe.fileno(), False)
        loop.add_writer(pipe.fileno(), self._write)

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_writer(self._pipe.fileno())
            self._pipe.close()

    def _write(self) -> None:
        try:
            self._rest = self._rest[os.write(self._pipe.fileno(), self._rest) :]
        except BlockingIOError:
            return
        except OSError:  # it does not read to the end
            self._rest = self._rest[:0]
        if not self._rest:
            self.close()


class _Output:
    """Our end of a program's output; `closed` is done when that has ended, has become too much, or is not wanted."""

    def __init__(self, pipe: IO[bytes], loop: asyncio.AbstractEventLoop, most: int) -> None:
        self.data = bytearray()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._pipe = pipe
        self._loop = loop
        self._most = most
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._read)

    @property
    def is_too_much(self) -> bool:
        return len(self.data) > self._most

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
        if not self.closed.done():
            self.closed.set_result(None)

    def _read(self) -> None:
        try:
            data = os.read(self._pipe.fileno(), _BLOCK)
        except BlockingIOError:
            return
        self.data += data
        if not data or self.is_too_much:
            self.close()


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
