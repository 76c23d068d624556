"""One of several processes that serve, as its supervisor has started it.

The two ends of a socket pair tie them together. The supervisor says `RELOAD`, and its going says stop, whether it meant
it or was killed; the worker says `READY`, and `LATE` where requests had to be cut off at the end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tusd_py.state.board import Board, Column

VARIABLE = "_TUSD_PY_WORKER"

RELOAD, READY, LATE = b"h", b"r", b"l"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is given: its descriptors by number, its row on the board, and the board's directory."""

    listener: int
    supervisor: int
    row: int
    directory: Path

    def environment(self) -> dict[str, str]:
        return {VARIABLE: f"{self.listener} {self.supervisor} {self.row} {self.directory}"}


def take_assignment(environment: MutableMapping[str, str]) -> Assignment | None:
    """What this process was started for, which programs that it starts must not take to be about them; else None."""
    text = environment.pop(VARIABLE, "")
    if not text:
        return None
    listener, supervisor, row, directory = text.split(" ", 3)
    return Assignment(int(listener), int(supervisor), int(row), Path(directory))


class Supervision:
    """The worker's end of what ties it to its supervisor."""

    def __init__(self, assignment: Assignment) -> None:
        self._connection = take_over(assignment.supervisor)
        self._connection.setblocking(False)
        self._supervisor = os.getppid()
        self.board = Board(assignment.directory, assignment.row)
        self.board.set(Column.PID, os.getpid())

    def listen(self, stop: Callable[[], None], reload: Callable[[], None]) -> None:
        """Follow what the supervisor says, on the running loop."""
        loop = asyncio.get_running_loop()

        def hear() -> None:
            try:
                words = self._connection.recv(64)
            except BlockingIOError:
                return
            except OSError:
                words = b""
            if RELOAD in words:
                reload()
            if not words:
                loop.remove_reader(self._connection.fileno())
                stop()

        loop.add_reader(self._connection.fileno(), hear)

    def end(self) -> None:
        """To be called when nothing is served any more; the last one clears up after a supervisor that was killed."""
        self.board.set(Column.PID, 0)
        if os.getppid() != self._supervisor and not self.board.workers:
            shutil.rmtree(self.board.directory, ignore_errors=True)

    def report_connections(self, count: int) -> None:
        self.board.set(Column.CONNECTIONS, count)

    def say(self, word: bytes) -> None:
        with suppress(OSError):  # it is gone
            self._connection.send(word)


def take_over(descriptor: int) -> socket.socket:
    """A socket that was inherited, and will not be by others."""
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)
