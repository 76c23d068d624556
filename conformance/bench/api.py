"""The chunk-number mode of a server's JSON API, spoken over one connection that is kept."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .running import START_LIMIT, Running

_ANSWER_LIMIT = 600.0


class ApiConnection:
    """One connection to the JSON API below `path`."""

    def __init__(self, server: Running, path: str) -> None:
        self._path = path
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=START_LIMIT)

    def __enter__(self) -> ApiConnection:
        self._connection.connect()
        self._connection.sock.settimeout(_ANSWER_LIMIT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, pieces: Sequence[bytes | memoryview] = (), **headers: str) -> dict[str, Any]:
        """The JSON of the answer; keywords are headers, underscores as dashes. Ends the program for an error."""
        self._connection.putrequest(method, self._path + path, skip_accept_encoding=True)
        for name, value in headers.items():
            self._connection.putheader(name.replace("_", "-"), value)
        self._connection.putheader("Content-Length", str(sum(map(len, pieces))))
        self._connection.endheaders()
        for piece in pieces:
            self._connection.send(piece)
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {text[:200]!r}")
        answer: dict[str, Any] = json.loads(text or b"{}")
        return answer


@dataclass(frozen=True)
class Material:
    """A file that is never whole in memory: every chunk is the same but for its number in front.

    The digests are made once, so that their cost is not among what is measured.
    """

    size: int
    chunk_size: int
    block: bytes
    digests: Sequence[str]
    digest: str

    def pieces(self, number: int) -> tuple[bytes, memoryview]:
        return _pieces(self.block, self.size, number)


def make_material(size: int, chunk_size: int) -> Material:
    block = hashlib.shake_128(b"").digest(chunk_size)
    whole, digests = hashlib.sha256(), []
    for number in range(-(-size // chunk_size)):
        chunk = hashlib.sha256()
        for piece in _pieces(block, size, number):
            chunk.update(piece)
            whole.update(piece)
        digests.append(chunk.hexdigest())
    return Material(size, chunk_size, block, digests, whole.hexdigest())


def _pieces(block: bytes, size: int, number: int) -> tuple[bytes, memoryview]:
    length = min(len(block), size - number * len(block))
    head = number.to_bytes(8)[:length]
    return head, memoryview(block)[len(head) : length]


def initiate(api: ApiConnection, size: int, digest: str) -> dict[str, Any]:
    announced = {"fileName": "bench.txt", "fileSize": size, "contentType": "text/plain", "checksum": digest}
    return api.ask("POST", "/uploads/initiate", [json.dumps(announced).encode()], Content_Type="application/json")


def send_chunks(api: ApiConnection, upload_id: str, material: Material, numbers: Iterator[int]) -> None:
    """Send the chunks that `numbers` yields, one after the other."""
    for number in numbers:
        path = f"/uploads/{upload_id}/chunks/{number}"
        api.ask("PUT", path, material.pieces(number), X_Chunk_Checksum=material.digests[number])


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
