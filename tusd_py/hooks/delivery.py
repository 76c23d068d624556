"""Durable delivery of what has happened: kept on disk until the receiver has it, through crashes and long failures."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tusd_py.core.errors import UploadError
from tusd_py.core.hook_events import HookAnswer, HookCall, HookFailure, without_headers
from tusd_py.core.log_event import LogEvent
from tusd_py.core.threads import InThread
from tusd_py.hooks import Backend
from tusd_py.hooks.forwarding import CREDENTIALS
from tusd_py.hooks.outbox import Claim, Line, Outbox

log = logging.getLogger("tusd_py")

Invoke = Callable[[Backend, HookCall], Awaitable[HookAnswer]]
Count = Callable[[str, str], None]
"""Takes the name of a back end, and what has become of an attempt: `delivered`, `failed`, or `dead`, the last one."""

_TROUBLE_PAUSE = 5.0
"""Seconds before the disk is asked again after it had an error."""


class Delivery:
    """Delivers calls to every back end at least once, those about one upload in the order in which they were added.

    Kept below `directory`, without the headers that carry credentials and without `forget_headers`: these go with a
    call only while the process lives that made it. What fails is tried again after `first_pause` seconds, then after
    twice as long each time up to `longest_pause`; after `give_up_after` seconds, in which the time that no server ran
    does not count, the call is put aside in `dead/` and the next one has its turn. Each back end is asked
    `concurrency` times at once at most. Every `rescan_interval` seconds calls of other processes are looked for, which
    have `head_start` seconds to deliver them.

    Processes with one directory never deliver a call at the same time. Every attempt of this one is told to `count`.
    """

    def __init__(
        self,
        directory: Path,
        backends: Sequence[Backend],
        in_thread: InThread,
        *,
        forget_headers: Sequence[str] = (),
        durable: bool = True,
        concurrency: int = 16,
        first_pause: float = 1.0,
        longest_pause: float = 300.0,
        give_up_after: float = 6 * 3600.0,
        rescan_interval: float = 60.0,
        head_start: float = 5.0,
        count: Count = lambda _backend, _outcome: None,
    ) -> None:
        self._backends = {backend.name: backend for backend in backends}
        if len(self._backends) != len(backends):
            raise ValueError("back ends need different names")
        self._outbox = Outbox(directory, durable=durable, head_start=head_start)
        self._in_thread = in_thread
        self._forget = CREDENTIALS | {name.lower() for name in forget_headers}
        self._concurrency = concurrency
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._give_up_after = give_up_after
        self._rescan_interval = rescan_interval
        self._started_at = time.time()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: dict[str, asyncio.Queue[Line]] = {name: asyncio.Queue() for name in self._backends}
        self._queued: set[Line] = set()
        self._timers: dict[Line, asyncio.TimerHandle] = {}
        self._count = count

    def count_queued(self) -> int:
        """How many calls are on disk, whoever has added them. Blocks."""
        return self._outbox.count()

    # --- giving work ---

    def add(self, call: HookCall) -> None:
        """Keep a call until it is delivered. Blocks; to be called from any thread. Raises `UploadError`."""
        lines = self._outbox.add(call, without_headers(call, self._forget), list(self._backends))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._enqueue_all, lines)

    # --- doing it ---

    async def run(self, invoke: Invoke | None = None) -> None:
        """Deliver for ever; `invoke` calls a back end in place of a plain call of it."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                for name, backend in self._backends.items():
                    for _ in range(self._concurrency):
                        group.create_task(self._work(backend, self._queues[name], invoke or _call))
                while True:
                    await self._rescan()
                    await asyncio.sleep(self._rescan_interval)
        finally:
            self._loop = None
            for timer in self._timers.values():
                timer.cancel()

    async def _rescan(self) -> None:
        """Calls for back ends that are not there stay where they are until these are back."""
        try:
            self._enqueue_all(await self._in_thread(self._outbox.lines))
        except OSError as error:
            log.warning(LogEvent("HookDeliveryError", error=str(error)))

    def _enqueue_all(self, lines: Sequence[Line]) -> None:
        for line in lines:
            if line not in self._timers:
                self._enqueue(line)

    def _enqueue(self, line: Line) -> None:
        self._timers.pop(line, None)
        if line not in self._queued and line.backend in self._queues:
            self._queued.add(line)
            self._queues[line.backend].put_nowait(line)

    def _enqueue_later(self, line: Line, seconds: float) -> None:
        if line not in self._timers:
            self._timers[line] = asyncio.get_running_loop().call_later(seconds, self._enqueue, line)

    async def _work(self, backend: Backend, queue: asyncio.Queue[Line], invoke: Invoke) -> None:
        while True:
            line = await queue.get()
            self._queued.discard(line)
            try:
                await self._deliver(line, backend, invoke)
            except (OSError, UploadError) as error:
                log.warning(LogEvent("HookDeliveryError", backend=backend.name, error=str(error)))
                self._enqueue_later(line, _TROUBLE_PAUSE)

    async def _deliver(self, line: Line, backend: Backend, invoke: Invoke) -> None:
        """Deliver the calls of a line, one after the other, as far as that goes now."""
        while (found := await self._in_thread(self._outbox.claim, line)) is not None:
            if not isinstance(found, Claim):
                self._enqueue_later(line, found)
                return
            try:
                pause = await self._attempt(found, backend, invoke)
            finally:
                found.release()
            if pause is not None:
                self._enqueue_later(line, pause)
                return

    async def _attempt(self, claim: Claim, backend: Backend, invoke: Invoke) -> float | None:
        """Try once; the seconds until the next attempt, or None if that was the last."""
        failure = await self._failure(claim.call, backend, invoke)
        if failure is None:
            self._count(backend.name, "delivered")
            await self._in_thread(self._outbox.settle, claim)
            return None
        if time.time() - max(claim.created_at, self._started_at) >= self._give_up_after:
            self._count(backend.name, "dead")
            event, upload = claim.call.event.value, claim.call.upload.id
            log.error(LogEvent("HookDeadLetter", type=event, id=upload, backend=backend.name, error=failure))
            await self._in_thread(self._outbox.bury, claim, failure)
            return None
        self._count(backend.name, "failed")
        pause = min(self._first_pause * 2.0 ** min(claim.failed_attempts, 32), self._longest_pause)
        pause *= random.uniform(0.75, 1.25)  # noqa: S311 -- so that a receiver that is back is not met by all at once
        await self._in_thread(self._outbox.postpone, claim, failure, pause)
        return pause

    async def _failure(self, call: HookCall, backend: Backend, invoke: Invoke) -> str | None:
        """Why the receiver has not got the call; None if it has, whatever it said to it."""
        try:
            await invoke(backend, call)
        except HookFailure as error:
            return None if error.was_received else str(error)
        except Exception as error:
            log.exception(LogEvent("HookDeliveryError", type=call.event.value, id=call.upload.id, backend=backend.name))
            return type(error).__name__
        return None


async def _call(backend: Backend, call: HookCall) -> HookAnswer:
    return await backend.call(call)
