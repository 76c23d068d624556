"""What the workers of one server tell one another: a row of numbers for each, in memory that they share."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

_NUMBER = 8  # bytes
_FILE = "board"
_MEMORY = "/dev/shm"  # noqa: S108 -- what is made there has a name of its own


@contextmanager
def shared_directory() -> Iterator[Path]:
    """A directory in memory where there is one, since a page of a disk's file that is written may wait for the disk."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(prefix="tusd-py-", dir=place, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


class Column(IntEnum):
    """`PID` is 0 where no worker has the row, `ACCEPTED` where it takes no connections.

    `UNFINISHED` stays when one dies: the next one goes on with it.
    """

    PID = 0
    ACCEPTED = 1
    CONNECTIONS = 2
    UNFINISHED = 3


class Board:
    """The rows that lie in `directory`; a process writes into its own `row` only, so that nobody has to wait.

    Row 0 is the supervisor's, those of workers are 1 and so on. Every number is read and written whole.
    """

    def __init__(self, directory: Path, row: int) -> None:
        self.directory = directory
        self.row = row
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
