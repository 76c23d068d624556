import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tusd_py.service import threads as module
from tusd_py.service.threads import Threads


@contextmanager
def threads_near(directory: Path) -> Iterator[Threads]:
    threads = Threads("test", 1, [directory])
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
            await threads.near(str(tmp_path / "abc"), time.sleep, 2 * module.TOO_LONG)
            assert not await is_at_once(threads, tmp_path / "abc")

    asyncio.run(scenario())


def test_a_disk_that_is_quick_again_is_near_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(module, "AWAY", 0.0)
        with threads_near(tmp_path) as threads:
            await threads.near(str(tmp_path / "abc"), time.sleep, 2 * module.TOO_LONG)
            assert await is_at_once(threads, tmp_path / "abc")

    asyncio.run(scenario())


def test_what_near_work_raises_reaches_its_caller(tmp_path: Path) -> None:
    async def scenario() -> None:
        with threads_near(tmp_path) as threads:
            for path in (tmp_path / "abc", Path("/elsewhere/abc")):
                with pytest.raises(ZeroDivisionError):
                    await threads.near(str(path), divmod, 1, 0)

    asyncio.run(scenario())
