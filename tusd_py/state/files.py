"""State for one host: kernel locks on the data files, and messages between the processes that share the directory."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.threads import Near
from tusd_py.state import Hold
from tusd_py.state.messages import Messages

POLL_INTERVAL = 0.25
"""Seconds between two looks at a lock that is held; a message usually ends the wait earlier."""

_WANTED, _FREE = "wanted", "free"
_FLOCK = "hhqqi4x"
"""`struct flock`: type, whence, start, length, process."""


class FilesState:
    """Exclusion is a `flock` on the data file, so it holds between processes and ends with a killed one.

    Taking over: the newcomer tells the holder that it is wanted, at once within a process, by a message between two;
    the holder tells those who asked when it is done.
    """

    def __init__(self, directory: Path, near: Near) -> None:
        self._near = near
        self._messages = Messages(directory, self._on_message)
        self._is_started = False
        self._holders: dict[str, list[_Holder]] = {}
        self._lines: dict[str, deque[asyncio.Event]] = {}

    async def start(self) -> None:
        if not self._is_started:
            self._messages.open()
            self._is_started = True

    async def close(self) -> None:
        if self._is_started:
            self._messages.close()

    @asynccontextmanager
    async def hold(
        self,
        key: str,
        path: str,
        *,
        shared: bool = False,
        slot: int | None = None,
        timeout: float,
        on_wanted: Callable[[], None] | None = None,
    ) -> AsyncIterator[Hold]:
        lock = _Lock(path, shared, slot)
        if slot is not None:
            key = f"{key}#{slot}"
        holder = _Holder(on_wanted)
        try:
            await self._acquire(key, lock, timeout)
            self._holders.setdefault(key, []).append(holder)
            yield Hold(key, lock.descriptor)
        finally:
            lock.release()
            self._dismiss(key, holder)

    async def _acquire(self, key: str, lock: _Lock, timeout: float) -> None:
        try:
            # Nobody goes past those who wait, else who wants it alone would wait for ever where many share it.
            if key not in self._lines and await self._near(lock.path, lock.take):
                return
            if timeout <= 0:
                raise UploadError(errors.UPLOAD_LOCKED)
            async with asyncio.timeout(timeout):
                await self._wait_in_line(key, lock)
        except TimeoutError:
            raise UploadError(errors.UPLOAD_LOCKED, waited_seconds=int(timeout)) from None
        except FileNotFoundError:
            raise UploadError(errors.UPLOAD_NOT_FOUND) from None
        except OSError as error:
            raise UploadError(errors.STORE_UNAVAILABLE, system_error=error.errno) from error

    async def _wait_in_line(self, key: str, lock: _Lock) -> None:
        """Only who is first in line asks the holder and tries the lock; the others wait for their turn."""
        turn = asyncio.Event()
        line = self._lines.setdefault(key, deque())
        line.append(turn)
        try:
            while True:
                if line[0] is turn:
                    self._ask(key)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL_INTERVAL):
                            await turn.wait()
                    turn.clear()
                    if await self._near(lock.path, lock.take):
                        return
                else:
                    await turn.wait()
                    turn.clear()
        finally:
            line.remove(turn)
            if line:
                line[0].set()
            elif self._lines.get(key) is line:
                del self._lines[key]

    def _ask(self, key: str) -> None:
        for holder in self._holders.get(key, ()):
            holder.ask()
        self._messages.broadcast(f"{_WANTED}\0{key}")

    def _next_in_line(self, key: str) -> None:
        if line := self._lines.get(key):
            line[0].set()

    def _dismiss(self, key: str, holder: _Holder) -> None:
        holders = self._holders.get(key, [])
        if holder in holders:
            holders.remove(holder)
        if not holders:
            self._holders.pop(key, None)
        self._next_in_line(key)
        for name in holder.askers:
            self._messages.send(name, f"{_FREE}\0{key}")

    def _on_message(self, text: str, sender: str) -> None:
        kind, _, key = text.partition("\0")
        if kind == _WANTED:
            for holder in self._holders.get(key, ()):
                holder.askers.add(sender)
                holder.ask()
        elif kind == _FREE:
            self._next_in_line(key)


class _Holder:
    """One hold of this process, and the other processes that asked for its end."""

    def __init__(self, on_wanted: Callable[[], None] | None) -> None:
        self.askers: set[str] = set()
        self._on_wanted = on_wanted

    def ask(self) -> None:
        if self._on_wanted is not None:
            self._on_wanted()


class _Lock:
    """A kernel lock on the file that has this name, or on one byte of it (`slot`).

    What a worker thread has opened is never lost to a cancellation.
    """

    def __init__(self, path: str, shared: bool, slot: int | None) -> None:
        self.descriptor = -1
        self.path = path
        self._operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        self._slot = slot

    def take(self) -> bool:
        """Whether the lock is ours now; not while somebody else has it."""
        while True:
            self.descriptor = os.open(self.path, os.O_RDWR)
            try:
                self._lock()
                if os.path.samestat(os.fstat(self.descriptor), os.stat(self.path)):
                    return True
                self.release()
            except BlockingIOError:
                self.release()
                return False

    def _lock(self) -> None:
        if self._slot is None:
            fcntl.flock(self.descriptor, self._operation)
        else:
            # Belongs to the open file, as a flock does, and not to the process.
            region = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, self._slot, 1, 0)
            fcntl.fcntl(self.descriptor, fcntl.F_OFD_SETLK, region)

    def release(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
