"""What processes share that coordinate: a directory and, for one kind of state, a Redis."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.running import DEADLINE
from tusd_py.core.errors import UploadError
from tusd_py.service.threads import Threads
from tusd_py.state import State
from tusd_py.state.configured import configured_state

SOON = 10.0
"""Seconds within which something happens that takes a message, on a machine that is busy."""

HOLDING = """
import asyncio, sys
from pathlib import Path
from tusd_py.service.threads import Threads
from tusd_py.state.configured import configured_state


async def main(url, prefix, run, path, mode, end):
    state = configured_state(url, prefix, Path(run), Threads("other", 2).near, lambda event: None)
    await state.start()
    wanted = asyncio.Event()
    print("waiting", flush=True)
    part = {"shared": True} if mode == "shared" else {"slot": int(mode)} if mode else {}
    async with state.hold("abc", path, **part, timeout=20, on_wanted=wanted.set):
        print("held", flush=True)
        if end == "when wanted":
            await wanted.wait()
        else:
            await asyncio.to_thread(sys.stdin.readline)
    print("released", flush=True)
    await state.close()


asyncio.run(main(*sys.argv[1:]))
"""
"""Holds the upload `abc`, or a slot of it, until somebody wants it, or until it is told to end."""

COUNTING = """
import asyncio, os, sys
from pathlib import Path
from tusd_py.service.threads import Threads
from tusd_py.state.configured import configured_state


async def main(url, prefix, run, path):
    state = configured_state(url, prefix, Path(run), Threads("counting", 2).near, lambda event: None)
    await state.start()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(15):
        async with state.hold("abc", path, timeout=20) as hold:
            number = int(os.pread(hold.descriptor, 20, 0) or b"0")
            await asyncio.sleep(0.001)
            os.pwrite(hold.descriptor, b"%d" % (number + 1), 0)
    await state.close()


asyncio.run(main(*sys.argv[1:]))
"""
"""Counts up in the file, in two steps, fifteen times."""

WORKING = """
import asyncio, sys
from pathlib import Path
from tusd_py.service.threads import Threads
from tusd_py.state.configured import configured_state


async def main(url, prefix, run):
    state = configured_state(url, prefix, Path(run), Threads("working", 2).near, lambda event: None)
    await state.start()
    print("ready", flush=True)
    print(await state.queue.take(), flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
"""
"""Takes one piece of work and keeps it."""


def count_nothing(_event: str) -> None: ...


class Other:
    """A second process that shares the place."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    async def line(self) -> str:
        """What it says next; the state that is tested goes on meanwhile."""
        return await asyncio.to_thread(self.read_line)

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    async def has_begun_to_hold(self) -> None:
        assert [await self.line(), await self.line()] == ["waiting", "held"]

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("end\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)


@dataclass(frozen=True)
class Place:
    """Without `redis_url` the state is in files. `data` is what is held.

    `after_death` is the time in seconds that a newcomer may have to wait for what a killed process held.
    """

    directory: Path
    redis_url: str
    prefix: str
    after_death: float

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    def prepare(self) -> None:
        self.run.mkdir(exist_ok=True)
        self.data.touch()

    def unstarted(self, threads: Threads, count: Callable[[str], None] = count_nothing) -> State:
        return configured_state(self.redis_url, self.prefix, self.run, threads.near, count)

    def unstarted_with_no_threads(self) -> State:
        """For what is refused."""
        threads = Threads("none", 1)
        try:
            return self.unstarted(threads)
        finally:
            threads.close()

    @asynccontextmanager
    async def state(self, count: Callable[[str], None] = count_nothing, *, wait: bool = True) -> AsyncIterator[State]:
        """A state as a process of the server has one; with `wait`, when nothing is in its way."""
        self.prepare()
        threads = Threads("state", 4)
        state = self.unstarted(threads, count)
        await state.start()
        try:
            while wait and state.trouble():  # noqa: ASYNC110 -- it is not told
                await asyncio.sleep(0.01)
            yield state
        finally:
            await state.close()
            threads.close()

    @contextmanager
    def other_process(
        self, *, slot: int | None = None, shared: bool = False, end: str = "when wanted"
    ) -> Iterator[Other]:
        mode = "shared" if shared else "" if slot is None else str(slot)
        with self.running(HOLDING, str(self.data), mode, end) as other:
            yield other

    @contextmanager
    def running(self, program: str, *arguments: str) -> Iterator[Other]:
        self.prepare()
        command = [sys.executable, "-c", program, self.redis_url, self.prefix, str(self.run), *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Other(process)
            finally:
                process.kill()


@asynccontextmanager
async def obedient_holder(state: State, path: Path, slot: int | None = None) -> AsyncIterator[None]:
    """Somebody who has the upload `abc`, or a slot of it, until it is wanted."""
    held, wanted = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with state.hold("abc", str(path), slot=slot, timeout=0, on_wanted=wanted.set):
            held.set()
            await wanted.wait()

    holder = asyncio.create_task(hold())
    await held.wait()
    yield
    await holder


async def refusal(
    state: State, path: Path, *, timeout: float = 0, shared: bool = False, slot: int | None = None
) -> UploadError:
    with pytest.raises(UploadError) as caught:
        async with state.hold("abc", str(path), timeout=timeout, shared=shared, slot=slot):
            pass
    return caught.value


def descriptors_of(path: Path) -> int:
    """How many descriptors of this process are of this file."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}") == str(path)
        except FileNotFoundError:
            continue
    return count
