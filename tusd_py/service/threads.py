"""Worker threads for what blocks: the file system, and the draining of sockets."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, ParamSpec, TypeVar, cast

from tusd_py.core.threads import Flush, Steps, done
from tusd_py.service.pool import Pool

P = ParamSpec("P")
T = TypeVar("T")

NOTABLE = 0.01
PATIENCE = 0.1
SHARE = 0.25
AWAY = 1.0
"""Calls on the event loop that take longer than a notable time (seconds) may add up to our patience, beside a share of
the time that passes; then nothing is near for a while. Who shares a busy processor is slow at times, a disk always."""


class Threads:
    """A bounded pool; see `InThread` for what a call guarantees, and `core.threads` for what may be `near`.

    `near_directories` are those in which it may: on file systems of this machine. In `memory_directories`, which are
    near as well, a flush does nothing, and is near work like any other.
    """

    def __init__(
        self,
        name: str,
        count: int,
        near_directories: Sequence[str | os.PathLike[str]] = (),
        memory_directories: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        self._pool = Pool(name, count)
        self._near_prefixes = _prefixes(near_directories)
        self._memory_prefixes = _prefixes(memory_directories)
        self._blocked = 0.0
        self._blocked_at = 0.0
        self._away_until = 0.0

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._pool.submit(partial(function, *args, **kwargs))

    async def near(self, path: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function at once, or in a thread while the disk has shown itself to be slow; see `Near`."""
        if not self._is_near(path):
            return await self(function, *args, **kwargs)
        began = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            if (taken := time.monotonic() - began) > NOTABLE:
                self._note_slow(taken)

    async def follow(self, path: str, steps: Steps[T]) -> T:
        """Go through an operation on the file at `path`, only what it yields in a thread where the rest is near.

        When the caller is cancelled, the operation is given up after the flush that it was at.
        """
        if not self._is_near(path):
            return await self(done, steps)
        if path.startswith(self._memory_prefixes):
            return await self.near(path, done, steps)
        try:
            step = await self.near(path, _next, steps)
            while step.flush is not None:
                try:
                    await self(step.flush)
                except Exception as error:
                    step = await self.near(path, _next, steps, error)
                else:
                    step = await self.near(path, _next, steps)
        finally:
            steps.close()
        return cast(T, step.result)

    def _is_near(self, path: str) -> bool:
        return path.startswith(self._near_prefixes) and time.monotonic() >= self._away_until

    def _note_slow(self, seconds: float) -> None:
        now = time.monotonic()
        self._blocked = max(0.0, self._blocked - SHARE * (now - self._blocked_at)) + seconds
        self._blocked_at = now
        if self._blocked > PATIENCE:
            self._blocked, self._away_until = 0.0, now + AWAY

    def close(self) -> None:
        self._pool.close()


def _prefixes(directories: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    return tuple(os.path.join(directory, "") for directory in directories)


class _Step(NamedTuple):
    flush: Flush | None
    result: object


def _next(steps: Steps[T], error: Exception | None = None) -> _Step:
    """What is to be flushed before an operation can go on, or how it ended."""
    try:
        return _Step(next(steps) if error is None else steps.throw(error), None)
    except StopIteration as end:
        return _Step(None, end.value)
