"""Connections are shared out evenly among those who take them, and nobody is waited for who does not."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.running import DEADLINE
from tusd_py.server.turns import TurnTaking
from tusd_py.state.board import Board, Column


class Naming(asyncio.Protocol):
    """Says who serves the connection, and closes it."""

    def __init__(self, row: int, ends: list[asyncio.Future[None]]) -> None:
        self._row = row
        self._end = asyncio.get_running_loop().create_future()
        ends.append(self._end)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(bytes([self._row]))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- of this shape
        self._end.set_result(None)


class Workers:
    """As many as there are rows, all of them in this process."""

    def __init__(self, directory: Path, count: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        Board.make(directory, rows=count)
        self.taking: dict[int, TurnTaking] = {}
        self.ends: list[asyncio.Future[None]] = []
        self._listeners: list[socket.socket] = []
        self._directory = directory

    def begin(self, row: int) -> None:
        board = Board(self._directory, row)
        board.set(Column.PID, row)
        loop, listener = asyncio.get_running_loop(), self.listener.dup()
        self._listeners.append(listener)
        self.taking[row] = TurnTaking(loop, listener, board, lambda: Naming(row, self.ends), None)

    async def end(self) -> None:
        await asyncio.gather(*self.ends)
        for taking in self.taking.values():
            taking.close()
        for listener in (self.listener, *self._listeners):
            listener.close()

    async def who_serves(self, connections: int) -> Counter[int]:
        """By whom so many connections, one after the other, are served."""
        counts: Counter[int] = Counter()
        async with asyncio.timeout(DEADLINE):
            for _ in range(connections):
                reader, writer = await asyncio.open_connection(*self.listener.getsockname())
                counts[(await reader.readexactly(1))[0]] += 1
                writer.close()
                await writer.wait_closed()
        return counts


@asynccontextmanager
async def working(directory: Path, count: int) -> AsyncIterator[Workers]:
    workers = Workers(directory, count)
    for row in range(1, count + 1):
        workers.begin(row)
    try:
        yield workers
    finally:
        await workers.end()


def test_each_has_its_part(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, 3) as workers:
            assert await workers.who_serves(30) == {1: 10, 2: 10, 3: 10}

    asyncio.run(run())


def test_one_that_comes_later_does_not_get_all(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, 2) as workers:
            await workers.who_serves(20)
            workers.taking[2].close()
            assert await workers.who_serves(5) == {1: 5}
            workers.begin(2)
            assert await workers.who_serves(20) == {1: 10, 2: 10}

    asyncio.run(run())


def test_nobody_waits_long_for_one_that_does_not_come(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, 2) as workers:
            frozen = Board(tmp_path, 2)
            frozen_count = frozen.of(2, Column.ACCEPTED)
            workers.taking[2].close()
            frozen.set(Column.ACCEPTED, frozen_count)  # as one that is in the middle of something
            assert await workers.who_serves(40) == {1: 40}
            workers.begin(2)
            counts = await workers.who_serves(40)
            assert counts[1] == counts[2]

    asyncio.run(run())


def test_connections_that_come_at_once_are_all_served(tmp_path: Path) -> None:
    async def run() -> None:
        async with working(tmp_path, 2) as workers:
            counts = await asyncio.gather(*(workers.who_serves(1) for _ in range(100)))
            assert sum(count.total() for count in counts) == 100

    asyncio.run(run())
