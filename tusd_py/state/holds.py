"""Who in this process holds what, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.state import Hold

POLL_INTERVAL = 0.25
"""Seconds between two looks at a lock that is held; a message usually ends the wait earlier."""


class Lock(Protocol):
    """What has to be had for a hold."""

    @property
    def descriptor(self) -> int:
        """The file's, while the lock is ours."""

    async def take(self, *, asking: bool) -> bool:
        """Whether the lock is ours now; not while somebody else has it.

        With `asking`, a holder in another process is asked for it, and lets us know when it may be had.
        """

    async def release(self) -> None:
        """Give back whatever `take` has got, also where it was cancelled or has failed."""


class Holds:
    """Holders and waiting newcomers, by key. Only who is first in line asks and tries; the others wait for their turn.

    Nobody goes past those who wait, else who wants it alone would wait for ever where many share it.
    """

    def __init__(self) -> None:
        self._holders: dict[str, list[Callable[[], None] | None]] = {}
        self._lines: dict[str, deque[asyncio.Event]] = {}

    @asynccontextmanager
    async def hold(
        self, key: str, lock: Lock, timeout: float, on_wanted: Callable[[], None] | None
    ) -> AsyncIterator[Hold]:
        is_held = False
        try:
            await self._acquire(key, lock, timeout)
            self._holders.setdefault(key, []).append(on_wanted)
            is_held = True
            yield Hold(key, lock.descriptor)
        finally:
            try:
                await lock.release()
            finally:
                if is_held:
                    self._dismiss(key, on_wanted)
                self.is_free(key)

    def ask(self, key: str) -> bool:
        """Ask those in this process who hold it to stop; whether there is anybody."""
        holders = self._holders.get(key, ())
        for on_wanted in holders:
            if on_wanted is not None:
                on_wanted()
        return bool(holders)

    def is_free(self, key: str) -> None:
        """Whoever is first in line is to try again."""
        if line := self._lines.get(key):
            line[0].set()

    async def _acquire(self, key: str, lock: Lock, timeout: float) -> None:
        try:
            if key not in self._lines and await lock.take(asking=False):
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

    async def _wait_in_line(self, key: str, lock: Lock) -> None:
        turn = asyncio.Event()
        line = self._lines.setdefault(key, deque())
        line.append(turn)
        try:
            while True:
                if line[0] is turn:
                    turn.clear()
                    self.ask(key)
                    if await lock.take(asking=True):
                        return
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL_INTERVAL):
                            await turn.wait()
                else:
                    await turn.wait()
        finally:
            line.remove(turn)
            if line:
                line[0].set()
            elif self._lines.get(key) is line:
                del self._lines[key]

    def _dismiss(self, key: str, on_wanted: Callable[[], None] | None) -> None:
        holders = self._holders[key]
        holders.remove(on_wanted)
        if not holders:
            del self._holders[key]
