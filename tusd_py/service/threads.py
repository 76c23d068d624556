"""Worker threads for what blocks: the file system, and the draining of sockets."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TOO_LONG = 0.01
AWAY = 1.0
"""Seconds that a call on the event loop may take; after a longer one nothing is near for a while."""


class Threads:
    """A bounded pool; see `InThread` for what a call guarantees, and `core.threads` for what may be `near`.

    `near_directories` are those in which it may: on file systems of this machine.
    """

    def __init__(self, name: str, count: int, near_directories: Sequence[str | os.PathLike[str]] = ()) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._near_prefixes = tuple(os.path.join(directory, "") for directory in near_directories)
        self._away_until = 0.0

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _settle(future)
            raise

    async def near(self, path: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function at once, or in a thread while the disk has shown itself to be slow; see `Near`."""
        began = time.monotonic()
        if began < self._away_until or not path.startswith(self._near_prefixes):
            return await self(function, *args, **kwargs)
        try:
            return function(*args, **kwargs)
        finally:
            ended = time.monotonic()
            if ended - began > TOO_LONG:
                self._away_until = ended + AWAY

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


async def _settle(future: asyncio.Future[T]) -> None:
    """Wait for a thread whose things its caller is about to take away, however often the caller is cancelled."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()
