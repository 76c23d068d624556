"""HTTP/1.1 on bare sockets: every byte that is sent is in the test, and every byte that comes back can be looked at."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import SplitResult, urlsplit

PATIENCE = 20.0
"""Seconds that a single wait for the server may take."""

PIECE = 64 * 1024

Fields = Mapping[str, str | Sequence[str] | None]
"""Header fields: a sequence of values is sent as that many lines, `None` leaves the field out."""


class NoAnswer(AssertionError):
    """The server did not answer: it was silent for too long, or closed or reset the connection."""


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire. Without a body there is no Content-Length either."""

    method: str
    url: str
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def head(self) -> bytes:
        """Everything up to the blank line, in the order of the fields."""
        address = urlsplit(self.url)
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {address.netloc}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        if self.body is not None:
            lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True)
class Reply:
    """A final answer, with the statuses of the interim (1xx) answers before it."""

    status: int
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    interim: tuple[int, ...] = ()

    def header(self, name: str) -> str | None:
        """The value of a field; several lines joined by commas, as HTTP has it; `None` when there is none."""
        values = [value for field, value in self.fields if field.lower() == name.lower()]
        return ", ".join(values) if values else None

    def items(self, name: str) -> list[str]:
        """The members of a field that is a comma-separated list."""
        return [item.strip() for item in (self.header(name) or "").split(",") if item.strip()]


def request(method: str, url: str, fields: Fields | None = None, body: bytes | None = None) -> Request:
    """A request from fields written as a mapping."""
    lines: list[tuple[str, str]] = []
    for name, value in (fields or {}).items():
        if value is not None:
            lines += [(name, value)] if isinstance(value, str) else [(name, one) for one in value]
    return Request(method, url, tuple(lines), body)


def chunked(pieces: Iterable[bytes], trailers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A body in chunked coding; empty pieces are left out, since an empty chunk would end it."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return chunks + b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode() + b"\r\n"


class Connection:
    """One connection to the server of a URL."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._received = bytearray()
        self._socket = _connect(urlsplit(url), patience)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def exchange(self, message: Request) -> Reply:
        """Send a request whole and read its answer."""
        self.send(message.head() + (message.body or b""))
        return self.reply(message.method)

    def send(self, data: bytes, *, whole: bool = False) -> None:
        """Send all of it, but stop as soon as the server answers, unless the `whole` is wanted, or hangs up."""
        view, deadline = memoryview(data), time.monotonic() + self.patience
        while view:
            watched = [] if whole else [self._socket]
            readable, writable, _ = select.select(watched, [self._socket], [], _left(deadline))
            if readable:
                return
            if not writable:
                raise NoAnswer(f"the server read nothing for {self.patience} s")
            try:
                view = view[self._socket.send(view[:PIECE]) :]
            except (BrokenPipeError, ConnectionResetError):
                return
            deadline = time.monotonic() + self.patience

    def reply(self, method: str = "GET") -> Reply:
        """Read the next final answer. `method` is that of the request: an answer to HEAD has no body."""
        interim: list[int] = []
        while True:
            status, fields = self._head()
            if status >= 200:
                break
            interim.append(status)
        head = Reply(status, fields, interim=tuple(interim))
        return Reply(status, fields, self._body(method, head), head.interim)

    def interim(self) -> int:
        """Read one head and return its status, for whoever waits for 100 Continue."""
        return self._head()[0]

    def is_asked_to_continue(self, within: float = 3) -> bool:
        """Whether the server sends 100 Continue in this time, which it does when it begins to read the body."""
        readable, _, _ = select.select([self._socket], [], [], within)
        return bool(readable) and self.interim() == 100

    def finish_sending(self) -> None:
        """Half-close: tell the server that no more bytes will come, and go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Drop the connection with a TCP reset, as a crashed client or a lost network does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._socket.close()

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the server closes the connection in this time; what it sends before that is passed over."""
        deadline = time.monotonic() + seconds
        try:
            while self._fill(deadline):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True

    def _fill(self, deadline: float) -> bool:
        """Receive more, at most until the deadline; false at the end of the stream."""
        self._socket.settimeout(max(_left(deadline), 0.001))
        piece = self._socket.recv(PIECE)
        self._received += piece
        return bool(piece)

    def _need(self, what: str) -> None:
        """Receive more, which an answer is still missing."""
        try:
            more = self._fill(time.monotonic() + self.patience)
        except TimeoutError as error:
            raise NoAnswer(f"{what} did not come within {self.patience} s") from error
        except ConnectionResetError as error:
            raise NoAnswer(f"the server reset the connection before {what}") from error
        if not more:
            raise NoAnswer(f"the server closed the connection before {what}")

    def _take_until(self, end: bytes, what: str) -> bytes:
        while end not in self._received:
            self._need(what)
        taken, _, rest = self._received.partition(end)
        self._received = bytearray(rest)
        return bytes(taken)

    def _take(self, size: int, what: str) -> bytes:
        while len(self._received) < size:
            self._need(what)
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        first, *lines = self._take_until(b"\r\n\r\n", "the head of an answer").decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        assert version in {"HTTP/1.0", "HTTP/1.1"}, f"this is not an answer of HTTP/1.1: {first!r}"
        fields = [line.partition(":") for line in lines]
        return int(rest[:3]), tuple((name, value.strip()) for name, _, value in fields)

    def _body(self, method: str, head: Reply) -> bytes:
        length = head.header("Content-Length")
        if method == "HEAD" or head.status in {204, 304}:
            return b""
        if "chunked" in (item.lower() for item in head.items("Transfer-Encoding")):
            return self._chunks()
        if length is not None:
            return self._take(int(length), "the end of an answer's body")
        deadline = time.monotonic() + self.patience
        while self._fill(deadline):
            pass
        return self._take(len(self._received), "the end of an answer's body")

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := int(self._take_until(b"\r\n", "a chunk of an answer").split(b";")[0], 16):
            body += self._take(size, "a chunk of an answer")
            self._take_until(b"\r\n", "the end of a chunk")
        while self._take_until(b"\r\n", "the trailers of an answer"):
            pass
        return bytes(body)


def _connect(address: SplitResult, patience: float) -> socket.socket:
    host = address.hostname or "localhost"
    port = address.port or (443 if address.scheme == "https" else 80)
    plain = socket.create_connection((host, port), timeout=patience)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.scheme != "https":
        return plain
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
