"""Speaking with Redis: keys, time-outs, what counts as trouble, and noticing that it has lost its memory."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio.client import PubSub
from redis.exceptions import OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as NoAnswer

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.state.redis_url import client_of, close

log = logging.getLogger("tusd_py")

T = TypeVar("T")

ANSWER = 0.8
"""Seconds in which Redis has to answer, so that a client of ours hears within one that it does not."""

LEASE = 3.0
"""Seconds that a lease lives: those of a host that died end, and those that Redis has forgotten are waited out."""

_AT_ONCE = 24
"""Connections of one process for commands."""

_PAUSE = 0.25
"""Seconds in which a Redis that did not answer twice is not asked again."""

_RUN_ID = re.compile(r"run_id:(\w+)")

GREET = """
local known = redis.call('GET', KEYS[2])
if known == ARGV[1] then return 0 end
if known or redis.call('EXISTS', KEYS[1]) == 0 then
  local time = redis.call('TIME')
  redis.call('SET', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2])
end
redis.call('SET', KEYS[2], ARGV[1])
return known and 1 or 0
"""
"""KEYS: when leases begin, the server's run; ARGV: the run, milliseconds of a lease.

A server that has been started anew may have forgotten leases, even if it remembers other things: none is given before
all that were given before are over. A flush is noticed by whoever asks for a lease, since `KEYS[1]` is gone then.
"""


class RedisConnection:
    """The one Redis, for all that a process wants of it. Everything that is said to it may be said twice.

    Keys have `prefix` as their hash tag, so all of them are on one node. `count` is told "error" and,
    where that is news, "down", "recovered" and "memory_lost".
    """

    def __init__(self, url: str, prefix: str, count: Callable[[str], None]) -> None:
        if not prefix or not prefix.isprintable() or set(prefix) & set("{}"):
            raise ValueError("redis_prefix must be a text without braces")
        self._prefix = prefix
        self._count = count
        self._client = client_of(url, timeout=ANSWER, redis_connect_func=self._greet)
        database = self._client.connection_pool.connection_kwargs.get("db", 0)
        self.channel = self.key(f"events:{database}")  # channels belong to the server, not to a database of it
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.run = ""
        self.trouble = ""
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._failures = 0
        self._silent_until = 0.0

    def key(self, name: str) -> str:
        return f"{{{self._prefix}}}:{name}"

    @property
    def memory(self) -> list[str]:
        """The keys by which Redis's memory is known: when leases begin, and the server's run."""
        return [self.key("leases-from"), self.key("run")]

    def message(self, kind: str, subject: str = "") -> str:
        """What is published for other processes to hear."""
        return f"{self.name}\0{kind}\0{subject}"

    def script(self, text: str) -> Callable[[list[str], list[Any]], Awaitable[Any]]:
        """A script that runs with keys and arguments. Raises as `ask` does."""
        script = self._client.register_script(text)
        return lambda keys, arguments: self.ask(lambda: script(keys, arguments))

    async def ping(self) -> None:
        await self.ask(self._client.ping)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Raises 503 ERR_STATE_UNAVAILABLE for a Redis that is away, full, too busy, or does not let us."""
        async with self._places:
            if time.monotonic() < self._silent_until:
                raise UploadError(errors.STATE_UNAVAILABLE, reason=self.trouble)
            failure: Exception | None = None
            try:
                async with asyncio.timeout(ANSWER):
                    answer = await question()
            except (RedisError, OSError, TimeoutError) as error:
                failure = error
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError  # which the client may swallow (redis-py 8.1)
            if failure is not None:
                self._note(failure)
                raise UploadError(errors.STATE_UNAVAILABLE, reason=type(failure).__name__) from failure
        self._failures, self._silent_until = 0, 0.0
        if self.trouble:
            self.trouble = ""
            self._count("recovered")
            log.info(LogEvent("StateRecovered"))
        return answer

    def pubsub(self) -> PubSub:
        return self._client.pubsub()

    async def publish(self, kind: str, subject: str) -> None:
        await self.ask(lambda: self._client.publish(self.channel, self.message(kind, subject)))

    async def remember(self, key: str, seconds: int) -> None:
        await self.ask(lambda: self._client.set(self.key(key), 1, ex=seconds))

    async def remembers(self, key: str) -> bool:
        return bool(await self.ask(lambda: self._client.exists(self.key(key))))

    async def close(self) -> None:
        await close(self._client)

    def note_lost_memory(self) -> None:
        self._count("memory_lost")
        log.warning(LogEvent("StateMemoryLost", seconds=LEASE))

    def _note(self, error: Exception) -> None:
        """Say it once; a Redis that is full still lets leases be had."""
        self._count("error")
        if isinstance(error, OutOfMemoryError):
            return
        self._failures += 1
        if isinstance(error, TimeoutError | NoAnswer) and self._failures > 1:
            self._silent_until = time.monotonic() + _PAUSE
        was_well, self.trouble = not self.trouble, type(error).__name__
        if was_well:
            log.warning(LogEvent("StateError", error=self.trouble, message=str(error)))
            self._count("down")

    async def _greet(self, connection: Any) -> None:
        """Before a connection is used: to which run of the server does it lead?"""
        try:
            await connection.on_connect()
            await connection.send_command("INFO", "server")
            match = _RUN_ID.search(await connection.read_response())
            run = match[1] if match else "unknown"
            await connection.send_command("EVAL", GREET, 2, *self.memory, run, int(1000 * LEASE))
            is_lost = await connection.read_response() or self.run not in ("", run)
            self.run = run
            if is_lost:
                self.note_lost_memory()
        except BaseException:
            await connection.disconnect(nowait=True)  # else it would be used without a greeting
            raise
