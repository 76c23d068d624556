"""The digest of a file that comes in chunks, in this process and on real directories."""

import asyncio
import hashlib
import os
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calling import in_loop
from tests.running import DEADLINE
from tusd_py.core import errors
from tusd_py.core.chunks import Initiation
from tusd_py.core.errors import UploadError
from tusd_py.core.sessions import Session
from tusd_py.core.threads import done
from tusd_py.service.assembly import Assembly
from tusd_py.service.threads import Threads
from tusd_py.store.directories import prepare_directories
from tusd_py.store.sessions import SessionStore

CONTENT = bytes(range(256)) * 90 + b"end"
CHUNK = 5000
COUNT = 5


class Room:
    """An assembly with the sessions that it follows, and threads to read them in."""

    def __init__(self, directory: Path, threads: int) -> None:
        prepare_directories(directory, directory / ".tusd-py", 0o775)
        self.sessions = SessionStore(directory / ".tusd-py", file_mode=0o664, each_durable=False)
        self.threads = Threads("copy", threads)
        self.assembly = Assembly(self.sessions, self.threads)

    def create(self, content: bytes = CONTENT, *, upload_id: str = "abc", chunk_size: int = CHUNK) -> Session:
        announced = Initiation("name", len(content), "text/plain", hashlib.sha256(content).hexdigest())
        return self.sessions.create(Session(upload_id, "f_" + "0" * 32, announced, chunk_size, 5.0))

    def put(self, session: Session, number: int, content: bytes = CONTENT) -> None:
        """Write a chunk and let it count, without telling the assembly."""
        data = os.open(self.sessions.data_path(session.id), os.O_RDWR)
        marks = os.open(self.sessions.marks_path(session.id), os.O_RDWR)
        try:
            receiver = self.sessions.receiver(session, number, data)
            start = session.offset_of(number)
            receiver.write(content[start : start + session.length_of(number)])
            done(self.sessions.marking(marks, number, receiver.digest(), data))
        finally:
            os.close(marks)
            os.close(data)

    def damage(self, session: Session) -> None:
        """From now on, what is read of the session's data is nothing but zeros."""
        self.sessions.data_path(session.id).write_bytes(bytes(session.announced.file_size))


@asynccontextmanager
async def room_in(directory: Path, *, threads: int = 1) -> AsyncIterator[Room]:
    room = Room(directory, threads)
    try:
        yield room
    finally:
        await background_at_rest()
        room.threads.close()


async def background_at_rest() -> None:
    """When this returns, nothing is done in the background any more."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


@given(st.permutations(range(COUNT)), st.sets(st.integers(0, COUNT - 1)))
@settings(max_examples=20, deadline=None)
def test_the_digest_is_that_of_the_file_in_whatever_order_its_chunks_come(order: list[int], rests: set[int]) -> None:
    async def test() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with room_in(Path(directory)) as room:
                session = room.create()
                for number in order:
                    room.put(session, number)
                    room.assembly.follow(session)
                    if number in rests:
                        await background_at_rest()
                assert await room.assembly.digest(session) == session.announced.checksum

    in_loop(test)


def test_the_digest_of_an_empty_file_is_that_of_no_bytes(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            assert await room.assembly.digest(room.create(b"")) == hashlib.sha256().hexdigest()

    in_loop(test)


def test_nobody_has_to_follow(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            session = room.create()
            for number in range(COUNT):
                room.put(session, number)
            assert await room.assembly.digest(session) == session.announced.checksum
            assert await room.assembly.digest(session) == session.announced.checksum

    in_loop(test)


def test_what_has_been_followed_is_not_read_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            session = room.create()
            for number in (1, 0, 2, 4, 3):
                room.put(session, number)
                room.assembly.follow(session)
                await background_at_rest()
            room.damage(session)
            assert await room.assembly.digest(session) == session.announced.checksum

    in_loop(test)


def test_chunks_that_come_while_others_are_read_are_followed_too(tmp_path: Path) -> None:
    """The thread has ended its look at the marks, and the event loop has not heard of that, when the others come."""

    async def test() -> None:
        async with room_in(tmp_path) as room:
            session = room.create()
            room.put(session, 0)
            room.assembly.follow(session)
            has_read = threading.Event()
            after = asyncio.create_task(room.threads(has_read.set))
            await asyncio.sleep(0)
            assert has_read.wait(DEADLINE)  # the loop stands still
            for number in range(1, COUNT):
                room.put(session, number)
                room.assembly.follow(session)
            await after
            await background_at_rest()
            room.damage(session)
            assert await room.assembly.digest(session) == session.announced.checksum

    in_loop(test)


def test_a_file_longer_than_one_turn_of_a_thread_is_read_to_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            size, chunk = 80 * 1024 * 1024 + 5, 12 * 1024 * 1024
            session = room.create(bytes(size), chunk_size=chunk)
            with (
                room.sessions.data_path("abc").open("r+b") as data,
                room.sessions.marks_path("abc").open("r+b") as marks,
            ):
                for number in range(session.chunk_count):
                    done(room.sessions.marking(marks.fileno(), number, b"as announced".ljust(32), data.fileno()))
            room.assembly.follow(session)
            others = [room.create(bytes([number] * 10), upload_id=str(number)) for number in range(3)]
            for number, other in enumerate(others):
                room.put(other, 0, bytes([number] * 10))
                room.assembly.follow(other)
            await background_at_rest()
            room.sessions.data_path("abc").write_bytes(b"x" * 100)
            assert await room.assembly.digest(session) == session.announced.checksum
            for other in others:
                assert await room.assembly.digest(other) == other.announced.checksum

    in_loop(test)


def test_two_who_ask_at_once_get_the_same_answer(tmp_path: Path) -> None:
    async def test() -> None:
        content = bytes(range(256)) * 40_000
        async with room_in(tmp_path, threads=4) as room:
            session = room.create(content, chunk_size=2_000_000)
            for number in range(session.chunk_count):
                room.put(session, number, content)
                room.assembly.follow(session)
            answers = await asyncio.gather(*(room.assembly.digest(session) for _ in range(4)))
            assert set(answers) == {session.announced.checksum}

    in_loop(test)


def test_after_trouble_the_file_is_read_anew(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            session = room.create()
            data = room.sessions.data_path("abc")
            room.put(session, 0)
            room.assembly.follow(session)
            await background_at_rest()
            for number in range(1, COUNT):
                room.put(session, number)
            data.rename(tmp_path / "away")
            room.assembly.follow(session)
            await background_at_rest()
            with pytest.raises(UploadError) as caught:
                await room.assembly.digest(session)
            assert caught.value.problem is errors.UPLOAD_NOT_FOUND
            (tmp_path / "away").rename(data)
            assert await room.assembly.digest(session) == session.announced.checksum

    in_loop(test)


def test_a_forgotten_session_is_read_anew(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            session = room.create()
            for number in range(COUNT):
                room.put(session, number)
            room.assembly.follow(session)
            await background_at_rest()
            room.damage(session)
            room.assembly.forget("abc")
            room.assembly.forget("abc")
            assert await room.assembly.digest(session) == hashlib.sha256(bytes(len(CONTENT))).hexdigest()

    in_loop(test)


def test_a_session_can_be_removed_while_it_is_followed(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            for turns in range(12):
                session = room.create(upload_id=str(turns))
                room.put(session, 0)
                room.assembly.follow(session)
                for _ in range(turns):
                    await asyncio.sleep(0)
                room.sessions.remove(session.id)
                room.assembly.forget(session.id)
                room.assembly.follow(session)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}

    in_loop(test)


def test_a_session_that_is_forgotten_for_others_costs_reading_it_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            sessions = [room.create(b"%d" % number, upload_id=str(number)) for number in range(300)]
            for number, session in enumerate(sessions):
                room.put(session, 0, b"%d" % number)
                room.assembly.follow(session)
            await background_at_rest()
            room.damage(sessions[-1])
            for session in (sessions[0], sessions[-1]):
                assert await room.assembly.digest(session) == session.announced.checksum

    in_loop(test)
