"""What a state promises, by the one for a single host: exclusion, taking over, and nothing left behind."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.running import DEADLINE
from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.service.threads import Threads
from tusd_py.state.files import FilesState

SOON = 10.0
"""Seconds within which a holder that lets go is replaced."""

OTHER_PROCESS = """
import asyncio, sys, time
from pathlib import Path
from tusd_py.service.threads import Threads
from tusd_py.state.files import FilesState


async def main(run, path, mode, end):
    state = FilesState(Path(run), Threads("other", 2).near)
    await state.start()
    wanted = asyncio.Event()
    print("waiting", flush=True)
    before = time.monotonic()
    slot = int(mode) if mode.isdigit() else None
    async with state.hold("abc", path, shared=mode == "shared", slot=slot, timeout=20, on_wanted=wanted.set):
        print(f"held {time.monotonic() - before}", flush=True)
        if end == "when wanted":
            await wanted.wait()
        else:
            await asyncio.to_thread(sys.stdin.readline)
    print("released", flush=True)
    await state.close()


asyncio.run(main(*sys.argv[1:]))
"""
"""Holds the upload `abc`, or a slot of it, until somebody wants it, or until it is told to end."""

COUNTING_PROCESS = """
import asyncio, os, sys
from pathlib import Path
from tusd_py.service.threads import Threads
from tusd_py.state.files import FilesState


async def main(run, path):
    state = FilesState(Path(run), Threads("counting", 2).near)
    await state.start()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(30):
        async with state.hold("abc", path, timeout=20) as hold:
            number = int(os.pread(hold.descriptor, 20, 0) or b"0")
            await asyncio.sleep(0.001)
            os.pwrite(hold.descriptor, b"%d" % (number + 1), 0)
    await state.close()


asyncio.run(main(*sys.argv[1:]))
"""


class Other:
    """A second process that shares the directory."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("end\n")
        self.process.stdin.flush()


@contextmanager
def other_process(directory: Path, *, mode: str = "alone", end: str = "when wanted") -> Iterator[Other]:
    command = [sys.executable, "-c", OTHER_PROCESS, str(directory / "run"), str(directory / "data"), mode, end]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Other(process)
        finally:
            process.kill()


@asynccontextmanager
async def state_in(directory: Path) -> AsyncIterator[FilesState]:
    """A state as a process of the server has one; `data` is the file that is held."""
    (directory / "run").mkdir(exist_ok=True)
    (directory / "data").touch()
    threads = Threads("state", 4)
    state = FilesState(directory / "run", threads.near)
    await state.start()
    try:
        yield state
    finally:
        await state.close()
        threads.close()


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(DEADLINE):
            await test()

    asyncio.run(limited())


@asynccontextmanager
async def obedient_holder(state: FilesState, path: Path) -> AsyncIterator[None]:
    """Somebody who has the upload `abc` until it is wanted."""
    held, wanted = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with state.hold("abc", str(path), timeout=0, on_wanted=wanted.set):
            held.set()
            await wanted.wait()

    holder = asyncio.create_task(hold())
    await held.wait()
    yield
    await holder


async def refusal(
    state: FilesState, path: Path, *, timeout: float = 0, shared: bool = False, slot: int | None = None
) -> UploadError:
    with pytest.raises(UploadError) as caught:
        async with state.hold("abc", str(path), timeout=timeout, shared=shared, slot=slot):
            pass
    return caught.value


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- within a process ---


def test_a_hold_gives_the_file_open_for_writing(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state, state.hold("abc", str(tmp_path / "data"), timeout=0) as hold:
            assert hold.key == "abc"
            os.pwrite(hold.descriptor, b"hello", 0)

    in_loop(test)
    assert (tmp_path / "data").read_bytes() == b"hello"


def test_an_upload_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []

    async def test() -> None:
        async with state_in(tmp_path) as state, state_in(tmp_path) as another:

            async def work(state: FilesState, number: int) -> None:
                for _ in range(5):
                    async with state.hold("abc", str(tmp_path / "data"), timeout=DEADLINE):
                        inside.append(number)
                        await asyncio.sleep(0)
                        assert inside == [number]
                        inside.remove(number)

            await asyncio.gather(*(work(state if number % 2 else another, number) for number in range(6)))

    in_loop(test)


def test_different_uploads_are_held_side_by_side(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "second").touch()
        async with (
            state_in(tmp_path) as state,
            state.hold("abc", str(tmp_path / "data"), timeout=0) as first,
            state.hold("second", str(tmp_path / "second"), timeout=0) as second,
        ):
            assert os.path.samestat(os.fstat(first.descriptor), (tmp_path / "data").stat())
            assert os.path.samestat(os.fstat(second.descriptor), (tmp_path / "second").stat())

    in_loop(test)


def test_with_no_time_to_wait_the_answer_comes_at_once_and_nobody_is_asked(tmp_path: Path) -> None:
    async def test() -> None:
        asked: list[int] = []
        async with state_in(tmp_path) as state, state_in(tmp_path) as another:
            data = tmp_path / "data"
            async with state.hold("abc", str(data), timeout=0, on_wanted=lambda: asked.append(1)):
                before = time.monotonic()
                for newcomer in (state, another):
                    assert (await refusal(newcomer, data)).problem is errors.UPLOAD_LOCKED
                assert time.monotonic() - before < SOON
                await asyncio.sleep(0)
            assert asked == []

    in_loop(test)


def test_a_holder_that_does_not_let_go_is_asked_and_then_the_newcomer_gives_up(tmp_path: Path) -> None:
    async def test() -> None:
        asked: list[int] = []
        async with state_in(tmp_path) as state:
            async with state.hold("abc", str(tmp_path / "data"), timeout=0, on_wanted=lambda: asked.append(1)):
                before = time.monotonic()
                error = await refusal(state, tmp_path / "data", timeout=0.3)
                assert 0.25 < time.monotonic() - before < 0.3 + SOON
            assert error.problem is errors.UPLOAD_LOCKED
            assert asked
            async with state.hold("abc", str(tmp_path / "data"), timeout=0):
                pass

    in_loop(test)


def test_a_holder_that_lets_go_is_replaced_soon(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state, state_in(tmp_path) as another:
            for newcomer in (state, another):
                async with obedient_holder(state, tmp_path / "data"):
                    before = time.monotonic()
                    async with newcomer.hold("abc", str(tmp_path / "data"), timeout=DEADLINE):
                        assert time.monotonic() - before < SOON

    in_loop(test)


def test_a_hold_ends_with_an_error_in_its_block(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            with pytest.raises(ValueError, match="failed"):
                async with state.hold("abc", str(tmp_path / "data"), timeout=0):
                    raise ValueError("failed")
            async with state.hold("abc", str(tmp_path / "data"), timeout=0):
                pass

    in_loop(test)


def test_shared_holds_go_together_and_keep_out_one_that_is_alone(tmp_path: Path) -> None:
    async def test() -> None:
        data = tmp_path / "data"
        first, second = asyncio.Event(), asyncio.Event()
        async with state_in(tmp_path) as state, AsyncExitStack() as holds:
            for asked in (first, second):
                hold = state.hold("abc", str(data), shared=True, timeout=0, on_wanted=asked.set)
                await holds.enter_async_context(hold)
            assert (await refusal(state, data)).problem is errors.UPLOAD_LOCKED
            assert (await refusal(state, data, timeout=0.05)).problem is errors.UPLOAD_LOCKED
            assert first.is_set()
            assert second.is_set()
            await holds.aclose()
            async with state.hold("abc", str(data), timeout=0):
                assert (await refusal(state, data, shared=True)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_an_upload_stays_held_until_the_last_shared_hold_has_ended(tmp_path: Path) -> None:
    async def test() -> None:
        data = str(tmp_path / "data")
        async with state_in(tmp_path) as state, state.hold("abc", data, shared=True, timeout=0):
            async with state.hold("abc", data, shared=True, timeout=0):
                pass
            assert (await refusal(state, tmp_path / "data")).problem is errors.UPLOAD_LOCKED

    in_loop(test)


# --- slots ---


def test_a_slot_is_held_by_one_at_a_time_and_others_beside_it(tmp_path: Path) -> None:
    async def test() -> None:
        data = tmp_path / "data"
        async with state_in(tmp_path) as state, state_in(tmp_path) as another:
            async with state.hold("abc", str(data), slot=3, timeout=0):
                for newcomer in (state, another):
                    assert (await refusal(newcomer, data, slot=3)).problem is errors.UPLOAD_LOCKED
                    for slot in (0, 2, 4, 10**9):
                        async with newcomer.hold("abc", str(data), slot=slot, timeout=0):
                            pass
            async with another.hold("abc", str(data), slot=3, timeout=0):
                assert (await refusal(state, data, slot=3)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_no_two_are_ever_in_a_slot_at_once(tmp_path: Path) -> None:
    inside: set[int] = set()

    async def test() -> None:
        async with state_in(tmp_path) as state, state_in(tmp_path) as another:

            async def work(state: FilesState, slot: int) -> None:
                for _ in range(5):
                    async with state.hold("abc", str(tmp_path / "data"), slot=slot, timeout=DEADLINE):
                        assert slot not in inside
                        inside.add(slot)
                        await asyncio.sleep(0)
                        inside.remove(slot)

            await asyncio.gather(*(work(state if number % 2 else another, number % 3) for number in range(9)))

    in_loop(test)


def test_chunks_come_side_by_side_and_who_ends_the_upload_is_alone(tmp_path: Path) -> None:
    """A chunk is a shared hold on the data and a slot in the marks; who wants all of it asks for the end of both."""

    async def test() -> None:
        data, marks = tmp_path / "data", tmp_path / "marks"
        marks.touch()
        asked = [asyncio.Event(), asyncio.Event()]
        async with state_in(tmp_path) as state, state_in(tmp_path) as another, AsyncExitStack() as chunks:
            for number, holder in enumerate((state, another)):
                whole = holder.hold("abc", str(data), shared=True, timeout=0, on_wanted=asked[number].set)
                await chunks.enter_async_context(whole)
                slot = holder.hold("abc", str(marks), slot=number, timeout=0)
                await chunks.enter_async_context(slot)
            assert (await refusal(state, data, timeout=0.05)).problem is errors.UPLOAD_LOCKED
            for event in asked:
                await event.wait()
            await chunks.aclose()
            async with state.hold("abc", str(data), timeout=0):
                assert (await refusal(another, data, shared=True)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_a_slot_says_nothing_about_the_whole(tmp_path: Path) -> None:
    async def test() -> None:
        data = tmp_path / "data"
        async with (
            state_in(tmp_path) as state,
            state.hold("abc", str(data), slot=0, timeout=0),
            state.hold("abc", str(data), timeout=0),
        ):
            assert (await refusal(state, data, slot=0)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_a_slot_is_kept_while_others_open_and_close_the_file(tmp_path: Path) -> None:
    """The older kind of lock on a part of a file is lost when the process closes any descriptor of that."""

    async def test() -> None:
        data = tmp_path / "data"
        async with (
            state_in(tmp_path) as state,
            state_in(tmp_path) as another,
            state.hold("abc", str(data), slot=0, timeout=0) as hold,
        ):
            with data.open("r+b"):
                pass
            async with state.hold("abc", str(data), slot=1, timeout=0):
                pass
            assert (await refusal(another, data, slot=0)).problem is errors.UPLOAD_LOCKED
            os.pwrite(hold.descriptor, b"hello", 0)

    in_loop(test)
    assert (tmp_path / "data").read_bytes() == b"hello"


def test_the_holder_of_a_slot_is_asked_and_replaced_soon_and_no_other_is(tmp_path: Path) -> None:
    async def test() -> None:
        data = str(tmp_path / "data")
        others: list[int] = []
        async with state_in(tmp_path) as state, state_in(tmp_path) as another:

            async def hold_until_wanted(held: asyncio.Event) -> None:
                wanted = asyncio.Event()
                async with state.hold("abc", data, slot=3, timeout=0, on_wanted=wanted.set):
                    held.set()
                    await wanted.wait()

            async with (
                state.hold("abc", data, slot=4, timeout=0, on_wanted=lambda: others.append(4)),
                state.hold("abc", data, shared=True, timeout=0, on_wanted=lambda: others.append(0)),
            ):
                for newcomer in (state, another):
                    held = asyncio.Event()
                    holder = asyncio.create_task(hold_until_wanted(held))
                    await held.wait()
                    before = time.monotonic()
                    async with newcomer.hold("abc", data, slot=3, timeout=DEADLINE):
                        assert time.monotonic() - before < SOON
                    await holder
            assert others == []

    in_loop(test)


# --- files that go away or are replaced ---


def test_an_upload_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            assert (await refusal(state, tmp_path / "missing")).problem is errors.UPLOAD_NOT_FOUND

    in_loop(test)


def test_who_waits_for_an_upload_that_is_removed_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            async with state.hold("abc", str(tmp_path / "data"), timeout=0):
                newcomer = asyncio.create_task(refusal(state, tmp_path / "data", timeout=DEADLINE))
                await asyncio.sleep(0)
                (tmp_path / "data").unlink()
            assert (await newcomer).problem is errors.UPLOAD_NOT_FOUND

    in_loop(test)


def test_a_file_that_was_replaced_is_held_in_its_new_form(tmp_path: Path) -> None:
    """Each holder puts another file in the place of the data, so a lock on what was there before is worth nothing."""

    async def test() -> None:
        async with state_in(tmp_path) as state, state_in(tmp_path) as another:
            data = tmp_path / "data"

            async def work(state: FilesState, number: int) -> None:
                for _ in range(20):
                    async with state.hold("abc", str(data), timeout=DEADLINE) as hold:
                        await asyncio.sleep(0)
                        assert os.path.samestat(os.fstat(hold.descriptor), data.stat())
                        (tmp_path / f"new-{number}").touch()
                        (tmp_path / f"new-{number}").replace(data)

            await asyncio.gather(*(work(state if number % 2 else another, number) for number in range(4)))

    in_loop(test)


def test_what_cannot_be_opened_is_trouble_of_the_store(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            (tmp_path / "folder").mkdir()
            assert (await refusal(state, tmp_path / "folder")).problem is errors.STORE_UNAVAILABLE

    in_loop(test)


# --- between two processes ---


def test_a_hold_of_another_process_keeps_us_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            with other_process(tmp_path, end="when told") as other:
                assert other.line() == "waiting"
                assert other.line().startswith("held")
                assert (await refusal(state, tmp_path / "data")).problem is errors.UPLOAD_LOCKED
                other.tell()
                assert other.line() == "released"
                async with state.hold("abc", str(tmp_path / "data"), timeout=0):
                    pass

    in_loop(test)


def test_a_holder_in_another_process_is_asked_and_replaced_soon(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            with other_process(tmp_path) as other:
                assert other.line() == "waiting"
                assert other.line().startswith("held")
                before = time.monotonic()
                async with state.hold("abc", str(tmp_path / "data"), timeout=DEADLINE):
                    assert time.monotonic() - before < SOON
                assert other.line() == "released"

    in_loop(test)


def test_another_process_asks_us_and_replaces_us_soon(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            wanted = asyncio.Event()
            with other_process(tmp_path) as other:
                async with state.hold("abc", str(tmp_path / "data"), timeout=0, on_wanted=wanted.set):
                    assert other.line() == "waiting"
                    began = time.monotonic()
                    await wanted.wait()
                    assert time.monotonic() - began < SOON
                released = time.monotonic()
                assert other.line().startswith("held")
                assert time.monotonic() - released < SOON

    in_loop(test)


def test_shared_holds_go_together_across_processes(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            with other_process(tmp_path, mode="shared", end="when told") as other:
                assert other.line() == "waiting"
                assert other.line().startswith("held")
                async with state.hold("abc", str(tmp_path / "data"), shared=True, timeout=0):
                    pass
                assert (await refusal(state, tmp_path / "data")).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_a_killed_process_loses_its_hold_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            with other_process(tmp_path, end="when told") as other:
                assert other.line() == "waiting"
                assert other.line().startswith("held")
                other.process.kill()
                other.process.wait()
                async with state.hold("abc", str(tmp_path / "data"), timeout=0):
                    pass

    in_loop(test)


def test_a_slot_of_another_process_keeps_us_out_of_it_only(tmp_path: Path) -> None:
    async def test() -> None:
        data = tmp_path / "data"
        async with state_in(tmp_path) as state:
            with other_process(tmp_path, mode="3", end="when told") as other:
                assert other.line() == "waiting"
                assert other.line().startswith("held")
                assert (await refusal(state, data, slot=3)).problem is errors.UPLOAD_LOCKED
                async with state.hold("abc", str(data), slot=2, timeout=0), state.hold("abc", str(data), timeout=0):
                    pass
                other.tell()
                assert other.line() == "released"
                async with state.hold("abc", str(data), slot=3, timeout=0):
                    pass

    in_loop(test)


def test_a_slot_is_taken_over_from_another_process_soon(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            with other_process(tmp_path, mode="3") as other:
                assert other.line() == "waiting"
                assert other.line().startswith("held")
                before = time.monotonic()
                async with state.hold("abc", str(tmp_path / "data"), slot=3, timeout=DEADLINE):
                    assert time.monotonic() - before < SOON
                assert other.line() == "released"

    in_loop(test)


def test_another_process_takes_a_slot_over_from_us_soon(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            wanted = asyncio.Event()
            with other_process(tmp_path, mode="3") as other:
                async with state.hold("abc", str(tmp_path / "data"), slot=3, timeout=0, on_wanted=wanted.set):
                    assert other.line() == "waiting"
                    began = time.monotonic()
                    await wanted.wait()
                    assert time.monotonic() - began < SOON
                released = time.monotonic()
                assert other.line().startswith("held")
                assert time.monotonic() - released < SOON

    in_loop(test)


def test_a_killed_process_loses_its_slot_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            with other_process(tmp_path, mode="3", end="when told") as other:
                assert other.line() == "waiting"
                assert other.line().startswith("held")
                other.process.kill()
                other.process.wait()
                async with state.hold("abc", str(tmp_path / "data"), slot=3, timeout=0):
                    pass

    in_loop(test)


def test_two_processes_never_hold_an_upload_at_once(tmp_path: Path) -> None:
    """Both count up in the file, in two steps: a number would be lost if they met."""
    (tmp_path / "run").mkdir()
    (tmp_path / "data").touch()
    command = [sys.executable, "-c", COUNTING_PROCESS, str(tmp_path / "run"), str(tmp_path / "data")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.communicate(b"go\n", timeout=DEADLINE)
    assert [process.returncode for process in processes] == [0, 0]
    assert (tmp_path / "data").read_bytes() == b"60"


# --- nothing is left behind ---


def test_a_cancelled_newcomer_leaves_no_descriptor_and_no_lock(tmp_path: Path) -> None:
    """Cancelled after so many turns of the loop, so that it is met in each of its waits."""

    async def test() -> None:
        async with state_in(tmp_path) as state:
            data = tmp_path / "data"
            await refusal(state, tmp_path / "missing")
            before = descriptors()
            for free in (False, True):
                for turns in range(30):
                    async with AsyncExitStack() as stack:
                        if not free:
                            await stack.enter_async_context(state.hold("abc", str(data), timeout=0))
                        newcomer = asyncio.create_task(hold_for_ever(state, data))
                        for _ in range(turns):
                            await asyncio.sleep(0)
                        newcomer.cancel()
                        with pytest.raises(asyncio.CancelledError):
                            await newcomer
                    async with state.hold("abc", str(data), timeout=0):
                        pass
            assert descriptors() == before

    async def hold_for_ever(state: FilesState, path: Path) -> None:
        async with state.hold("abc", str(path), timeout=DEADLINE):
            await asyncio.Event().wait()

    in_loop(test)


def test_a_newcomer_that_gave_up_leaves_no_descriptor(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state, state.hold("abc", str(tmp_path / "data"), timeout=0):
            await refusal(state, tmp_path / "data")
            before = descriptors()
            for timeout in (0, 0.001, 0.02):
                await refusal(state, tmp_path / "data", timeout=timeout)
            await refusal(state, tmp_path / "missing")
            assert descriptors() == before

    in_loop(test)


def test_a_closed_state_leaves_no_socket_and_no_descriptor(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            before = descriptors()
            assert len(list((tmp_path / "run").iterdir())) == 1
            async with state_in(tmp_path):
                await state.start()
                assert len(list((tmp_path / "run").iterdir())) == 2
            assert descriptors() <= before
        assert list((tmp_path / "run").iterdir()) == []

    in_loop(test)


def test_a_state_that_was_never_started_holds_and_closes_all_the_same(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "data").touch()
        threads = Threads("state", 1)
        state = FilesState(tmp_path / "run", threads.near)
        async with state.hold("abc", str(tmp_path / "data"), timeout=0):
            assert (await refusal(state, tmp_path / "data", timeout=0.01)).problem is errors.UPLOAD_LOCKED
        await state.close()
        threads.close()
        assert list((tmp_path / "run").iterdir()) == []

    in_loop(test)


def test_the_socket_of_a_killed_process_is_removed_by_the_next_who_asks(tmp_path: Path) -> None:
    async def test() -> None:
        async with state_in(tmp_path) as state:
            ours = set((tmp_path / "run").iterdir())
            with other_process(tmp_path, end="when told") as other:
                assert other.line() == "waiting"
                other.process.kill()
                other.process.wait()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
                stale.bind(str(tmp_path / "run" / "1-stale"))
            assert len(list((tmp_path / "run").iterdir())) == 3
            async with state.hold("abc", str(tmp_path / "data"), timeout=0):
                await refusal(state, tmp_path / "data", timeout=0.05)
            assert set((tmp_path / "run").iterdir()) == ours

    in_loop(test)


def test_junk_on_the_socket_is_passed_over(tmp_path: Path) -> None:
    async def test() -> None:
        calls: list[int] = []
        asked = asyncio.Event()

        def on_wanted() -> None:
            calls.append(1)
            asked.set()

        async with state_in(tmp_path) as state:
            (address,) = (tmp_path / "run").iterdir()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                async with state.hold("abc", str(tmp_path / "data"), timeout=0, on_wanted=on_wanted):
                    for junk in (b"", b"\xff", b"x", b"x\0what\0abc", b"../x\0wanted\0abc", b"x\0wanted\0other"):
                        sender.sendto(junk, str(address))
                    sender.sendto(b"x\0wanted\0abc", str(address))
                    await asked.wait()
        assert calls == [1]

    in_loop(test)


def test_a_directory_whose_path_is_too_long_for_a_socket_address_serves_too(tmp_path: Path) -> None:
    async def test() -> None:
        directory = tmp_path / ("d" * 100) / ("e" * 100)
        directory.mkdir(parents=True)
        async with state_in(directory) as state, state_in(directory) as another:
            assert len(str(directory / "run")) > 108
            async with obedient_holder(another, directory / "data"):
                before = time.monotonic()
                async with state.hold("abc", str(directory / "data"), timeout=DEADLINE):
                    assert time.monotonic() - before < SOON

    in_loop(test)
