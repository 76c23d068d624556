"""Work in line in a Redis stream, for whichever process of whichever host comes to it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.state.local_queue import LocalQueue
from tusd_py.state.redis_connection import RedisConnection

log = logging.getLogger("tusd_py")

WORK = "work"
DEAD_AFTER = 3.0
"""Seconds without a sign of life after which another process does what one had in its hands."""

LOOK_AGAIN = 1.0
"""Seconds between two looks for work of which nothing was heard."""

_GONE_AFTER = 3600.0
_BATCH = 100
_GROUP = "servers"

# In line are an entry of the stream, with the item, and a field of the hash, from the item to its entry.
_PUT = """
local stream, waiting = KEYS[1], KEYS[2]
local group, channel, message = ARGV[1], ARGV[2], ARGV[3]
local added = 0
for index = 4, #ARGV do
  local item = ARGV[index]
  local entry = redis.call('HGET', waiting, item)
  if not entry or #redis.call('XRANGE', stream, entry, entry) == 0 then
    redis.call('HSET', waiting, item, redis.call('XADD', stream, '*', 'item', item))
    added = added + 1
  end
end
if added > 0 then
  redis.pcall('XGROUP', 'CREATE', stream, group, '0')  -- an error where there is one
  redis.call('PUBLISH', channel, message)
end
"""

_TAKE = """
local stream, waiting = KEYS[1], KEYS[2]
local group, me, dead_after = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', stream) == 0 then return false end
local found = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', 1, 'STREAMS', stream, '>')
local entries = found and found[1][2] or redis.call('XAUTOCLAIM', stream, group, me, dead_after, '0-0', 'COUNT', 1)[2]
local entry = entries[1]
if not entry or not entry[2] then return false end
local item = entry[2][2]
if redis.call('HGET', waiting, item) == entry[1] then redis.call('HDEL', waiting, item) end
return {entry[1], item}
"""

_DONE = """
redis.call('XACK', KEYS[1], unpack(ARGV))
redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
"""

_KEEP = """
local stream, group, me, gone_after = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('EXISTS', stream) == 0 then return end
if #ARGV > 3 then redis.call('XCLAIM', stream, group, me, 0, unpack(ARGV, 4)) end
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for index = 1, #fields, 2 do consumer[fields[index]] = fields[index + 1] end
  if consumer.pending == 0 and consumer.idle > gone_after and consumer.name ~= me then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name)
  end
end
"""


class StreamQueue:
    """See `WorkQueue`. What cannot be put in line for all is in line in this process."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._keys = [connection.key("work"), connection.key("work-waiting")]
        self._put = connection.script(_PUT)
        self._take = connection.script(_TAKE)
        self._done = connection.script(_DONE)
        self._keep = connection.script(_KEEP)
        self._local = LocalQueue()
        self._outgoing: deque[str] = deque()
        self._finished: deque[str] = deque()
        self._has_outgoing = asyncio.Event()
        self._news = asyncio.Event()
        self._in_hand: dict[str, list[str]] = {}
        self._can_take = True
        self.is_local = False

    def put(self, item: str) -> None:
        self._outgoing.append(item)
        self._has_outgoing.set()

    def refill(self, items: Iterable[str]) -> None:
        self._outgoing.extend(items)
        self._has_outgoing.set()

    async def take(self) -> str:
        while True:
            if (item := self._local.take_nowait()) is not None:
                return item
            self._news.clear()
            try:
                found = await self._take(self._keys, [_GROUP, self._connection.name, int(1000 * DEAD_AFTER)])
            except UploadError:
                found, self._can_take = None, False
            else:
                self._can_take = True
            if found:
                entry, item = str(found[0]), str(found[1])
                self._in_hand.setdefault(item, []).append(entry)
                return item
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._news.wait()

    def done(self, item: str) -> None:
        self._finished.extend(self._in_hand.pop(item, ()))
        self._has_outgoing.set()

    def hear(self) -> None:
        """There is work."""
        self._news.set()

    async def run(self) -> None:
        """Put in line, and take out of it, what this process has said, for ever."""
        while True:
            await self._has_outgoing.wait()
            self._has_outgoing.clear()
            while self._outgoing:
                await self._send(_take_some(self._outgoing))
            while self._finished:
                entries = _take_some(self._finished)
                with suppress(UploadError):  # somebody else finds that it is done
                    await self._done(self._keys, [_GROUP, *entries])

    async def keep(self) -> None:
        """Show that what this process has in its hands is worked on, and see whether a full Redis has room again."""
        if self.is_local:
            await self._connection.remember("work-probe", 1)
            self.is_local = False
        entries = [entry for entries in self._in_hand.values() for entry in entries]
        claim = [*entries, "JUSTID"] if entries else []
        await self._keep(self._keys, [_GROUP, self._connection.name, int(1000 * _GONE_AFTER), *claim])

    async def _send(self, items: list[str]) -> None:
        message = self._connection.message(WORK)
        try:
            await self._put(self._keys, [_GROUP, self._connection.channel, message, *items])
        except UploadError as error:
            if not self.is_local:
                log.warning(LogEvent("StateWorkNotShared", reason=error.evidence.get("reason")))
            self.is_local = True
        else:
            self.is_local = False
        if self.is_local or not self._can_take:  # what others do as well is done once, by the lock on its record
            for item in items:
                self._local.put(item)
        self._news.set()


def _take_some(items: deque[str]) -> list[str]:
    return [items.popleft() for _ in range(min(_BATCH, len(items)))]
