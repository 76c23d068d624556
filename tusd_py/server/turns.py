"""Connections for several processes that share a socket: each takes its part of them.

Left to themselves, the first that wakes takes what has come, and on an idle machine that is mostly the same one; a
connection then stays where it is for as long as its client keeps it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from tusd_py.state.board import Board, Column

PATIENCE = 0.002
"""Seconds that a connection waits for the worker whose turn it is, before any other takes it."""

AT_ONCE = 16
"""Connections that a worker takes when it has waited, and by which it is behind at most."""

_TROUBLE_PAUSE = 1.0


class TurnTaking:
    """Serves connections to `listener` by protocols that `make_protocol` makes, over TLS with a `context`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        board: Board,
        make_protocol: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._board = board
        self._make_protocol = make_protocol
        self._context = context
        self._beginning: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        listener.setblocking(False)
        board.set(Column.ACCEPTED, max(self._of_others(), default=1))
        self._watch()

    def close(self) -> None:
        """Take no more; what waits is for the others. Said again it does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._board.set(Column.ACCEPTED, 0)
        self._loop.remove_reader(self._listener.fileno())
        if self._timer is not None:
            self._timer.cancel()

    async def wait_closed(self) -> None:
        """Connections that have begun are the server's."""

    def _watch(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._on_connection)

    def _look_again_in(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._timer = self._loop.call_later(seconds, self._on_patience_over)

    def _on_connection(self) -> None:
        own = self._board.of(self._board.row, Column.ACCEPTED)
        if own <= min(self._of_others(), default=own):
            self._accept()
        else:
            self._look_again_in(PATIENCE)

    def _on_patience_over(self) -> None:
        self._watch()
        for _ in range(AT_ONCE):
            if not self._accept():
                break

    def _accept(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False  # somebody else was quicker, or the client has gone
        except OSError:
            self._look_again_in(_TROUBLE_PAUSE)  # there is no descriptor left, say
            return False
        behind = max(self._of_others(), default=0) - AT_ONCE
        self._board.set(Column.ACCEPTED, max(self._board.of(self._board.row, Column.ACCEPTED) + 1, behind))
        task = self._loop.create_task(self._begin(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        return True

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection, ssl=self._context)
        except OSError:  # no TLS has come of it
            connection.close()

    def _of_others(self) -> list[int]:
        """The counts of those that take connections now."""
        board = self._board
        counts = [board.of(row, Column.ACCEPTED) for row in board.workers if row != board.row]
        return [count for count in counts if count]
