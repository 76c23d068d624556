"""HTTP requests and answers as values: no more than the servers here need, and cheap to make and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .payload import Slice

END_OF_HEAD = b"\r\n\r\n"


class Broken(Exception):
    """A server that does not do what it was asked for: its numbers would mean nothing."""


class Lacking(Exception):
    """A server without the feature that a shape needs."""


@dataclass(frozen=True)
class Request:
    """The body is `body` followed by `rest`; any other answer than `expected` makes the server a broken one."""

    method: str
    path: str
    expected: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    rest: Slice | None = None

    def head(self) -> bytes:
        length = len(self.body) + (self.rest.length if self.rest else 0)
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        if length or self.method in {"POST", "PATCH", "PUT"}:
            fields += f"Content-Length: {length}\r\n"
        return f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode()

    def check(self, answer: Answer) -> Answer:
        """The answer, if it is the expected one.

        Raises:
            Broken: it is another.
        """
        if answer.status != self.expected:
            raise Broken(f"{self.method} {self.path} was answered with {answer.head[:200]!r} {answer.body[:200]!r}")
        return answer


@dataclass(frozen=True)
class Answer:
    """A response; of a body that is not kept, only the length is known."""

    head: bytes
    body: bytes = b""
    length: int = 0

    @property
    def status(self) -> int:
        return int(self.head[9:12])

    def header(self, name: str) -> str | None:
        return find_header(self.head, name)


def find_header(head: bytes, name: str) -> str | None:
    """The value of the first field of this name (in lower case)."""
    start = head.lower().find(b"\r\n" + name.encode() + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip().decode("latin-1")


def length_of_body(request: Request, head: bytes) -> int | None:
    """How many bytes follow the head of an answer to this request; None: it is in chunks.

    Raises:
        Broken: the answer does not tell it.
    """
    if request.method == "HEAD" or head[9:12] in {b"204", b"304"}:
        return 0
    length = find_header(head, "content-length")
    if length is None and find_header(head, "transfer-encoding") != "chunked":
        raise Broken(f"{request.method} {request.path}: an answer without Content-Length, {head[:200]!r}")
    return int(length) if length else None


def whole_body(request: Request, head: bytes, received: bytes) -> bytes | None:
    """The body of an answer, if all of it is there. Chunked ones must be short, for each is read from its beginning."""
    length = length_of_body(request, head)
    if length is not None:
        return received if len(received) >= length else None
    body = b""
    while True:
        size, separator, received = received.partition(b"\r\n")
        if not separator:
            return None
        count = int(size.partition(b";")[0], 16)
        if not count:
            return body if received.startswith(b"\r\n") else None
        body += received[:count]
        received = received[count + 2 :]
