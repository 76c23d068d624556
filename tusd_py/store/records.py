"""File records on disk, and the tree that an edge may serve.

A record is born in `pending/`, durable before the client hears that its upload is finished, and moves to
`files/<ab>/` when it is settled. So `pending/` is the list of all work that is left, whatever else is lost.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.ids import is_file_id
from tusd_py.core.records import CorruptRecord, FileRecord, Status, decode_record, encode_record
from tusd_py.store.system_errors import system_errors_translated
from tusd_py.store.workspace import Workspace, sync_directory, write_all

_ENDING = ".json"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a pending record, until `release`."""

    record: FileRecord
    descriptor: int

    def release(self) -> None:
        os.close(self.descriptor)


class RecordStore:
    """Records below the state directory; `durable` says whether they have to survive the loss of power.

    Errors of the system come out as `UploadError`; everything blocks.
    """

    def __init__(self, state_directory: Path, *, durable: bool) -> None:
        self.place = os.path.join(state_directory, "")
        self._pending = state_directory / "pending"
        self._settled = state_directory / "files"
        self._public = state_directory / "public"
        self._workspace = Workspace(state_directory / "workspace", 0o600)
        self._public_workspace = Workspace(state_directory / "workspace", 0o644)
        self._durable = durable

    # --- records ---

    def load(self, file_id: str) -> FileRecord:
        """Raises 404. A record that is just being settled is found in one place or the other."""
        if is_file_id(file_id):
            for path in self._places(file_id):
                with system_errors_translated(), suppress(FileNotFoundError):
                    return _decoded(path.read_bytes())
        raise UploadError(errors.FILE_NOT_FOUND)

    def exists(self, file_id: str) -> bool:
        with system_errors_translated():
            return any(path.exists() for path in self._places(file_id))

    def add(self, record: FileRecord) -> None:
        """Put a record on the list of work; one that is there already stays."""
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE), self._workspace.entry("") as entry:
            entry.write(_line(record), durable=self._durable)
            with suppress(FileExistsError):
                entry.link(self._pending_path(record.id))
            if self._durable:
                sync_directory(self._pending)

    def pending_ids(self) -> list[str]:
        with system_errors_translated():
            names = [path.name.removesuffix(_ENDING) for path in self._pending.iterdir()]
        return [name for name in names if is_file_id(name)]

    def backlog(self) -> tuple[int, float]:
        """How many records are pending, and the age in seconds of the one that has been for longest."""
        times = []
        with system_errors_translated(), os.scandir(self._pending) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    times.append(entry.stat().st_ctime)
        return len(times), max(0.0, time.time() - min(times, default=time.time()))

    def settled_ids(self) -> Iterator[str]:
        with system_errors_translated():
            for folder in sorted(self._settled.iterdir()):
                for path in folder.iterdir():
                    yield path.name.removesuffix(_ENDING)

    def claim(self, file_id: str) -> Claim | None:
        """Work on a pending record, alone among all processes; None if it is not pending or somebody else does.

        A killed process loses its claims at once.
        """
        with system_errors_translated():
            try:
                descriptor = os.open(self._pending_path(file_id), os.O_RDWR)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                status = os.fstat(descriptor)
                # Settled since it was opened? A crash may have left it another name, so links are not to be counted.
                if os.path.samestat(status, os.stat(self._pending_path(file_id))):
                    return Claim(_decoded(os.pread(descriptor, status.st_size, 0)), descriptor)
            except (BlockingIOError, FileNotFoundError):
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            return None

    def note(self, record: FileRecord) -> None:
        """Write down what is known of a pending record by now, if it is pending still.

        It becomes a further line of the file, since a claim is on the file, and readers are to find a whole record.
        """
        path = self._pending_path(record.id)
        with system_errors_translated(missing=errors.FILE_NOT_FOUND), open(path, "r+b", buffering=0) as file:
            file.seek(file.read().rfind(b"\n") + 1)
            write_all(file.fileno(), _line(record))
            if self._durable:
                os.fsync(file.fileno())

    def settle(self, record: FileRecord) -> None:
        """Write down how a pending record ended. If it was removed meanwhile, nothing is left of it."""
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE):
            if not self._replace(record, self._pending_path(record.id)):
                self.withdraw(record.id)
                return
            self._pending_path(record.id).unlink(missing_ok=True)
            if self._durable:
                sync_directory(self._pending)

    def reopen(self, record: FileRecord) -> None:
        """Put a settled record on the list of work again, if it is not there; an edge does not serve it meanwhile."""
        self.withdraw(record.id)
        record = replace(record, status=Status.PROCESSING, reopened_at=time.time())
        pending, settled = self._pending_path(record.id), self._settled_path(record.id)
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE), self._workspace.entry("") as entry:
            entry.write(_line(record), durable=self._durable)
            with self._moving():
                if pending.exists() or not settled.exists():
                    return
                entry.link(pending)
                if self._durable:
                    sync_directory(self._pending)
                # An entry is locked: nobody settles the record before it is off the other list.
                settled.unlink()

    def replace(self, record: FileRecord) -> None:
        """Change a settled record, if it is there still."""
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE):
            self._replace(record, self._settled_path(record.id))

    def _replace(self, record: FileRecord, known: Path) -> bool:
        """Write a settled record, if one is `known` by that name: one that was removed does not come back."""
        path = self._settled_path(record.id)
        with self._workspace.entry("") as entry:
            entry.write(_line(record), durable=self._durable)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with self._moving():
                if not known.exists():
                    return False
                entry.replace(path)
            if self._durable:
                sync_directory(path.parent)
                sync_directory(self._settled)
        return True

    def remove(self, file_id: str) -> None:
        """Forget a file; whoever works on it notices when it settles."""
        with system_errors_translated():
            with self._moving():
                for path in (self._pending_path(file_id), self._settled_path(file_id)):
                    path.unlink(missing_ok=True)
            self.withdraw(file_id)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Records are removed, and go from one list to the other, one at a time among all processes."""
        descriptor = os.open(self._pending, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # --- what an edge may serve ---

    def publish(self, record: FileRecord, headers: dict[str, str]) -> None:
        """Give the bytes a name in `public/`, after the headers that they must be served with.

        Bytes on another file system get none, and are served by us only. Durable by policy, so that a file that is
        said to be ready is found by the edge after a loss of power as well.
        """
        target = self._public / record.id
        with system_errors_translated(), self._public_workspace.entry("") as entry:
            entry.write(json.dumps(headers, ensure_ascii=False).encode("utf-8", "replace"), durable=self._durable)
            entry.replace(target.with_name(target.name + _ENDING))
            try:
                os.link(record.path, target)
            except FileExistsError:
                pass
            except OSError as error:
                self.withdraw(record.id)
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                    raise
            if self._durable:
                sync_directory(self._public)

    def is_public(self, file_id: str) -> bool:
        return (self._public / file_id).exists()

    def withdraw(self, file_id: str) -> None:
        """Take the bytes away from the edge."""
        with system_errors_translated():
            (self._public / file_id).unlink(missing_ok=True)
            (self._public / (file_id + _ENDING)).unlink(missing_ok=True)

    def sweep_public(self) -> None:
        """Take away from the edge what a server that was killed has left of files that were removed."""
        with system_errors_translated():
            for name in {path.name.removesuffix(_ENDING) for path in self._public.iterdir()}:
                if is_file_id(name) and not self.exists(name):
                    self.withdraw(name)

    def _places(self, file_id: str) -> tuple[Path, ...]:
        """Where to look for a record, in this order, so that one that is just being settled is not missed."""
        return self._settled_path(file_id), self._pending_path(file_id), self._settled_path(file_id)

    def _pending_path(self, file_id: str) -> Path:
        return self._pending / (file_id + _ENDING)

    def _settled_path(self, file_id: str) -> Path:
        return self._settled / file_id[2:4] / (file_id + _ENDING)


def _line(record: FileRecord) -> bytes:
    return encode_record(record) + b"\n"


def _decoded(text: bytes) -> FileRecord:
    """The last whole line of the text: what follows that is a note that is being made, or was when a server died."""
    whole = text.rpartition(b"\n")[0] or text
    try:
        return decode_record(whole.rpartition(b"\n")[2])
    except CorruptRecord as error:
        raise UploadError(errors.INTERNAL_SERVER_ERROR, corrupt_record=str(error)) from error
