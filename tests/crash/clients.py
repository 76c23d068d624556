"""Clients of a server that is killed under them, and what they know about their uploads."""

from __future__ import annotations

import base64
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from tests.running import CHUNK, DEADLINE, TUS, Answer, request_head

Check = Literal["none", "header", "trailer"]

_LARGEST_BLOCK = 64 * 1024
_COMPLEMENT = bytes(reversed(range(256)))


class KillSwitch:
    """Kills once, or tells to stop: when `after` bytes were sent by all clients together, or when told to."""

    def __init__(self, kill: Callable[[], None], after: int | None) -> None:
        self.has_fired = False
        self._kill = kill
        self._left = after
        self._lock = threading.Lock()

    def count(self, sent: int) -> None:
        with self._lock:
            if self._left is None:
                return
            self._left -= sent
            is_due = self._left <= 0
        if is_due:
            self.fire()

    def fire(self) -> None:
        with self._lock:
            is_first, self.has_fired = not self.has_fired, True
        if is_first:
            self._kill()


class Connection:
    """A raw connection, kept between requests. Raises OSError once the server is gone, or has said that it stops."""

    def __init__(self, port: int, switch: KillSwitch) -> None:
        self._port = port
        self._switch = switch
        self._socket: socket.socket | None = None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, data: bytes) -> None:
        if self._socket is None:
            if self._switch.has_fired:
                raise ConnectionRefusedError  # else the free port might become our own
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE)
        self._socket.sendall(data)
        self._switch.count(len(data))

    def answer(self) -> Answer:
        assert self._socket is not None
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += self._receive()
        if headers.get("connection") == "close":
            self.close()
        answer = Answer(int(status.split()[1]), headers, body)
        if self._switch.has_fired and answer.status == 503:
            assert b"ERR_SERVER_SHUTDOWN" in body, answer
            assert "retry-after" in headers, answer
            raise ConnectionAbortedError
        return answer

    def _receive(self) -> bytes:
        assert self._socket is not None
        block = self._socket.recv(65536)
        if not block:
            raise ConnectionResetError
        return block


@dataclass(frozen=True)
class Piece:
    """The body of one request: the upload's `data` from `start` on, and how it is sent.

    With `is_wrong` other bytes are sent, and the checksum tells.
    """

    start: int
    data: bytes
    is_chunked: bool
    check: Check
    is_wrong: bool

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    @property
    def checksum(self) -> str:
        return "sha256 " + base64.b64encode(hashlib.sha256(self.data).digest()).decode()

    def headers(self) -> dict[str, str]:
        length = {"Transfer-Encoding": "chunked"} if self.is_chunked else {"Content-Length": str(len(self.data))}
        checks: dict[Check, dict[str, str]] = {
            "none": {},
            "header": {"Upload-Checksum": self.checksum},
            "trailer": {"Trailer": "Upload-Checksum"},
        }
        return length | checks[self.check]

    def blocks(self, rng: random.Random) -> Iterator[tuple[int, bytes]]:
        """What goes over the wire, each block with the number of the body's bytes in it."""
        body = self.data.translate(_COMPLEMENT) if self.is_wrong else self.data
        position = 0
        while position < len(body):
            block = body[position : position + rng.randint(1, _LARGEST_BLOCK)]
            position += len(block)
            yield len(block), b"%x\r\n%b\r\n" % (len(block), block) if self.is_chunked else block
        if self.is_chunked:
            trailer = f"Upload-Checksum: {self.checksum}\r\n" if self.check == "trailer" else ""
            yield 0, f"0\r\n{trailer}\r\n".encode()


@dataclass
class Upload:
    """An upload as its client knows it.

    `acknowledged` bytes were in an answer that the client has seen. `pending` is the request without an answer; `sent`
    bytes of its body, at most, have left the client, and with `has_ended` perhaps all that belongs to it.
    """

    name: str
    source: bytes
    rng: random.Random
    largest_piece: int
    is_chunked: bool = False
    check: Check = "none"
    is_deferred: bool = False
    with_first_piece: bool = False
    url: str = ""
    acknowledged: int = 0
    declared: bool = False
    pending: Piece | None = None
    sent: int = 0
    has_ended: bool = False
    may_be_declared: bool = False

    def __post_init__(self) -> None:
        self.declared = self.may_be_declared = not self.is_deferred

    @property
    def size(self) -> int:
        return len(self.source)

    @property
    def is_complete(self) -> bool:
        return self.declared and self.acknowledged == self.size

    def run(self, connection: Connection, creation_path: str) -> None:
        """Create the upload, if need be, and send its bytes, until all is there or the server is gone (OSError)."""
        while not self.url:
            self._create(connection, creation_path)
        while not self.is_complete:
            self._append(connection)

    def possible_offsets(self) -> set[int] | range:
        """Where the upload may stand when the pending request will never be answered."""
        piece = self.pending
        if piece is None:
            return {self.acknowledged}
        is_whole = self.sent == len(piece.data) and self.has_ended
        if piece.check != "none":
            return {piece.start, piece.end} if is_whole and not piece.is_wrong else {piece.start}
        # A body of unknown length completes nothing before its end was seen.
        is_held_back = piece.is_chunked and piece.end == self.size and self.may_be_declared and not self.has_ended
        last = min(piece.start + self.sent, self.size - 1 if is_held_back else self.size)
        return range(piece.start, last + 1)

    def settle(self, offset: int, *, is_declared: bool) -> None:
        """Go on from what the restarted server says."""
        self.acknowledged, self.declared, self.may_be_declared = offset, is_declared, is_declared
        self.pending, self.sent, self.has_ended = None, 0, False

    def _create(self, connection: Connection, path: str) -> None:
        length = {"Upload-Defer-Length": "1"} if self.is_deferred else {"Upload-Length": str(self.size)}
        headers = length | {"Upload-Metadata": metadata(self.name)}
        if not self.with_first_piece:
            answer = self._request(connection, "POST", path, TUS | headers | {"Content-Length": "0"}, None)
            assert answer.status == 201, (self.name, answer)
            self.url = answer.headers["location"]
            return
        piece = self._next_piece()
        answer = self._request(connection, "POST", path, CHUNK | headers | piece.headers(), piece)
        assert answer.status == (460 if piece.is_wrong else 201), (self.name, answer)
        if not piece.is_wrong:
            self.url = answer.headers["location"]
            self._acknowledge(answer, piece)

    def _append(self, connection: Connection) -> None:
        piece = self._next_piece()
        headers = CHUNK | piece.headers() | {"Upload-Offset": str(piece.start)}
        # In the middle, if there is one.
        if not self.declared and (piece.start > 0 or piece.end == self.size):
            headers["Upload-Length"] = str(self.size)
            self.may_be_declared = True
        answer = self._request(connection, "PATCH", urlsplit(self.url).path, headers, piece)
        assert answer.status == (460 if piece.is_wrong else 204), (self.name, answer)
        if not piece.is_wrong:
            self.declared = self.may_be_declared
            self._acknowledge(answer, piece)

    def _acknowledge(self, answer: Answer, piece: Piece) -> None:
        assert answer.headers["upload-offset"] == str(piece.end), (self.name, answer)
        self.acknowledged = piece.end

    def _next_piece(self) -> Piece:
        length = self.rng.randint(1, self.largest_piece)
        data = self.source[self.acknowledged : self.acknowledged + length]
        is_wrong = bool(data) and self.check != "none" and self.rng.random() < 0.25
        return Piece(self.acknowledged, data, self.is_chunked, self.check, is_wrong)

    def _request(
        self, connection: Connection, method: str, path: str, headers: dict[str, str], piece: Piece | None
    ) -> Answer:
        self.pending, self.sent, self.has_ended = piece, 0, False
        connection.send(request_head(method, path, headers))
        if piece is not None:
            for count, block in piece.blocks(self.rng):
                self.sent += count
                self.has_ended = not piece.is_chunked or not count
                connection.send(block)
        answer = connection.answer()
        self.pending = None
        return answer


@dataclass
class Concatenation:
    """A client that makes several final uploads of the same parts; `urls` of those without an answer are empty."""

    name: str
    parts: Sequence[Upload]
    count: int
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> bytes:
        return b"".join(part.source for part in self.parts)

    def run(self, connection: Connection, creation_path: str) -> None:
        concat = "final;" + " ".join(urlsplit(part.url).path for part in self.parts)
        for number in range(self.count):
            name = f"{self.name} {number}"
            self.urls[name] = ""
            headers = {"Upload-Concat": concat, "Upload-Metadata": metadata(name)}
            connection.send(request_head("POST", creation_path, TUS | headers | {"Content-Length": "0"}))
            answer = connection.answer()
            assert answer.status == 201, (name, answer)
            self.urls[name] = answer.headers["location"]


def metadata(name: str) -> str:
    return "name " + base64.b64encode(name.encode()).decode()
