"""The supervisor: several processes that serve one socket, and who replaces them.

A worker is a new run of the same command, so that it inherits nothing but the descriptors that it is given: no lock, no
thread, no half-made state of ours.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tusd_py.core.log_event import LogEvent
from tusd_py.server.serving import say_goodbye
from tusd_py.server.worker import LATE, READY, RELOAD, Assignment
from tusd_py.state.board import Board, Column

log = logging.getLogger("tusd_py")

STABLE = 5.0
"""Seconds that a worker must have lived for its end to be no reason to wait with the next one."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a worker is replaced that ended soon after its start, doubled each time."""

OVERTIME = 10.0
"""Seconds after the shutdown time-out at which a worker is killed that has not ended."""

_STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: socket.socket
    row: int
    replaces: _Worker | None = None
    began_at: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    must_end_at: float | None = None


class Supervisor:
    """Keeps `count` workers that run `command` on `listener`.

    `announce` is called when all of them serve, `say` with what the operator should read. With `reloads`, SIGHUP has
    them read their certificates again. The board needs twice as many rows as there are workers.
    """

    def __init__(
        self,
        count: int,
        command: Sequence[str],
        listener: socket.socket,
        board: Board,
        *,
        shutdown_timeout: float,
        reloads: bool,
        announce: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._count = count
        board.set(Column.PID, os.getpid())
        self._command = command
        self._listener = listener
        self._board = board
        self._shutdown_timeout = shutdown_timeout
        self._reloads = reloads
        self._announce = announce
        self._say = say
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._to_roll: list[_Worker] = []
        self._starts: list[float] = []  # when workers are to be started that replace dead ones
        self._quick_ends = 0
        self._is_roll_wanted = False
        self._has_begun = False
        self._is_stopping = False
        self._has_failed = False
        self._has_timed_out = False

    def run(self) -> int:
        """Until a signal says stop; the exit status. Raises nothing for a worker that cannot start: that is 1."""
        with self._hearing_signals():
            for _ in range(self._count):
                self._start()
            while self._workers or self._starts:
                for key, _ in self._selector.select(self._next_wait()):
                    key.data()
                self._reap()  # not before, since what is left of a dead one's words may be among what was selected
                self._roll()
                self._do_what_is_due()
        if self._has_failed:
            return 1
        say_goodbye(is_in_time=not self._has_timed_out, say=self._say)
        return 0

    # --- workers ---

    def _start(self, replaces: _Worker | None = None) -> None:
        ours, theirs = socket.socketpair()
        used = {worker.row for worker in self._workers}
        row = next(row for row in range(1, 2 * self._count + 1) if row not in used)
        descriptors = (self._listener.fileno(), theirs.fileno())
        assignment = Assignment(*descriptors, row, self._board.directory)
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 -- the command that we are
                    self._command,
                    env={**os.environ, **assignment.environment()},
                    pass_fds=descriptors,
                    process_group=0,  # Ctrl-C is for the supervisor
                )
            except OSError as error:
                ours.close()
                self._on_no_start(str(error), replaces)
                return
        worker = _Worker(process, ours, row, replaces)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._listen_to(worker))

    def _listen_to(self, worker: _Worker) -> None:
        try:
            words = worker.connection.recv(64)
        except ConnectionResetError:
            words = b""
        if READY in words:
            self._on_ready(worker)
        if LATE in words:
            self._has_timed_out = True
        if not words:
            self._selector.unregister(worker.connection)
            worker.connection.close()

    def _on_ready(self, worker: _Worker) -> None:
        worker.is_ready = True
        log.info(LogEvent("WorkerStarted", pid=worker.process.pid))
        if worker.replaces is not None:
            if worker.replaces in self._workers:
                self._end(worker.replaces)
            worker.replaces = None
            self._roll_on()
        if not self._has_begun and all(each.is_ready for each in self._workers):
            self._has_begun = True
            self._announce()

    def _end(self, worker: _Worker) -> None:
        """Let a worker end: bodies with what they have brought, other requests within the shutdown time-out."""
        if worker.must_end_at is None:
            worker.must_end_at = time.monotonic() + self._shutdown_timeout + OVERTIME
            with contextlib.suppress(OSError):  # it has ended by itself
                worker.connection.shutdown(socket.SHUT_WR)

    def _reap(self) -> None:
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                self._on_end(worker)

    def _on_end(self, worker: _Worker) -> None:
        if worker.connection.fileno() >= 0:
            self._listen_to(worker)  # its last words
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(worker.connection)
            worker.connection.close()
        self._workers.remove(worker)
        self._board.clear(worker.row)
        if worker in self._to_roll:
            self._to_roll.remove(worker)
        if self._is_stopping or worker.must_end_at is not None:
            return  # as it was told
        log.error(LogEvent("WorkerEnded", pid=worker.process.pid, status=worker.process.returncode))
        if any(each.replaces is worker for each in self._workers):
            return  # its successor has been started
        if worker.is_ready:
            self._start_later(lived=time.monotonic() - worker.began_at)
        else:
            self._on_no_start(worker.process.returncode, worker.replaces)

    def _on_no_start(self, reason: int | str, replaces: _Worker | None) -> None:
        """A worker could not start: then the old one stays, the next one waits, or, where none serves, it is the end.

        The worker has said more about it. One that was killed by a signal might have started (the reason is negative).
        """
        was_killed = isinstance(reason, int) and reason < 0
        if replaces in self._workers:
            log.error(LogEvent("WorkersNotReplaced", reason=reason))
            self._to_roll.clear()
        elif self._has_begun and (was_killed or any(each.is_ready for each in self._workers)):
            self._start_later(lived=0.0)
        else:
            log.error(LogEvent("WorkerNotStarted", reason=reason))
            self._has_failed = True
            self._stop()

    def _start_later(self, *, lived: float) -> None:
        self._quick_ends = 0 if lived > STABLE else self._quick_ends + 1
        pause = min(FIRST_PAUSE * 2.0 ** min(self._quick_ends, 16), LONGEST_PAUSE) if self._quick_ends else 0.0
        self._starts.append(time.monotonic() + pause)

    # --- time ---

    def _next_wait(self) -> float | None:
        moments = [*self._starts, *(worker.must_end_at for worker in self._workers if worker.must_end_at is not None)]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        due = [moment for moment in self._starts if moment <= now]
        self._starts = [moment for moment in self._starts if moment > now]
        for _ in due:
            self._start()
        for worker in self._workers:
            if worker.must_end_at is not None and worker.must_end_at <= now:
                worker.process.kill()
                worker.must_end_at = now + OVERTIME

    # --- signals ---

    @contextlib.contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        """Signals wake the selector, and are acted on there."""
        waking, sleeping = socket.socketpair()
        waking.setblocking(False)
        numbers = [*_STOPS, signal.SIGCHLD, signal.SIGUSR2, *([signal.SIGHUP] if self._reloads else [])]
        previous = {number: signal.signal(number, lambda *_: None) for number in numbers}
        wakeup = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        self._selector.register(sleeping, selectors.EVENT_READ, lambda: self._on_signals(sleeping.recv(64)))
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._selector.close()
            waking.close()
            sleeping.close()

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _STOPS:
                self._on_stop()
            elif number == signal.SIGHUP:
                self._reload()
            elif number == signal.SIGUSR2:
                self._is_roll_wanted = True

    def _on_stop(self) -> None:
        if self._is_stopping:
            try:
                self._say("Received second interrupt signal. Exiting immediately!")
            finally:
                for worker in self._workers:
                    worker.process.kill()
                os._exit(1)
        self._say("Received interrupt signal. Shutting down tusd...")
        self._stop()

    def _stop(self) -> None:
        self._is_stopping = True
        self._listener.close()
        self._starts.clear()
        self._to_roll.clear()
        for worker in self._workers:
            self._end(worker)

    def _reload(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):  # one that is just ending
                worker.connection.send(RELOAD)

    def _roll(self) -> None:
        """If that is wanted, replace the workers one after the other, each when its successor serves.

        While workers are ending that were replaced before, it waits.
        """
        is_busy = any(worker.replaces is not None or worker.must_end_at is not None for worker in self._workers)
        if self._is_roll_wanted and self._has_begun and not is_busy:
            self._is_roll_wanted = False
            log.info(LogEvent("WorkersRolling", count=len(self._workers)))
            self._to_roll = list(self._workers)
            self._roll_on()

    def _roll_on(self) -> None:
        if self._to_roll:
            self._start(replaces=self._to_roll.pop(0))
