import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import DEADLINE
from tusd_py.core.threads import Steps
from tusd_py.service import threads as module
from tusd_py.service.threads import Threads


@contextmanager
def threads_near(directory: Path, *, in_memory: bool = False) -> Iterator[Threads]:
    threads = Threads("test", 1, [directory], [directory] if in_memory else [])
    try:
        yield threads
    finally:
        threads.close()


async def is_at_once(threads: Threads, path: Path) -> bool:
    return await threads.near(str(path), threading.get_ident) == threading.get_ident()


def test_work_in_a_near_directory_is_done_at_once_and_any_other_in_a_thread(tmp_path: Path) -> None:
    async def scenario() -> None:
        with threads_near(tmp_path / "data") as threads:
            assert await is_at_once(threads, tmp_path / "data" / "abc")
            assert not await is_at_once(threads, tmp_path / "data-elsewhere" / "abc")
            assert not await is_at_once(Threads("other", 1), tmp_path / "data" / "abc")

    asyncio.run(scenario())


def test_after_a_slow_call_nothing_is_near_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(module, "AWAY", 3600.0)
        with threads_near(tmp_path) as threads:
            await threads.near(str(tmp_path / "abc"), time.sleep, 2 * module.PATIENCE)
            assert not await is_at_once(threads, tmp_path / "abc")

    asyncio.run(scenario())


def test_a_disk_that_is_quick_again_is_near_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(module, "AWAY", 0.0)
        with threads_near(tmp_path) as threads:
            await threads.near(str(tmp_path / "abc"), time.sleep, 2 * module.PATIENCE)
            assert await is_at_once(threads, tmp_path / "abc")

    asyncio.run(scenario())


def test_what_near_work_raises_reaches_its_caller(tmp_path: Path) -> None:
    async def scenario() -> None:
        with threads_near(tmp_path) as threads:
            for path in (tmp_path / "abc", Path("/elsewhere/abc")):
                with pytest.raises(ZeroDivisionError):
                    await threads.near(str(path), divmod, 1, 0)

    asyncio.run(scenario())


# --- callers that go ---


def test_a_caller_that_is_cancelled_goes_when_the_thread_has_ended() -> None:
    async def scenario() -> None:
        working, may_end, ended = threading.Event(), threading.Event(), []

        def work() -> None:
            working.set()
            may_end.wait(DEADLINE)
            ended.append("work")

        threads = Threads("test", 1)
        task = asyncio.create_task(threads(work))
        await asyncio.to_thread(working.wait, DEADLINE)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        await asyncio.wait([task])
        threads.close()
        assert task.cancelled()
        assert ended == ["work"]

    asyncio.run(scenario())


def test_work_whose_turn_has_not_come_when_the_pool_is_closed_is_cancelled() -> None:
    async def scenario() -> None:
        working, may_end = threading.Event(), threading.Event()

        def work() -> None:
            working.set()
            may_end.wait(DEADLINE)

        threads = Threads("test", 1)
        first, second = (asyncio.create_task(threads(each)) for each in (work, time.time))
        await asyncio.to_thread(working.wait, DEADLINE)
        threads.close()
        await asyncio.wait([second])
        assert second.cancelled()
        may_end.set()
        await first

    asyncio.run(scenario())


# --- operations that flush on their way ---


def copied(log: list[tuple[str, int]], failing: bool = False) -> Steps[str]:
    """Two steps with a flush between them; each says in which thread it was."""

    def flush() -> None:
        log.append(("flush", threading.get_ident()))
        if failing:
            raise OSError("the disk is gone")

    log.append(("first", threading.get_ident()))
    try:
        yield flush
    except OSError:
        log.append(("failed", threading.get_ident()))
        raise
    finally:
        log.append(("cleared", threading.get_ident()))
    log.append(("second", threading.get_ident()))
    return "done"


def test_only_the_flush_of_a_near_operation_is_in_a_thread(tmp_path: Path) -> None:
    async def scenario() -> None:
        log: list[tuple[str, int]] = []
        with threads_near(tmp_path) as threads:
            assert await threads.follow(str(tmp_path / "abc"), copied(log)) == "done"
        assert [name for name, _ in log] == ["first", "flush", "cleared", "second"]
        assert [thread == threading.get_ident() for _, thread in log] == [True, False, True, True]

    asyncio.run(scenario())


def test_a_flush_of_a_file_in_memory_is_done_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        log: list[tuple[str, int]] = []
        with threads_near(tmp_path, in_memory=True) as threads:
            assert await threads.follow(str(tmp_path / "abc"), copied(log)) == "done"
        assert [name for name, _ in log] == ["first", "flush", "cleared", "second"]
        assert {thread for _, thread in log} == {threading.get_ident()}

    asyncio.run(scenario())


def test_an_operation_elsewhere_is_in_one_thread_from_end_to_end() -> None:
    async def scenario() -> None:
        log: list[tuple[str, int]] = []
        threads = Threads("test", 1)
        assert await threads.follow("/elsewhere/abc", copied(log)) == "done"
        threads.close()
        assert [name for name, _ in log] == ["first", "flush", "cleared", "second"]
        assert len({thread for _, thread in log}) == 1
        assert log[0][1] != threading.get_ident()

    asyncio.run(scenario())


@pytest.mark.parametrize("is_near", [True, False])
def test_a_flush_that_fails_is_an_error_at_its_place_in_the_operation(tmp_path: Path, is_near: bool) -> None:
    async def scenario() -> None:
        log: list[tuple[str, int]] = []
        with threads_near(tmp_path / "data") as threads, pytest.raises(OSError, match="the disk is gone"):
            await threads.follow(str(tmp_path / ("data" if is_near else "other") / "abc"), copied(log, failing=True))
        assert [name for name, _ in log] == ["first", "flush", "failed", "cleared"]

    asyncio.run(scenario())


def test_an_operation_whose_caller_goes_ends_after_the_flush_that_it_was_at(tmp_path: Path) -> None:
    async def scenario() -> None:
        flushing, may_end, ended = threading.Event(), threading.Event(), []

        def flush() -> None:
            flushing.set()
            may_end.wait(DEADLINE)
            ended.append("flush")

        def steps() -> Steps[None]:
            try:
                yield flush
            finally:
                ended.append("cleared")
            ended.append("second")

        with threads_near(tmp_path) as threads:
            task = asyncio.create_task(threads.follow(str(tmp_path / "abc"), steps()))
            await asyncio.to_thread(flushing.wait, DEADLINE)
            task.cancel()
            await asyncio.sleep(0)
            may_end.set()
            await asyncio.wait([task])
            assert task.cancelled()
        assert ended == ["flush", "cleared"]

    asyncio.run(scenario())
