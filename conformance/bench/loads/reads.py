"""Downloads, and questions for the offset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .. import tus
from ..lanes import Lane, open_lanes
from ..measures import Round, Run
from ..messages import Broken, Lacking, Request
from ..payload import PAYLOAD, sha256
from ..server import Server
from .small import shares


@dataclass(frozen=True)
class Download:
    """One GET of an upload of `size` bytes."""

    size: int

    def against(self, server: Server) -> Run:
        target = _upload(server, self.size)
        _check_download(server, target, self.size)

        def run() -> Round:
            with server.connect() as connection:
                with server.measured() as cost:
                    answer = connection.ask(tus.get(target))
                if answer.length != self.size:
                    raise Broken(f"{answer.length} of {self.size} bytes were downloaded")
            return Round(self.size, cost)

        return run


@dataclass(frozen=True)
class SmallReads:
    """`requests` of this method, over `connections`, for an upload of `size` bytes."""

    method: str
    requests: int
    connections: int
    size: int = 4096

    def against(self, server: Server) -> Run:
        target = _upload(server, self.size)
        if self.method == "GET":
            _check_download(server, target, self.size)
        request = Request(self.method, target, 200, tus.VERSION)

        def lane(count: int) -> Lane:
            for _ in range(count):
                answer = yield request
                if self.method == "HEAD":
                    tus.check_offset(answer, self.size)
                elif answer.length != self.size:
                    raise Broken(f"{answer.length} of {self.size} bytes were downloaded")

        def run() -> Round:
            with open_lanes(server.port, self.connections) as lanes, server.measured() as cost:
                lanes.run(lane(count) for count in shares(self.requests, self.connections))
            return Round(self.requests, cost)

        return run


def _upload(server: Server, size: int) -> str:
    target = server.create(size)
    with server.connect() as connection:
        tus.check_offset(connection.ask(tus.patch(target, 0, rest=PAYLOAD.slice(0, size))), size)
    return target


def _check_download(server: Server, target: str, size: int) -> None:
    """That the bytes which come are right; the tus protocol itself has no downloads."""
    with server.connect() as connection:
        for status in (404, 405):
            try:
                connection.ask(Request("GET", target, status, tus.VERSION | {"Range": "bytes=0-0"}))
            except Broken:
                continue
            raise Lacking("no downloads")
    digest = hashlib.sha256()
    with server.connect() as connection:
        answer = connection.ask(tus.get(target), digest.update)
    if (answer.length, digest.digest()) != (size, sha256(PAYLOAD.slice(0, size))):
        raise Broken(f"GET {target}: the bytes are not those that were sent")
