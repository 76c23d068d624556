"""The words of the protocol, for tests: a server, its uploads, and what can be asked of them."""

from __future__ import annotations

import hashlib
import statistics
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit, urlunsplit

from .wire import PATIENCE, Connection, Fields, Reply, Request, request

VERSION = "1.0.0"
OFFSET_STREAM = "application/offset+octet-stream"

NOT_INTEGERS = {"minus": "-1", "plus": "+1", "fraction": "1.0", "letters": "abc", "empty": "", "underscore": "1_0"}
NOT_INTEGERS |= {"hexadecimal": "0x1", "exponent": "1e0", "arabic": "٣", "huge": "9" * 30}
"""Texts that are no non-negative decimal integer, or none that a server could hold."""


@dataclass(frozen=True)
class Server:
    """A server by its creation URL, with what its OPTIONS answer announces.

    Whether it `remembers` complete uploads on HEAD, as CORE-14 asks, and `downloads` them, decides how content can be
    looked at: a server that does neither fails the tests of that, and not all the others too.
    """

    url: str
    fields: Fields = field(default_factory=dict)
    extensions: frozenset[str] = frozenset()
    max_size: int | None = None
    remembers: bool = True
    downloads: bool = False

    def message(self, method: str, url: str, fields: Fields | None = None, body: bytes | None = None) -> Request:
        """A request with the fields that every request of tus has; `None` as a value takes one away."""
        return request(method, url, {"Tus-Resumable": VERSION, **self.fields, **(fields or {})}, body)

    def send(self, method: str, url: str, fields: Fields | None = None, body: bytes | None = None) -> Reply:
        """One request on a connection of its own."""
        with Connection(url) as connection:
            return connection.exchange(self.message(method, url, fields, body))

    def options(self, fields: Fields | None = None) -> Reply:
        return self.send("OPTIONS", self.url, {"Tus-Resumable": None, **(fields or {})})

    def post(self, fields: Fields, body: bytes | None = b"") -> Reply:
        return self.send("POST", self.url, fields, body)

    def create(self, length: int | None, fields: Fields | None = None) -> str:
        """Create an upload, of unknown length for `None`, and return its URL."""
        size: Fields = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        return self.created(self.post({**size, **(fields or {})}))

    def created(self, reply: Reply) -> str:
        """The URL of the upload that this answer says was created."""
        location = reply.header("Location")
        assert reply.status == 201, f"creation was answered with {reply.status}: {reply.body[:200]!r}"
        assert location, "the 201 has no Location"
        return urljoin(self.url, location)

    def head(self, upload: str, fields: Fields | None = None) -> Reply:
        return self.send("HEAD", upload, fields)

    def offset(self, upload: str) -> int:
        """The offset that HEAD shows."""
        reply = self.head(upload)
        offset = reply.header("Upload-Offset")
        assert reply.status in {200, 204}, f"HEAD was answered with {reply.status}"
        assert offset is not None, "HEAD shows no Upload-Offset"
        return int(offset)

    def patch_message(self, upload: str, offset: int, body: bytes | None, fields: Fields | None = None) -> Request:
        patching: Fields = {"Content-Type": OFFSET_STREAM, "Upload-Offset": str(offset)}
        return self.message("PATCH", upload, {**patching, **(fields or {})}, body)

    def patch(self, upload: str, offset: int, body: bytes, fields: Fields | None = None) -> Reply:
        with Connection(upload) as connection:
            return connection.exchange(self.patch_message(upload, offset, body, fields))

    def stalled_patch(self, upload: str, data: bytes) -> Connection:
        """A connection with a PATCH that the server is at work on, and that stays silent after half of the data."""
        fields = {"Content-Length": str(len(data)), "Expect": "100-continue"}
        connection = Connection(upload)
        connection.send(self.patch_message(upload, 0, None, fields).head())
        connection.is_asked_to_continue()
        connection.send(data[: len(data) // 2])
        return connection

    def uploaded(self, data: bytes, fields: Fields | None = None) -> str:
        """A complete upload of this data."""
        upload = self.create(len(data), fields)
        if data:
            reply = self.patch(upload, 0, data)
            assert (reply.status, reply.header("Upload-Offset")) == (204, str(len(data)))
        return upload

    def delete(self, upload: str) -> Reply:
        return self.send("DELETE", upload, body=b"")

    def get(self, upload: str) -> Reply:
        return self.send("GET", upload)

    def check_content(self, upload: str, data: bytes) -> None:
        """That a complete upload is this data, as far as the server shows it."""
        if self.remembers:
            assert self.offset(upload) == len(data)
        if self.downloads:
            reply = self.get(upload)
            assert reply.status == 200
            assert hashlib.sha256(reply.body).digest() == hashlib.sha256(data).digest(), "the content is another one"

    def unknown(self) -> str:
        """The URL of an upload that does not exist, in the form of one that does."""
        address = urlsplit(self.create(1))
        folder, _, name = address.path.rpartition("/")
        other = name.translate(str.maketrans("0123456789abcdefABCDEF", "1234567890bcdefaBCDEFA"))
        return urlunsplit((address.scheme, address.netloc, f"{folder}/{other}", address.query, ""))


def refused(reply: Reply) -> bool:
    """Whether the request was taken for the client's mistake, and nothing was created."""
    return 400 <= reply.status < 500 and reply.header("Location") is None


def check_refused(reply: Reply) -> None:
    """That the request was refused."""
    assert refused(reply), f"answered with {reply.status}, Location: {reply.header('Location')}"


def checksum(data: bytes) -> str:
    """The value of Upload-Checksum for this data, with the one algorithm that every server has."""
    return "sha1 " + b64encode(hashlib.sha1(data).digest()).decode()  # noqa: S324


def pattern(size: int, seed: int = 0) -> bytes:
    """Data in which no block stands at another's place."""
    block = b"".join(hashlib.sha256(b"%d %d" % (seed, number)).digest() for number in range(128))
    return b"".join(b"%016d" % number + block[16:] for number in range(size // 4096 + 1))[:size]


def usual_time(act: Callable[[], object], until: Callable[[], bool]) -> float:
    """The median of the seconds that something takes which is done again and again."""
    times: list[float] = []
    while not times or not until():
        start = time.monotonic()
        act()
        times.append(time.monotonic() - start)
    return statistics.median(times)


def eventually(condition: Callable[[], bool], within: float = PATIENCE) -> bool:
    """Whether the condition comes true in this time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
