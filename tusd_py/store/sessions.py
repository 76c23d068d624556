"""Uploads in numbered chunks on disk, until they become files: `chunks/<upload id>/{data,marks,session.json}`.

`data` is the file to be, with every chunk in its place; what is in it counts only where `marks` says so. `session.json`
is the commit point: it comes last and goes first, and a directory without it is garbage.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from tusd_py.core import errors
from tusd_py.core.body import Buffer
from tusd_py.core.errors import UploadError
from tusd_py.core.ids import is_upload_id
from tusd_py.core.sessions import Session, decode_session, encode_session
from tusd_py.core.threads import Steps
from tusd_py.store.receiver import WRITEBACK_EVERY, Receiver
from tusd_py.store.system_errors import system_errors_translated
from tusd_py.store.workspace import Workspace, flat_name, sync_directory

_MARK_SIZE = 64
"""Bytes of a mark: the flag, the digest, and nothing; so that none lies across two pages or sectors."""

_SET = b"\x01"
_STEP = 1024 * 1024
"""Bytes that are hashed at once: a thread that asks for the interpreter more often waits for it more often."""

_WORTH_WRITING_BACK = 1024 * 1024
"""Bytes of a chunk for which the kernel is asked to begin with the disk."""

_GARBAGE_AFTER = 600.0
"""Seconds after which a directory without a session is one that a crash has left."""


class SessionStore:
    """Sessions below the state directory. With `each_durable`, a chunk is on the disk before its mark is.

    Errors of the system come out as `UploadError`; everything blocks.
    """

    def __init__(self, state_directory: Path, *, file_mode: int, each_durable: bool) -> None:
        self.place = os.path.join(state_directory, "")
        self._directory = state_directory / "chunks"
        self._workspace = Workspace(state_directory / "workspace", 0o600)
        self._file_mode = file_mode
        self._each_durable = each_durable

    # --- finding ---

    def load(self, upload_id: str) -> Session:
        """Raises 404 where there is no such session."""
        folder = self._folder(upload_id)
        with system_errors_translated():
            try:
                session = decode_session((folder / "session.json").read_bytes())
                changed_at = max((folder / name).stat().st_mtime for name in ("session.json", "marks"))
            except ValueError as error:  # torn by a loss of power: the same as if it had not come to be
                raise UploadError(errors.UPLOAD_NOT_FOUND, corrupt_session=str(error)) from error
        return replace(session, changed_at=changed_at)

    def exists(self, upload_id: str) -> bool:
        try:
            self.load(upload_id)
        except UploadError as error:
            if error.problem is errors.UPLOAD_NOT_FOUND:
                return False
            raise
        return True

    def upload_ids(self) -> Iterator[str]:
        with system_errors_translated():
            for path in list(self._directory.iterdir()):
                yield unquote(path.name)

    def data_path(self, upload_id: str) -> Path:
        """The file whose lock stands for the session: shared while a chunk comes, alone to end it."""
        return self._folder(upload_id) / "data"

    def marks_path(self, upload_id: str) -> Path:
        """The file whose n-th byte, locked, stands for chunk n."""
        return self._folder(upload_id) / "marks"

    # --- creating and ending ---

    def create(self, session: Session) -> Session:
        """Make a session without chunks; the room that the file will need is not taken yet."""
        folder = self._folder(session.id)
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE):
            folder.mkdir(mode=0o700)
            try:
                _make_file(folder / "data", session.announced.file_size, self._file_mode)
                _make_file(folder / "marks", session.chunk_count * _MARK_SIZE, 0o600)
                self._write(session)
                if self._each_durable:
                    sync_directory(folder)
                    sync_directory(self._directory)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return replace(session, changed_at=time.time())

    def fail(self, session: Session, reason: str) -> Session:
        """Write down that the session will never become a file."""
        failed = replace(session, failure=reason)
        with system_errors_translated():
            self._write(failed)
        return failed

    def remove(self, upload_id: str) -> None:
        """Forget the session, under the hold on the whole of it. A file made of its data keeps that."""
        folder = self._folder(upload_id)
        with system_errors_translated():
            for name in ("session.json", "marks", "data"):
                (folder / name).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                folder.rmdir()

    def sweep(self) -> None:
        """Remove what an interrupted creation or removal has left."""
        with system_errors_translated():
            for folder in list(self._directory.iterdir()):
                with suppress(FileNotFoundError):
                    is_old = time.time() - folder.stat().st_mtime > _GARBAGE_AFTER
                    if is_old and not _has_session(folder):
                        shutil.rmtree(folder, ignore_errors=True)

    def _write(self, session: Session) -> None:
        with self._workspace.entry("") as entry:
            entry.write(encode_session(session), durable=self._each_durable)
            entry.replace(self._folder(session.id) / "session.json")

    # --- chunks, under the hold on one of them ---

    def receiver(self, session: Session, number: int, descriptor: int) -> Receiver:
        """Write a chunk in its place in `data`, open as `descriptor`; its SHA-256 is computed on the way.

        At its end it is on its way to the disk, so that the end of the session is short.
        """
        return Receiver(
            descriptor,
            session.offset_of(number),
            session.length_of(number),
            hold_back=False,
            digest=hashlib.sha256(),
            writeback_every=max(_WORTH_WRITING_BACK, min(session.length_of(number), WRITEBACK_EVERY)),
        )

    def marked(self, session: Session) -> dict[int, bytes]:
        """The chunks that count, with their digests."""
        with system_errors_translated():
            marks = self.marks_path(session.id).read_bytes()
        numbers = range(len(marks) // _MARK_SIZE)
        return {n: _digest_in(marks, n) for n in numbers if marks[n * _MARK_SIZE : n * _MARK_SIZE + 1] == _SET}

    def marked_from(self, session: Session, number: int) -> Iterator[int]:
        """The chunks that count from `number` on, without a gap, each looked at when it is asked for."""
        with system_errors_translated():
            marks = os.open(self.marks_path(session.id), os.O_RDONLY)
        try:
            while self.digest_of(marks, number) is not None:
                yield number
                number += 1
        finally:
            os.close(marks)

    def digest_of(self, marks: int, number: int) -> bytes | None:
        """What chunk `number` is marked with in the open file `marks`, or None."""
        with system_errors_translated():
            mark = os.pread(marks, _MARK_SIZE, number * _MARK_SIZE)
        return _digest_in(mark, 0) if mark[:1] == _SET else None

    def marking(self, marks: int, number: int, digest: bytes, data: int) -> Steps[None]:
        """From now on the chunk counts, also after a crash."""
        with system_errors_translated():
            if self._each_durable:
                yield partial(os.fdatasync, data)
            os.pwrite(marks, _SET + digest, number * _MARK_SIZE)
            if self._each_durable:
                yield partial(os.fdatasync, marks)

    # --- the whole, under the hold on all of it ---

    def read_chunk(self, session: Session, number: int, take: Callable[[Buffer], object]) -> None:
        """Hand a chunk's bytes to `take`, a piece at a time."""
        position = session.offset_of(number)
        end = position + session.length_of(number)
        buffer = memoryview(bytearray(_STEP))
        with system_errors_translated(), open(self.data_path(session.id), "rb", buffering=0) as file:
            file.seek(position)
            while position < end:
                count = file.readinto(buffer[: min(_STEP, end - position)])
                if not count:
                    return  # cut off by somebody: the digest will tell
                take(buffer[:count])
                position += count

    def unmark_damaged(self, session: Session) -> tuple[int, ...]:
        """Compare every chunk with the digest it came with; those that differ are missing again."""
        damaged = []
        with system_errors_translated(), open(self.marks_path(session.id), "r+b", buffering=0) as marks:
            for number, digest in self.marked(session).items():
                actual = hashlib.sha256()
                self.read_chunk(session, number, actual.update)
                if actual.digest() != digest:
                    os.pwrite(marks.fileno(), bytes(_MARK_SIZE), number * _MARK_SIZE)
                    damaged.append(number)
            os.fdatasync(marks.fileno())
        return tuple(damaged)

    def _folder(self, upload_id: str) -> Path:
        name = flat_name(upload_id) if is_upload_id(upload_id) else ""
        if not name:
            raise UploadError(errors.UPLOAD_NOT_FOUND)
        return self._directory / name


def _has_session(folder: Path) -> bool:
    try:
        decode_session((folder / "session.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return True


def _make_file(path: Path, size: int, mode: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
    try:
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def _digest_in(marks: bytes, number: int) -> bytes:
    start = number * _MARK_SIZE + len(_SET)
    return marks[start : start + hashlib.sha256().digest_size]
