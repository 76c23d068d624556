"""What happens to a file after its last byte, in this process and on real directories."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from tests.calling import in_loop, until
from tests.store import store_in
from tusd_py.core.records import FileRecord, Status, new_file_id, settled
from tusd_py.core.threads import InThread, done
from tusd_py.core.uploads import Upload
from tusd_py.service import finishing as module
from tusd_py.service.finishing import Finishing
from tusd_py.service.metrics import Metrics
from tusd_py.service.settling import Settling, edge_headers
from tusd_py.service.threads import Threads
from tusd_py.state.files import FilesState
from tusd_py.store.directories import prepare_directories
from tusd_py.store.quarantine import Quarantine
from tusd_py.store.records import RecordStore

P = ParamSpec("P")
T = TypeVar("T")

CONTENT = b"hello world"

DIE_AT_WORK = """
import os, sys
from pathlib import Path
from tusd_py.core.records import FileRecord
from tusd_py.store.records import RecordStore

directory, file_id, stage = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
records = RecordStore(directory / ".tusd-py", durable=False)
path = directory / "abc"
path.write_bytes(b"hello world")
records.add(FileRecord(file_id, "abc", str(path), "world.txt", 11, "text/plain", "me", 5.0, 6.0))
if stage != "added":
    claim = records.claim(file_id)
if stage == "published":
    records.publish(claim.record, {"type": "text/plain", "disposition": "attachment"})
print("at work", flush=True)
sys.stdin.readline()
"""
"""A server that is killed with a file in its hands."""


class Room:
    """The stores of a server, and threads for them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        state = directory / ".tusd-py"
        self.store = store_in(directory)
        self.records = RecordStore(state, durable=False)
        self.threads = Threads("file", 4)

    def finishing(
        self, *, keeps_records: bool = True, concurrency: int = 2, in_thread: InThread | None = None
    ) -> Finishing:
        in_thread = in_thread or self.threads
        metrics = Metrics()
        quarantine = Quarantine(self.directory / ".tusd-py/quarantine", keep=True, durable=False, file_mode=0o664)
        settling = Settling(self.store, self.records, quarantine, metrics, in_thread)
        return Finishing(
            self.store,
            self.records,
            quarantine,
            settling,
            FilesState(self.directory / ".tusd-py/run", self.threads.near),
            in_thread,
            keeps_records=keeps_records,
            concurrency=concurrency,
        )

    def complete_upload(self, upload_id: str = "abc", content: bytes = CONTENT) -> Upload:
        done(self.store.creating(Upload(upload_id, len(content), {"filename": "world.txt", "filetype": "text/plain"})))
        (self.directory / upload_id).write_bytes(content)
        return self.store.load(upload_id)

    def pending_record(self, name: str = "abc", file_id: str | None = None) -> FileRecord:
        """The record of a file that is there, on the list of work."""
        path = self.directory / name
        path.write_bytes(CONTENT)
        file_id = file_id or new_file_id()
        record = FileRecord(file_id, name, str(path), "world.txt", len(CONTENT), "text/plain", "me", 5.0, 6.0)
        self.records.add(record)
        return record

    def status_of(self, record: FileRecord) -> Status:
        return self.records.load(record.id).status


@contextmanager
def server_at_work(directory: Path, file_id: str, stage: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another server, which has come to this stage of its work."""
    prepare_directories(directory, directory / ".tusd-py", 0o775)
    command = [sys.executable, "-c", DIE_AT_WORK, str(directory), file_id, stage]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"at work\n"
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def room_in(directory: Path) -> AsyncIterator[Room]:
    room = Room(directory)
    try:
        yield room
    finally:
        room.threads.close()


@asynccontextmanager
async def at_work(finishing: Finishing) -> AsyncIterator[None]:
    """While the block runs, so does the worker; an error in it is one of the test."""
    task = asyncio.create_task(finishing.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# --- giving work ---


def test_a_finished_upload_gets_a_record_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            finishing = room.finishing()
            upload = room.complete_upload()
            assert not await finishing.has_record(upload)
            finished = await finishing.finish(upload)
            assert finished.file_id is not None
            assert room.store.load("abc").file_id == finished.file_id
            assert await finishing.has_record(finished)
            record = room.records.load(finished.file_id)
            assert (record.upload_id, record.path, record.size) == ("abc", str(tmp_path / "abc"), len(CONTENT))
            assert (record.file_name, record.status) == ("world.txt", Status.PROCESSING)
            for again in (finished, room.store.load("abc")):
                assert (await finishing.finish(again)).file_id == finished.file_id
            assert room.records.pending_ids() == [finished.file_id]

    in_loop(test)


def test_an_upload_whose_file_was_named_before_a_crash_gets_the_record_under_that_name(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            file_id = new_file_id()
            named = room.store.name_file(room.complete_upload(), file_id)
            assert (await room.finishing().finish(named)).file_id == file_id
            assert room.records.load(file_id).upload_id == "abc"

    in_loop(test)


def test_a_settled_file_is_not_worked_on_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            finishing = room.finishing()
            finished = await finishing.finish(room.complete_upload())
            async with at_work(finishing):
                await until(lambda: not room.records.pending_ids())
            assert finished.file_id is not None
            ready = room.records.load(finished.file_id)
            assert ready.status is Status.READY
            await finishing.finish(finished)
            assert room.records.pending_ids() == []
            assert room.records.load(finished.file_id) == ready

    in_loop(test)


def test_a_forgotten_file_has_no_record(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            finishing = room.finishing()
            finished = await finishing.finish(room.complete_upload())
            assert finished.file_id is not None
            await finishing.forget(finished.file_id)
            assert not await finishing.has_record(finished)
            async with at_work(finishing):
                marker = room.pending_record("marker")
                await finishing.add(marker)
                await until(lambda: room.status_of(marker) is Status.READY)
            assert not await finishing.has_record(finished)

    in_loop(test)


# --- doing it ---


def test_work_that_is_given_is_done_and_the_file_is_public(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            finishing = room.finishing()
            async with at_work(finishing):
                record = replace(room.pending_record(), file_name="ü.txt")
                await finishing.add(record)
                await until(lambda: room.status_of(record) is Status.READY)
            public = tmp_path / ".tusd-py" / "public" / record.id
            assert public.samefile(record.path)
            assert room.records.pending_ids() == []

    in_loop(test)


@pytest.mark.parametrize("stage", ["added", "claimed", "published"])
def test_the_work_of_a_killed_server_is_found(tmp_path: Path, stage: str) -> None:
    file_id = new_file_id()
    with server_at_work(tmp_path, file_id, stage) as process:
        process.kill()

    async def test() -> None:
        async with room_in(tmp_path) as room, at_work(room.finishing()):
            await until(lambda: room.records.load(file_id).is_settled)
            record = room.records.load(file_id)
            assert record.status is Status.READY
            assert room.records.is_public(file_id)
            assert room.records.pending_ids() == []

    in_loop(test)


def test_what_another_server_has_in_its_hands_is_left_to_it_and_taken_up_when_it_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESCAN_INTERVAL", 0.01)

    async def test() -> None:
        file_id = new_file_id()
        async with room_in(tmp_path) as room:
            with server_at_work(tmp_path, file_id, "claimed") as process:
                async with at_work(room.finishing()):
                    marker = room.pending_record("marker")
                    await until(lambda: room.status_of(marker) is Status.READY)
                    assert room.records.pending_ids() == [file_id]
                    process.kill()
                    await until(lambda: room.records.load(file_id).status is Status.READY)

    in_loop(test)


def test_what_another_server_took_up_between_two_tries_is_found_when_that_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RESCAN_INTERVAL", 0.01)
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)

    async def test() -> None:
        async with room_in(tmp_path) as room:
            record = room.pending_record()
            path = tmp_path / ".tusd-py" / "pending" / f"{record.id}.json"
            text = path.read_bytes()
            path.write_bytes(b"{}")
            async with at_work(room.finishing()):
                await until(lambda: bool(caplog.records))
                path.write_bytes(text)
                claim = None
                while claim is None and not room.records.load(record.id).is_settled:
                    claim = room.records.claim(record.id)
                marker = room.pending_record("marker")
                await until(lambda: room.status_of(marker) is Status.READY)
                tries = len(caplog.records)
                await asyncio.gather(*(room.threads(lambda: None) for _ in range(50)))
                if claim is not None:
                    claim.release()
                await until(lambda: room.status_of(record) is Status.READY)
                assert len(caplog.records) == tries

    caplog.set_level(logging.WARNING, "tusd_py")
    in_loop(test)


@pytest.mark.parametrize("loss", ["removed", "shortened", "grown"])
def test_bytes_that_were_taken_away_end_the_work_as_gone(tmp_path: Path, loss: str) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            record = room.pending_record()
            room.records.publish(record, edge_headers(record))  # before a crash
            if loss == "removed":
                os.unlink(record.path)
            else:
                os.truncate(record.path, 5 if loss == "shortened" else 50)
            async with at_work(room.finishing()):
                await until(lambda: room.records.load(record.id).is_settled)
            assert room.records.load(record.id) == settled(record, Status.GONE)
            assert list((tmp_path / ".tusd-py" / "public").iterdir()) == []

    in_loop(test)


@pytest.mark.parametrize("trouble", ["garbage", "a path that no file can have", "a folder"])
def test_an_error_in_one_file_does_not_stop_the_others(
    tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            bad = room.pending_record("bad", "f_" + "0" * 32)
            path = tmp_path / ".tusd-py" / "pending" / f"{bad.id}.json"
            if trouble == "garbage":
                path.write_bytes(b"{}")
            elif trouble == "a folder":
                path.unlink()
                path.mkdir()
            else:
                path.unlink()
                room.records.add(replace(bad, path="a\0b"))
            good = [room.pending_record(f"good-{number}") for number in range(5)]
            async with at_work(room.finishing(concurrency=1)):
                await until(lambda: all(room.status_of(record) is Status.READY for record in good))
                later = room.pending_record("later")
                await until(lambda: bool(caplog.records))
            assert room.records.pending_ids() in ([bad.id, later.id], [later.id, bad.id])
            claim = None if trouble != "a path that no file can have" else room.records.claim(bad.id)
            if claim is not None:
                claim.release()
            assert (claim is None) == (trouble != "a path that no file can have")

    caplog.set_level(logging.WARNING, "tusd_py")
    in_loop(test)
    assert all("FinishingError" in record.getMessage() for record in caplog.records)


def test_so_many_files_are_worked_on_at_once_and_no_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room:
            records = [room.pending_record(f"file-{number}") for number in range(7)]
            gate = asyncio.Event()
            waiting = 0

            async def until_the_gate_opens(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
                nonlocal waiting
                if function == room.records.settle:
                    waiting += 1
                    await gate.wait()
                return await room.threads(function, *args, **kwargs)

            async with at_work(room.finishing(concurrency=3, in_thread=until_the_gate_opens)):
                await until(lambda: waiting == 3)
                claims = [room.records.claim(record.id) for record in records]
                for claim in claims:
                    if claim is not None:
                        claim.release()
                assert claims.count(None) == 3
                assert waiting == 3
                gate.set()
                await until(lambda: all(room.records.load(record.id).is_settled for record in records))
            assert waiting == 7

    in_loop(test)


def test_two_servers_share_the_work(tmp_path: Path) -> None:
    async def test() -> None:
        async with room_in(tmp_path) as room, room_in(tmp_path) as other:
            records = [room.pending_record(f"file-{number}") for number in range(30)]
            async with at_work(room.finishing()), at_work(other.finishing()):
                await until(lambda: not room.records.pending_ids())
            assert all(room.records.load(record.id) == settled(record, Status.READY) for record in records)
            assert all(room.records.is_public(record.id) for record in records)

    in_loop(test)


def test_trouble_with_the_list_of_work_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESCAN_INTERVAL", 0.01)

    async def test() -> None:
        async with room_in(tmp_path) as room:
            record = room.pending_record()
            pending = tmp_path / ".tusd-py" / "pending"
            pending.rename(tmp_path / "away")
            async with at_work(room.finishing()):
                await room.threads(lambda: None)
                (tmp_path / "away").rename(pending)
                await until(lambda: room.status_of(record) is Status.READY)

    in_loop(test)


# --- headers ---


def test_an_edge_is_told_what_is_known_of_the_bytes_and_the_name_that_the_client_gave() -> None:
    record = FileRecord("f", "abc", "/abc", 'a"b.png', 5, "text/html", "me", 5.0, 6.0)
    assert edge_headers(record) == {"type": "text/html", "disposition": 'attachment;filename="a\\"b.png"'}
    assert edge_headers(replace(record, detected_type="image/png"))["type"] == "image/png"
    assert edge_headers(replace(record, content_type="a b\r\nX: y"))["type"] == "application/octet-stream"
