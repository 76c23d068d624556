"""A supervisor to be run by a test: it is signalled, and one of its workers dies, while it is at something else.

It says on its standard error when workers have started; SIGTERM ends it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from pathlib import Path

from tests.running import eventually
from tusd_py.server.worker import READY, take_assignment, take_over
from tusd_py.server.workers import Supervisor
from tusd_py.state.board import Board

COUNT = 2


HEARD = "heard"
"""A file in the directory of the board, once the supervisor has heard of the first worker."""


def work() -> None:
    """Be ready, one after the other, until the supervisor says stop."""
    assignment = take_assignment(os.environ)
    assert assignment is not None
    with take_over(assignment.supervisor) as connection:
        if assignment.row > 1:
            eventually((assignment.directory / HEARD).exists)
        connection.send(READY)
        connection.recv(1)


def strike() -> None:
    """The supervisor has the signal before the death, and comes to neither before this ends.

    The one that dies is not the one that was heard last, which the kernel would name first.
    """
    os.kill(os.getpid(), signal.SIGUSR2)
    worker = int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[0])
    os.kill(worker, signal.SIGKILL)
    os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)


def supervise(directory: Path) -> int:
    logging.basicConfig(level=logging.INFO)

    def note(_: logging.LogRecord) -> bool:
        (directory / HEARD).touch()
        return True

    logging.getLogger("tusd_py").addFilter(note)
    command = [sys.executable, "-m", "tests.server.struck_supervisor"]
    with socket.socket() as listener:
        board = Board.make(directory, rows=2 * COUNT)
        supervisor = Supervisor(
            COUNT, command, listener, board, shutdown_timeout=10, reloads=False, announce=strike, say=print
        )
        return supervisor.run()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(supervise(Path(sys.argv[1])))
    work()
