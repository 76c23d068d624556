"""Threads of an event loop, since the way into those of `concurrent.futures` costs as much as most of their work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Outcome(asyncio.Future[T]):
    """What a thread is working on. It cannot be cancelled: whoever waits for it is only when it is there."""

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 -- of asyncio's shape
        return False

    def give_up(self) -> None:
        super().cancel()


class _Job(NamedTuple):
    call: Callable[[], Any]
    outcome: _Outcome[Any]


class Pool:
    """At most `count` threads; another one is started while there is more to do than threads.

    Its methods are called on an event loop. No thread keeps the process from ending: what it is at then is as safe as
    from a kill.
    """

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._unfinished = 0
        self._threads = 0
        self._is_closed = False

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Have a function called in a thread. Who waits for it, and is cancelled, is so when the function has ended."""
        if self._is_closed:
            raise RuntimeError("the threads are closed")
        if self._threads < min(self._count, self._unfinished + 1):
            threading.Thread(target=self._work, name=f"{self._name}_{self._threads}", daemon=True).start()
            self._threads += 1
        outcome: _Outcome[T] = _Outcome(loop=asyncio.get_running_loop())
        self._unfinished += 1
        self._jobs.put(_Job(call, outcome))
        return outcome

    def close(self) -> None:
        """Let the threads end with what they are at; what none of them has begun is cancelled."""
        self._is_closed = True
        with suppress(Empty):
            while (job := self._jobs.get_nowait()) is not None:
                job.outcome.give_up()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result = error = None
            try:
                result = job.call()
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                job.outcome.get_loop().call_soon_threadsafe(self._finish, job.outcome, result, error)
            del job, result, error  # nothing is kept alive while there is nothing to do

    def _finish(self, outcome: _Outcome[Any], result: object, error: BaseException | None) -> None:
        self._unfinished -= 1
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)
