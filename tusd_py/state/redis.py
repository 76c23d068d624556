"""State for many hosts that share a directory: leases in Redis beside the kernel's locks, and messages through it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress

from redis.exceptions import RedisError

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.newest import Newest
from tusd_py.core.threads import Near
from tusd_py.state import FORGOTTEN, Hold
from tusd_py.state.holds import POLL_INTERVAL, Holds
from tusd_py.state.kernel_lock import KernelLock
from tusd_py.state.leases import FREE, RENEWAL, WANTED, Lease, Leases
from tusd_py.state.redis_connection import ANSWER, RedisConnection
from tusd_py.state.stream_queue import WORK, StreamQueue

log = logging.getLogger("tusd_py")

TOMBSTONE = 24 * 3600
"""Seconds for which Redis remembers that an upload has expired."""

_SILENCE = 3.0
"""Seconds after which a subscription on which not even our own ping was answered is given up."""


class RedisState:
    """Exclusion is a lease in Redis, kept for as long as this process lives, and the kernel's lock as well.

    A holder that cannot renew its lease stops before that ends. `count` is told what happens to the state, in one word:
    "error", "down", "recovered", "memory_lost", "lease_lost". Raises ValueError for a URL or prefix that makes no
    sense.
    """

    def __init__(self, url: str, prefix: str, near: Near, count: Callable[[str], None]) -> None:
        self._count = count
        self._near = near
        self._connection = RedisConnection(url, prefix, self._note)
        self._holds = Holds()
        self._leases = Leases(self._connection, self._holds.ask)
        self._expired: Newest[str, None] = Newest()
        self._listeners: dict[str, list[Callable[[str], None]]] = {}
        self._loops: set[asyncio.Task[None]] = set()
        self._errands: set[asyncio.Task[None]] = set()
        self._is_started = self._is_listening = False
        self.queue = StreamQueue(self._connection)

    async def start(self) -> None:
        if not self._is_started:
            self._is_started = True
            self._loops = {asyncio.create_task(_for_ever(work)) for work in (self._listen, self._keep, self.queue.run)}

    async def close(self) -> None:
        """What is being given back is so, if Redis answers."""
        if self._errands:
            await asyncio.wait(self._errands, timeout=2 * ANSWER)
        while pending := {task for task in self._loops | self._errands if not task.done()}:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=0.1)  # again and again, since the client may swallow it (redis-py 8.1)
        await self._connection.close()

    def hold(
        self,
        key: str,
        path: str,
        *,
        shared: bool = False,
        slot: int | None = None,
        timeout: float,
        on_wanted: Callable[[], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> AbstractAsyncContextManager[Hold]:
        if slot is not None:
            key = f"{key}#{slot}"

        def lost() -> None:
            self._count("lease_lost")
            log.warning(LogEvent("StateLeaseLost", id=key))
            if on_lost is not None:
                on_lost()

        kernel, lease = KernelLock(path, shared=shared, slot=slot), Lease(key, shared=shared, on_lost=lost)
        lock = _Lock(kernel, lease, self._leases, self._near, self._in_background)
        return self._holds.hold(key, lock, timeout, on_wanted)

    def announce(self, event: str, subject: str) -> None:
        self._in_background(lambda: self._connection.publish(event, subject))

    def listen(self, event: str, heard: Callable[[str], None]) -> None:
        self._listeners.setdefault(event, []).append(heard)

    async def bury(self, key: str) -> None:
        self._expired[key] = None
        with suppress(UploadError):
            await self._connection.remember(f"expired:{key}", TOMBSTONE)

    async def is_buried(self, key: str) -> bool:
        if key in self._expired:
            return True
        try:
            return await self._connection.remembers(f"expired:{key}")
        except UploadError:
            return False

    async def check(self) -> None:
        await self._connection.ping()

    def trouble(self) -> str:
        if self._connection.trouble:
            return self._connection.trouble
        if self.queue.is_local:
            return "work is not shared"
        return "" if self._is_listening else "no messages"

    # --- what goes on beside the requests ---

    async def _keep(self) -> None:
        """Renew what we have; without messages it is also how we hear, soon enough, who wants it."""
        while True:
            with suppress(UploadError):
                await self._leases.renew()
                await self.queue.keep()
            await asyncio.sleep(RENEWAL if self._is_listening else POLL_INTERVAL)

    async def _listen(self) -> None:
        try:
            await self._hear()
        finally:
            self._is_listening = False

    async def _hear(self) -> None:
        """Raises when the connection is gone, or silent."""
        loop = asyncio.get_running_loop()
        async with self._connection.pubsub() as pubsub:
            await pubsub.subscribe(self._connection.channel)
            heard_at = loop.time()
            while loop.time() - heard_at < _SILENCE:
                message = await pubsub.get_message(timeout=RENEWAL)
                if message is None:
                    await pubsub.ping()
                    continue
                heard_at = loop.time()
                self._is_listening = True
                if message["type"] == "message":
                    self._on_message(message["data"])

    def _on_message(self, text: str) -> None:
        sender, _, rest = text.partition("\0")
        kind, _, subject = rest.partition("\0")
        if kind == WORK:
            self.queue.hear()
        elif kind == FREE:
            self._holds.is_free(subject)
        elif sender == self._connection.name:
            return  # what we said ourselves: to stop, once we have what we wanted, would be wrong
        elif kind == WANTED:
            self._holds.ask(subject)
        self._tell(kind, subject)

    def _tell(self, event: str, subject: str) -> None:
        for heard in self._listeners.get(event, ()):
            heard(subject)

    def _note(self, event: str) -> None:
        """What Redis forgets was in line is found on disk."""
        self._count(event)
        if event in ("down", "memory_lost"):
            self._tell(FORGOTTEN, "")
        if event == "memory_lost":
            self.announce(FORGOTTEN, "")

    def _in_background(self, errand: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """It goes on when who began it is cancelled; trouble with Redis is nothing that it could tell."""
        task = asyncio.create_task(_passing_over_trouble(errand))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task


class _Lock:
    """A lease and the kernel's lock; see `holds.Lock`."""

    def __init__(
        self,
        kernel: KernelLock,
        lease: Lease,
        leases: Leases,
        near: Near,
        in_background: Callable[[Callable[[], Awaitable[None]]], asyncio.Task[None]],
    ) -> None:
        self._kernel = kernel
        self._lease = lease
        self._leases = leases
        self._near = near
        self._in_background = in_background
        self._taking: asyncio.Task[bool] | None = None

    @property
    def descriptor(self) -> int:
        return self._kernel.descriptor

    async def take(self, *, asking: bool) -> bool:
        """The lease first, which is what hosts ask each other for."""
        self._taking = asyncio.create_task(self._leases.acquire(self._lease, asking=asking))
        if not await asyncio.shield(self._taking):
            return False
        if await self._near(self._kernel.path, self._kernel.take):
            return True
        # Somebody has the kernel's only, and has lost the lease: wait without keeping others away.
        if asking:
            await self._leases.ask_for(self._lease.key)
        await self._leases.release(self._lease)
        return False

    async def release(self) -> None:
        """The lease last, so that whoever has it finds the kernel's lock free."""
        self._kernel.release()
        taking = self._taking
        if taking is None:
            return
        returning = self._in_background(lambda: self._give_back(taking))
        if taking.done() and not taking.cancelled() and taking.exception() is None:
            await asyncio.shield(returning)  # so that who comes next, by our answer, finds it free

    async def _give_back(self, taking: asyncio.Task[bool]) -> None:
        """Also what a newcomer that was cancelled did not live to see."""
        await asyncio.wait([taking])
        await self._leases.release(self._lease)


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except (RedisError, UploadError, OSError):
            pass  # whoever asked Redis for something has said so
        except Exception:
            log.exception(LogEvent("BackgroundError"))
        await asyncio.sleep(POLL_INTERVAL)


async def _passing_over_trouble(errand: Callable[[], Awaitable[None]]) -> None:
    try:
        await errand()
    except UploadError as error:
        if error.problem is not errors.STATE_UNAVAILABLE:
            raise
