"""Many small requests from one thread: each connection is a generator that yields requests and is sent the answers."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from .connection import ANSWER_LIMIT, connected
from .messages import END_OF_HEAD, Answer, Broken, Request, whole_body

if TYPE_CHECKING:
    from collections.abc import Iterator

Lane = Generator[Request, Answer, None]


class Lanes:
    """Connections, one for each lane of a run; bodies must be small enough for a socket's buffer."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    def run(self, lanes: Iterable[Lane]) -> None:
        """Drive all lanes to their ends.

        Raises:
            Broken: an answer is not the expected one, or none comes.
        """
        with selectors.DefaultSelector() as selector:
            open_lanes = 0
            for connection, lane in zip(self._sockets, lanes, strict=True):
                request = next(lane, None)
                if request is not None:
                    connection.sendall(request.head() + request.body)
                    selector.register(connection, selectors.EVENT_READ, _Exchange(connection, lane, request))
                    open_lanes += 1
            while open_lanes:
                ready = selector.select(ANSWER_LIMIT)
                if not ready:
                    raise Broken(f"no answer on {open_lanes} connections")
                for key, _ in ready:
                    exchange: _Exchange = key.data
                    if exchange.is_over():
                        selector.unregister(key.fileobj)
                        open_lanes -= 1


@contextmanager
def open_lanes(port: int, count: int) -> Iterator[Lanes]:
    """Connections for `count` lanes at once."""
    with ExitStack() as stack:
        yield Lanes([stack.enter_context(connected(port)) for _ in range(count)])


class _Exchange:
    """Where one lane stands."""

    def __init__(self, connection: socket.socket, lane: Lane, request: Request) -> None:
        self._connection = connection
        self._lane = lane
        self._request = request
        self._data = b""

    def is_over(self) -> bool:
        """Take what has come; with a whole answer, send the next request. Whether there is none."""
        try:
            block = self._connection.recv(65536)
        except OSError as error:
            raise Broken(f"{self._request.method} {self._request.path}: {error}") from error
        if not block:
            raise Broken(f"{self._request.method} {self._request.path}: the connection ended, {self._data[:200]!r}")
        self._data += block
        head, separator, received = self._data.partition(END_OF_HEAD)
        body = whole_body(self._request, head, received) if separator else None
        if body is None:
            return False
        self._data = b""
        answer = self._request.check(Answer(head, body, len(body)))
        try:
            self._request = self._lane.send(answer)
        except StopIteration:
            return True
        self._connection.sendall(self._request.head() + self._request.body)
        return False
