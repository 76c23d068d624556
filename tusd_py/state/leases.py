"""Leases in Redis: the right to act on an upload, for a few seconds at a time, among all hosts."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from tusd_py.state.redis_connection import LEASE, RedisConnection

RENEWAL = LEASE / 3
MARGIN = 0.5
"""Seconds before the end of a lease at which its holder stops, so that what it does just then has ended by then."""

WANTED, FREE = "wanted", "free"
_LEASE_MS = int(1000 * LEASE)
_MEMORY_LOST = "memory lost"
_BATCH = 200

# A lease is a sorted set of who has it, with the times in milliseconds at which they lose it: `alone:<token>`, or any
# number of `shared:<token>`. Times are those of the Redis server, whose clock all of them see.
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function first_lease(run, ttl)
  local from = redis.call('GET', KEYS[1])
  if from then return tonumber(from), false end
  from = now + ttl  -- its memory is gone: what was given before ends before anything is given
  redis.call('SET', KEYS[1], from)
  redis.call('SET', KEYS[2], run)
  return from, true
end
"""

_ACQUIRE = (
    _NOW
    + """
local lease, wanted = KEYS[3], KEYS[4]
local me, ttl, asking, channel, message, run = unpack(ARGV)
local from, is_lost = first_lease(run, ttl)
if now < from then return is_lost and 'memory lost' or 'early' end
redis.call('ZREMRANGEBYSCORE', lease, '-inf', now)  -- first of all, since a full Redis lets no script begin by adding
for _, other in ipairs(redis.call('ZRANGE', lease, 0, -1)) do
  if other ~= me and (other:sub(1, 5) == 'alone' or me:sub(1, 5) == 'alone') then
    if asking == '1' then
      redis.pcall('SET', wanted, 1, 'PX', 1000)
      redis.call('PUBLISH', channel, message)
    end
    return 'held'
  end
end
redis.call('ZADD', lease, now + ttl, me)
redis.call('PEXPIRE', lease, ttl)
redis.call('DEL', wanted)
return 'ours'
"""
)

_RENEW = (
    _NOW
    + """
local ttl, run = ARGV[1], ARGV[2]
local from, is_lost = first_lease(run, ttl)
local answers = { is_lost and 'memory lost' or '' }
for index = 3, #ARGV do
  local lease, wanted = KEYS[2 * index - 3], KEYS[2 * index - 2]
  -- While nothing is given, what was forgotten is still whose it was.
  if redis.call('ZSCORE', lease, ARGV[index]) or now < from then
    redis.call('ZREMRANGEBYSCORE', lease, '-inf', '-inf')  -- as above
    redis.call('ZADD', lease, now + ttl, ARGV[index])
    redis.call('PEXPIRE', lease, ttl)
    answers[index - 1] = redis.call('EXISTS', wanted) == 1 and 'wanted' or 'ours'
  else
    answers[index - 1] = 'lost'
  end
end
return answers
"""
)

_RELEASE = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 and redis.call('DEL', KEYS[2]) == 1 then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
"""


class Lease:
    """One holder's part in a lease. `deadline` is when it has to have stopped, by the clock of this process."""

    def __init__(self, key: str, *, shared: bool, on_lost: Callable[[], None] | None) -> None:
        self.key = key
        self.token = f"{'shared' if shared else 'alone'}:{secrets.token_hex(16)}"
        self.deadline = 0.0
        self._on_lost = on_lost
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_ours(self) -> bool:
        return time.monotonic() < self.deadline

    @staticmethod
    def end_after(since: float) -> float:
        """When one that was given at some time after `since` has to be over."""
        return since + LEASE - MARGIN

    def extend(self, since: float) -> None:
        """It was given, or given again, at some time after `since`."""
        self.deadline = self.end_after(since)
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(self.deadline - time.monotonic(), self.lose)

    def lose(self) -> None:
        self.end()
        if self._on_lost is not None:
            self._on_lost()

    def end(self) -> None:
        self.deadline = 0.0
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Leases:
    """The leases of a process. `ask(key)` is called when somebody wants one of them."""

    def __init__(self, connection: RedisConnection, ask: Callable[[str], object]) -> None:
        self._connection = connection
        self._ask = ask
        self._held: dict[str, Lease] = {}
        self._acquire = connection.script(_ACQUIRE)
        self._renew = connection.script(_RENEW)
        self._release = connection.script(_RELEASE)

    async def acquire(self, lease: Lease, *, asking: bool) -> bool:
        """Whether the lease is ours now, and kept so until it is released or lost.

        With `asking` its holders hear that it is wanted.
        """
        since = time.monotonic()
        connection = self._connection
        answer = await self._acquire(
            [*connection.memory, *self._keys(lease)],
            [
                lease.token,
                _LEASE_MS,
                int(asking),
                connection.channel,
                connection.message(WANTED, lease.key),
                connection.run,
            ],
        )
        if answer == _MEMORY_LOST:
            connection.note_lost_memory()
        if answer != "ours" or time.monotonic() >= lease.end_after(since):
            return False
        lease.extend(since)
        self._held[lease.token] = lease
        return True

    async def ask_for(self, key: str) -> None:
        """Let who acts on it know that it is wanted, whether they have a lease or not."""
        await self._connection.publish(WANTED, key)

    async def release(self, lease: Lease) -> None:
        """Give it back; where Redis does not hear that, it ends by itself."""
        self._held.pop(lease.token, None)
        lease.end()
        await self._release(
            self._keys(lease), [lease.token, self._connection.channel, self._connection.message(FREE, lease.key)]
        )

    async def renew(self) -> None:
        """Keep all that are held. One that somebody else has got, or whose renewal came too late, is lost.

        Asked also where there are none, this finds out whether Redis is there and remembers.
        """
        held = list(self._held.values())
        for first in range(0, len(held) or 1, _BATCH):
            await self._renew_some(held[first : first + _BATCH])

    async def _renew_some(self, leases: list[Lease]) -> None:
        since = time.monotonic()
        leases = [lease for lease in leases if lease.is_ours]
        memory, *answers = await self._renew(
            [*self._connection.memory, *(key for lease in leases for key in self._keys(lease))],
            [_LEASE_MS, self._connection.run, *(lease.token for lease in leases)],
        )
        if memory == _MEMORY_LOST:
            self._connection.note_lost_memory()
        for lease, answer in zip(leases, answers, strict=True):
            if not lease.is_ours:
                continue  # released meanwhile, or over before the answer came
            if answer == "lost":
                lease.lose()
            else:
                lease.extend(since)
                if answer == WANTED:
                    self._ask(lease.key)

    def _keys(self, lease: Lease) -> list[str]:
        return [self._connection.key(f"lease:{lease.key}"), self._connection.key(f"wanted:{lease.key}")]
