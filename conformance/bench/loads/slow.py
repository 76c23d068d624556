"""Many slow uploads and idle connections at once: what they cost, and what another client notices of them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

from .. import tus
from ..measures import Round, Run
from ..messages import Broken
from ..server import Server
from .probing import probing

RATE = 16 * 1024
"""Bytes a second of one upload."""

_TURNS = 4
_STARTS_PER_SECOND = 200


@dataclass(frozen=True)
class SlowUploads:
    """`uploads` at once, beside `idle` connections that send nothing, for `seconds` in which all of it goes on."""

    uploads: int
    idle: int
    seconds: float

    def against(self, server: Server) -> Run:
        probed = server.create(1)
        return lambda: asyncio.run(self._round(server, probed))

    async def _round(self, server: Server, probed: str) -> Round:
        with ExitStack() as stack:
            for _ in range(self.idle):
                stack.enter_context(server.connect())
            size = int(self.seconds + self.uploads / _STARTS_PER_SECOND) * RATE
            targets = [server.create(size) for _ in range(self.uploads)]
            uploads = []
            for target in targets:
                uploads.append(asyncio.create_task(_upload(server, target, size)))
                await asyncio.sleep(1 / _STARTS_PER_SECOND)
            with probing(server.port, probed) as latencies, server.measured() as cost:
                await asyncio.sleep(self.seconds)
            await asyncio.gather(*uploads)
            server.remove(targets)
        values = {"CPU % of one core": cost.cpu_seconds / cost.seconds * 100}
        return Round(self.uploads * RATE * cost.seconds, cost, {"HEAD": latencies}, values)


async def _upload(server: Server, target: str, size: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        request = tus.patch(target, 0)
        head = request.head().replace(b"Content-Length: 0", b"Content-Length: %d" % size)
        writer.write(head)
        piece = bytes(RATE // _TURNS)
        loop = asyncio.get_running_loop()
        due = loop.time()
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()
            due += 1 / _TURNS
            await asyncio.sleep(max(0.0, due - loop.time()))
        if b" 204 " not in await reader.readline():
            raise Broken("a slow upload was not finished")
    except OSError as error:
        raise Broken(f"a slow upload was broken off: {error}") from error
    finally:
        writer.close()
