"""Publishing: files appear under their final name whole, or not at all, also through a crash.

A file is made as an *entry* of the workspace, a directory on the same file system, and then linked or renamed to its
name. An entry is named after the upload it works for and locked while it is worked on. So an unlocked entry is the
trace of an operation that died, and tells which upload's data file has to go if its `.info` was never published.
"""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

_LONGEST_NAME = 200
_WITHDRAWN = "-withdrawn"


def flat_name(upload_id: str) -> str:
    """An upload id as one file name, and back by `unquote`; empty for ids that are too long for that."""
    name = upload_id if upload_id.isalnum() and upload_id.isascii() else quote(upload_id, safe="")
    return name if len(name) <= _LONGEST_NAME else ""


def sync_directory(directory: str | Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_names(*paths: str) -> None:
    """Make the names of these files durable, of which most are in one directory."""
    for directory in {os.path.dirname(path) for path in paths}:
        sync_directory(directory)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@dataclass(slots=True)
class Entry:
    """A file in the making: `descriptor` is open for reading and writing and locked.

    `has_trace` is whether it still has its name in the workspace.
    """

    path: str
    descriptor: int
    has_trace: bool = True

    def write(self, data: bytes, *, durable: bool) -> None:
        write_all(self.descriptor, data)
        if durable:
            os.fsync(self.descriptor)

    def link(self, target: str | Path) -> None:
        """Publish under a new name.

        Raises FileExistsError, and leaves the other file alone, where the name is taken.
        """
        os.link(self.path, target)

    def publish(self, target: str | Path) -> None:
        """The same, when nothing is left to be done that a crash could end: no trace of the work is needed any more."""
        os.link(self.path, target)
        os.unlink(self.path)
        self.has_trace = False

    def replace(self, target: str | Path) -> None:
        """Publish in place of the file that has this name."""
        os.rename(self.path, target)
        self.has_trace = False


class Workspace:
    """The directory of files in the making; `file_mode` is given to what is made there, umask applied."""

    def __init__(self, directory: Path, file_mode: int) -> None:
        self._directory = directory
        self._place = os.path.join(directory, "")
        self._file_mode = file_mode

    @contextmanager
    def entry(self, upload_id: str) -> Iterator[Entry]:
        """Make an entry; what has not been published by the end of the block is gone."""
        entry = self._open_locked(upload_id)
        try:
            yield entry
        finally:
            if entry.has_trace:
                with suppress(FileNotFoundError):
                    os.unlink(entry.path)
            os.close(entry.descriptor)

    @contextmanager
    def withdraw(self, published: str | Path, upload_id: str) -> Iterator[None]:
        """Take a published file away from its name; it is gone for good at the end of the block."""
        path = self._new_path(upload_id, _WITHDRAWN)
        descriptor = os.open(published, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.rename(published, path)
            yield
            os.unlink(path)
        finally:
            os.close(descriptor)

    def sweep(self, clean_up: Callable[[str, bytes | None], None]) -> None:
        """Remove the entries of operations that died, after `clean_up` for what they left elsewhere.

        It is called with the upload's id and, for a withdrawn file, what that holds.
        """
        for path in list(self._directory.iterdir()):
            try:
                descriptor = os.open(path, os.O_RDWR)
            except (FileNotFoundError, IsADirectoryError):
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                if not path.exists():
                    continue  # its operation came to its end, not to ours, between the two calls above
                operation, _, name = path.name.partition(".")
                if upload_id := unquote(name):
                    clean_up(upload_id, path.read_bytes() if operation.endswith(_WITHDRAWN) else None)
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)

    def _new_path(self, upload_id: str, operation: str = "") -> str:
        return f"{self._place}{random.getrandbits(64):016x}{operation}.{flat_name(upload_id)}"

    def _open_locked(self, upload_id: str) -> Entry:
        """A sweep may meet the entry between its making and its locking, and remove it: then another one is made."""
        while True:
            path = self._new_path(upload_id)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, self._file_mode)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return Entry(path, descriptor)
            os.close(descriptor)
