"""What the workers of one server tell one another: a row of numbers for each, in memory that they share."""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

_NUMBER = 8  # bytes
_FILE = "board"
_PREFIX = "tusd-py-workers-"
_ABANDONED = 60.0
"""Age in seconds from which a directory that nobody has locked is not one that is just being made."""
_MEMORY = "/dev/shm"  # noqa: S108 -- what is made there has a name of its own


@contextmanager
def shared_directory() -> Iterator[Path]:
    """A directory in memory where there is one, since a page of a disk's file that is written may wait for the disk."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None
    _remove_abandoned(Path(place or tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def _remove_abandoned(place: Path) -> None:
    """What is left of servers of which all processes were killed at once; those that live hold a lock on theirs."""
    for path in place.glob(_PREFIX + "*"):
        with suppress(OSError):  # somebody else's, or gone
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                status = os.fstat(descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _ABANDONED:
                    shutil.rmtree(path)
            finally:
                os.close(descriptor)


class Column(IntEnum):
    """`PID` is 0 where no worker has the row, `ACCEPTED` where it takes no connections.

    `UNFINISHED` and `CHANGES`, how often that has changed, stay when one dies: the next one goes on with them.
    """

    PID = 0
    ACCEPTED = 1
    CONNECTIONS = 2
    UNFINISHED = 3
    CHANGES = 4


class Board:
    """The rows that lie in `directory`; a process writes into its own `row` only, so that nobody has to wait.

    Row 0 is the supervisor's, those of workers are 1 and so on. Every number is read and written whole.
    """

    def __init__(self, directory: Path, row: int) -> None:
        self.directory = directory
        self.row = row
        self._lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        with open(directory / _FILE, "r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

    @classmethod
    def make(cls, directory: Path, rows: int) -> Board:
        """An empty board with so many rows for workers, for who supervises them."""
        path = directory / _FILE
        path.touch(mode=0o600)
        os.truncate(path, (rows + 1) * len(Column) * _NUMBER)
        return cls(directory, 0)

    @property
    def workers(self) -> list[int]:
        """The rows in which there is a worker."""
        count = len(self._numbers) // len(Column)
        return [row for row in range(1, count) if self.of(row, Column.PID)]

    def of(self, row: int, column: Column) -> int:
        return self._numbers[row * len(Column) + column]

    def total(self, column: Column) -> int:
        """The sum over all rows, those of workers that have died included."""
        return sum(self._numbers[column :: len(Column)])

    def set(self, column: Column, number: int) -> None:
        self._numbers[self.row * len(Column) + column] = number

    def clear(self, row: int) -> None:
        """The worker of this row has died; for its supervisor."""
        for column in (Column.PID, Column.ACCEPTED, Column.CONNECTIONS):
            self._numbers[row * len(Column) + column] = 0
