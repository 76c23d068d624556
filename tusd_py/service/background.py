"""What runs beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from tusd_py.core.log_event import LogEvent
from tusd_py.service.draining import Draining
from tusd_py.service.threads import Threads
from tusd_py.state import State

log = logging.getLogger("tusd_py")

RESTART_PAUSE = 5.0
DUTY_INTERVAL = 1.0
"""Seconds between two looks whether what one process does for all is for us to do."""

Task = Callable[[], Coroutine[None, None, None]]


def on_duty(is_on_duty: Callable[[], Awaitable[bool]], task: Task) -> Task:
    """Work that one process does for all; the others wait for it to end."""

    async def run() -> None:
        while not await is_on_duty():  # noqa: ASYNC110 -- another process is not heard of when it ends
            await asyncio.sleep(DUTY_INTERVAL)
        await task()

    return run


class BackgroundWork:
    """What runs beside the requests: messages between processes, sweeps, and what finished uploads need."""

    def __init__(
        self,
        state: State,
        draining: Draining,
        tasks: Sequence[Task],
        closers: Sequence[Callable[[], Awaitable[None]]],
        threads: Sequence[Threads],
    ) -> None:
        self._state = state
        self._draining = draining
        self._tasks = tasks
        self._closers = closers
        self._threads = threads
        self._running: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start once; further calls do nothing."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._running = [asyncio.create_task(_kept_running(task)) for task in self._tasks]
            await self._state.start()

    def drain(self) -> None:
        """Take no new uploads, and end the bodies that are being received with 503; their bytes are kept.

        To be called when a stop is asked for, from any thread or signal handler.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._draining.begin)

    async def close(self) -> None:
        self._draining.begin()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._loop is not None:
            await self._state.close()
            for close in self._closers:
                await close()
        for threads in self._threads:
            threads.close()


async def _kept_running(task: Task) -> None:
    """Work that ends by an error of ours is begun again; what it is for must not silently stand still."""
    while True:
        try:
            await task()
        except Exception:
            log.exception(LogEvent("BackgroundError"))
        await asyncio.sleep(RESTART_PAUSE)
