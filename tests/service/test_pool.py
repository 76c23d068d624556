import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.running import DEADLINE
from tusd_py.service.pool import Pool


@contextmanager
def pool_of(count: int) -> Iterator[Pool]:
    pool = Pool("test", count)
    try:
        yield pool
    finally:
        pool.close()


def test_as_many_calls_as_threads_run_at_once() -> None:
    async def scenario() -> None:
        together = threading.Barrier(3)
        with pool_of(3) as pool:
            await asyncio.gather(*(pool.submit(lambda: together.wait(DEADLINE)) for _ in range(9)))

    asyncio.run(scenario())


def test_there_are_no_more_threads_than_allowed_and_no_more_than_needed() -> None:
    async def scenario() -> None:
        with pool_of(2) as pool:
            assert len({await pool.submit(threading.get_ident) for _ in range(5)}) == 1
            assert len(set(await asyncio.gather(*(pool.submit(threading.get_ident) for _ in range(50))))) <= 2

    asyncio.run(scenario())


def test_what_a_call_returns_or_raises_reaches_its_caller() -> None:
    async def scenario() -> None:
        with pool_of(1) as pool:
            assert await pool.submit(lambda: 7) == 7
            with pytest.raises(ZeroDivisionError):
                await pool.submit(lambda: 1 // 0)
            assert await pool.submit(lambda: 8) == 8

    asyncio.run(scenario())


def test_a_closed_pool_takes_nothing_and_its_threads_end() -> None:
    async def scenario() -> None:
        with pool_of(1) as pool:
            thread = await pool.submit(threading.current_thread)
        with pytest.raises(RuntimeError):
            pool.submit(threading.get_ident)
        await asyncio.to_thread(thread.join, DEADLINE)
        assert not thread.is_alive()

    asyncio.run(scenario())


def test_a_pool_goes_on_after_the_end_of_the_loop_that_waited_for_it() -> None:
    working, may_end = threading.Event(), threading.Event()
    pool = Pool("test", 1)

    def work() -> None:
        working.set()
        may_end.wait(DEADLINE)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(_submitted(pool, work))
    assert working.wait(DEADLINE)
    loop.close()
    may_end.set()
    assert asyncio.run(_awaited(pool)) == 7
    pool.close()


def test_a_process_ends_with_threads_that_are_not_closed() -> None:
    script = """
import asyncio, time
from tusd_py.service.pool import Pool
async def main():
    pool = Pool("test", 2)
    await pool.submit(time.time)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=DEADLINE)


async def _submitted(pool: Pool, work: Callable[[], None]) -> None:
    pool.submit(work)


async def _awaited(pool: Pool) -> int:
    return await pool.submit(lambda: 7)
