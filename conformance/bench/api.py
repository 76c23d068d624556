"""The chunk-number mode of a server's JSON API, and a file to send by it that is never whole in memory."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .connection import Connection
from .messages import Broken, Request
from .payload import PAYLOAD, Slice
from .server import Server

_READY_LIMIT = 60.0
_POLL_INTERVAL = 0.02
_NUMBER = 8


class Api:
    """The API of a server, over one connection."""

    def __init__(self, server: Server, connection: Connection) -> None:
        self._path = server.api_path
        self._connection = connection

    def initiate(self, size: int, digest: str) -> dict[str, Any]:
        announced = {"fileName": "bench.txt", "fileSize": size, "contentType": "text/plain", "checksum": digest}
        headers = {"Content-Type": "application/json"}
        return self._ask("POST", "/uploads/initiate", 201, headers, json.dumps(announced).encode())

    def send(self, upload_id: str, material: Material, numbers: Iterator[int]) -> None:
        """Send the chunks that `numbers` yields, one after the other."""
        for number in numbers:
            start, rest = material.chunk(number)
            headers = {"X-Chunk-Checksum": material.digests[number]}
            self._ask("PUT", f"/uploads/{upload_id}/chunks/{number}", 200, headers, start, rest)

    def complete(self, upload_id: str) -> dict[str, Any]:
        return self._ask("POST", f"/uploads/{upload_id}/complete", 200)

    def status(self, upload_id: str) -> str:
        return str(self._ask("GET", f"/uploads/{upload_id}/status", 200)["status"])

    def wait_until_ready(self, upload_id: str) -> None:
        end = time.monotonic() + _READY_LIMIT
        while (status := self.status(upload_id)) != "ready":
            if time.monotonic() > end:
                raise Broken(f"the file of upload {upload_id} is {status} and does not become ready")
            time.sleep(_POLL_INTERVAL)

    def delete(self, upload_id: str) -> None:
        self._connection.ask(Request("DELETE", f"{self._path}/uploads/{upload_id}", 204))

    def _ask(
        self,
        method: str,
        path: str,
        expected: int,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        rest: Slice | None = None,
    ) -> dict[str, Any]:
        request = Request(method, self._path + path, expected, headers or {}, body, rest)
        answer: dict[str, Any] = json.loads(self._connection.ask(request).body)
        return answer


@dataclass(frozen=True)
class Material:
    """A file of chunks that are the same but for their numbers in front, with the digests of all."""

    size: int
    chunk_size: int
    digests: Sequence[str]
    digest: bytes

    def chunk(self, number: int) -> tuple[bytes, Slice]:
        return _chunk(self.size, self.chunk_size, number)


@functools.cache
def make_material(size: int, chunk_size: int) -> Material:
    """Made once, so that the digests' cost is not among what is measured."""
    whole, digests = hashlib.sha256(), []
    for number in range(-(-size // chunk_size)):
        start, rest = _chunk(size, chunk_size, number)
        data = start + rest.read(0, rest.length)
        whole.update(data)
        digests.append(hashlib.sha256(data).hexdigest())
    return Material(size, chunk_size, digests, whole.digest())


def _chunk(size: int, chunk_size: int, number: int) -> tuple[bytes, Slice]:
    length = min(chunk_size, size - number * chunk_size)
    start = number.to_bytes(_NUMBER)[:length]
    return start, PAYLOAD.slice(len(start), length - len(start))


class Numbers:
    """The numbers of all chunks, each given out once, whichever thread asks."""

    def __init__(self, count: int) -> None:
        self._counter = itertools.count()
        self._count = count

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        number = next(self._counter)
        if number >= self._count:
            raise StopIteration
        return number
