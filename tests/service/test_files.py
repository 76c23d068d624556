"""Files and the links to them, in this process and on real directories."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.calling import in_loop, until
from tests.store import store_in
from tusd_py.core import errors
from tusd_py.core.errors import Problem, UploadError
from tusd_py.core.links import LinkSigner
from tusd_py.core.records import FileRecord, Status, new_file_id, settled
from tusd_py.service import files as module
from tusd_py.service.files import Files, LinkTimes
from tusd_py.service.threads import Threads
from tusd_py.store.records import RecordStore

CONTENT = b"hello world"
KEY = b"0123456789abcdef0123456789abcdef"


class Room:
    """The files of a server, and its stores."""

    def __init__(self, directory: Path, times: LinkTimes) -> None:
        self.directory = directory
        state = directory / ".tusd-py"
        self.store = store_in(directory)
        self.records = RecordStore(state, durable=False)
        self.threads = Threads("file", 2)
        self.files = Files(self.store, self.records, LinkSigner([KEY]), times, self.threads)

    def file(self, name: str = "abc", status: Status = Status.READY) -> FileRecord:
        """A file that is there, with a record of this status."""
        path = self.directory / name
        path.write_bytes(CONTENT)
        record = FileRecord(new_file_id(), name, str(path), "world.txt", len(CONTENT), "text/plain", "me", 5.0, 6.0)
        self.records.add(record)
        if status is Status.PROCESSING:
            return record
        if status is Status.READY:
            self.records.publish(record, {})
        self.records.settle(settled(record, status))
        return settled(record, status)


def take_away(record: FileRecord) -> None:
    Path(record.path).unlink()


@asynccontextmanager
async def room_in(directory: Path, times: LinkTimes | None = None) -> AsyncIterator[Room]:
    room = Room(directory, times or LinkTimes())
    try:
        yield room
    finally:
        room.threads.close()


async def problem_of(action: Awaitable[object]) -> Problem:
    with pytest.raises(UploadError) as caught:
        await action
    return caught.value.problem


# --- records and bytes ---


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (Status.PROCESSING, errors.FILE_NOT_READY),
        (Status.FAILED, errors.FILE_NOT_READY),
        (Status.QUARANTINED, errors.FILE_QUARANTINED),
        (Status.GONE, errors.FILE_GONE),
    ],
)
def test_a_file_that_is_not_ready_can_be_looked_at_and_not_had(
    tmp_path: Path, status: Status, problem: Problem
) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            record = room.file(status=status)
            assert await room.files.load(record.id) == record
            assert await problem_of(room.files.load_ready(record.id)) is problem

    in_loop(test)


def test_a_file_that_is_ready_can_be_had(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            record = room.file()
            assert await room.files.load_ready(record.id) == record
            assert await room.files.is_public(record.id)
            descriptor = await room.files.open_for_reading(record)
            assert os.read(descriptor, 100) == CONTENT
            os.close(descriptor)

    in_loop(test)


def test_an_unknown_file_is_not_found(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            for file_id in (new_file_id(), "abc", "../abc"):
                assert await problem_of(room.files.load(file_id)) is errors.FILE_NOT_FOUND
                assert await problem_of(room.files.load_ready(file_id)) is errors.FILE_NOT_FOUND

    in_loop(test)


@pytest.mark.parametrize("loss", ["removed", "shortened"])
def test_a_file_whose_bytes_were_taken_away_is_gone_from_now_on(tmp_path: Path, loss: str) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            record = room.file()
            if loss == "removed":
                take_away(record)
            else:
                os.truncate(record.path, 5)
            assert await room.files.load(record.id) == replace(record, status=Status.GONE)
            assert not await room.files.is_public(record.id)
            assert list((tmp_path / ".tusd-py" / "public").iterdir()) == []
            room.file()
            assert await problem_of(room.files.load_ready(record.id)) is errors.FILE_GONE

    in_loop(test)


def test_bytes_that_go_after_the_record_was_read_are_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            record = await room.files.load_ready(room.file().id)
            take_away(record)
            assert await problem_of(room.files.open_for_reading(record)) is errors.FILE_GONE
            (tmp_path / "abc").symlink_to("abc")
            assert await problem_of(room.files.open_for_reading(record)) is errors.UPLOAD_NOT_FOUND

    in_loop(test)


def test_a_removed_file_does_not_come_back_as_one_that_is_gone(tmp_path: Path) -> None:
    """Who looks at a file while it is removed finds the record first and then no bytes."""

    async def test() -> None:
        async with room_in(tmp_path) as room, room_in(tmp_path) as other:
            for number in range(100):
                record = room.file(f"file-{number}")

                def remove(record: FileRecord = record) -> None:
                    other.records.remove(record.id)
                    take_away(record)

                looks = [room.files.load(record.id) for _ in range(2)]
                await asyncio.gather(other.threads(remove), *looks, return_exceptions=True)
            assert list(room.records.settled_ids()) == []

    in_loop(test)


# --- the sweep ---


def test_the_sweep_finds_files_whose_bytes_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 3)

    async def test() -> None:
        async with room_in(tmp_path) as room:
            records = [room.file(f"file-{number}") for number in range(10)]
            gone = records[::3]
            for record in gone:
                take_away(record)
            (tmp_path / ".tusd-py" / "files" / "zz").mkdir()
            task = asyncio.create_task(room.files.run())
            await until(lambda: all(room.records.load(record.id).status is Status.GONE for record in gone))
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for record in records:
                assert room.records.load(record.id).status is (Status.GONE if record in gone else Status.READY)
                assert room.records.is_public(record.id) == (record not in gone)

    in_loop(test)


@pytest.mark.parametrize("trouble", ["garbage", "a path that no file can have", "a folder", "a stranger"])
def test_a_file_in_trouble_does_not_keep_the_sweep_from_the_others(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_INTERVAL", 0.01)

    async def test() -> None:
        async with room_in(tmp_path) as room:
            records = [room.file(f"file-{number}") for number in range(6)]
            bad, gone = records[0], records[1:]
            path = tmp_path / ".tusd-py" / "files" / bad.id[2:4] / f"{bad.id}.json"
            if trouble == "garbage":
                path.write_bytes(b"{}")
            elif trouble == "a path that no file can have":
                room.records.replace(replace(bad, path="a\0b"))
            elif trouble == "a folder":
                path.unlink()
                path.mkdir()
            else:
                path.rename(path.with_name("notes.txt"))
            for record in gone:
                take_away(record)
            task = asyncio.create_task(room.files.run())
            await until(lambda: all(room.records.load(record.id).status is Status.GONE for record in gone))
            late = room.file("late")
            take_away(late)
            await until(lambda: room.records.load(late.id).status is Status.GONE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    in_loop(test)


def test_the_sweep_survives_that_there_is_nothing_to_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_INTERVAL", 0.01)

    async def test() -> None:
        async with room_in(tmp_path) as room:
            folder = tmp_path / ".tusd-py" / "files"
            folder.rename(tmp_path / "away")
            task = asyncio.create_task(room.files.run())
            await room.threads(lambda: None)
            (tmp_path / "away").rename(folder)
            record = room.file()
            take_away(record)
            await until(lambda: room.records.load(record.id).status is Status.GONE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    in_loop(test)


# --- links ---


def test_a_link_is_good_for_its_file_and_no_other(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            file_id = new_file_id()
            link = room.files.link(file_id, None)
            subject, _, query = link.path.partition("?")
            assert subject == file_id
            assert f"expires={link.expires}&" in query
            room.files.verify(file_id, query)
            for other in (new_file_id(), file_id + "/thumbnail/256"):
                with pytest.raises(UploadError) as caught:
                    room.files.verify(other, query)
                assert caught.value.problem is errors.INVALID_LINK

    in_loop(test)


@pytest.mark.parametrize(
    ("times", "wanted", "seconds"),
    [
        (LinkTimes(), None, 3600),
        (LinkTimes(), 60.0, 60),
        (LinkTimes(), 1e9, 24 * 3600),
        (LinkTimes(default=100.0, longest=50.0), None, 50),
        (LinkTimes(default=100.0, longest=50.0), 20.0, 20),
    ],
)
def test_a_link_lives_as_long_as_is_wanted_and_at_most_the_longest_time(
    tmp_path: Path, times: LinkTimes, wanted: float | None, seconds: int
) -> None:
    async def test() -> None:
        async with room_in(tmp_path, times) as room:
            before = time.time()
            link = room.files.link("f", wanted)
            assert int(before + seconds) <= link.expires <= time.time() + seconds

    in_loop(test)


def test_a_link_ends(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            query = room.files.link("f", -1.0).path.partition("?")[2]
            with pytest.raises(UploadError) as caught:
                room.files.verify("f", query)
            assert caught.value.problem is errors.INVALID_LINK

    in_loop(test)
