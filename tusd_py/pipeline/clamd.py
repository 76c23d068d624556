"""Talking to clamd, over its Unix socket or over TCP.

The `clamd` package asks for the version. Files go by our own code: an open descriptor over the Unix socket (FILDES), so
that clamd needs no right to the file and nothing is copied; blocks over TCP (INSTREAM). The package has no FILDES, and
its INSTREAM ends in a broken pipe where clamd has said that a file is too large.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import clamd

from tusd_py.core.threads import InThread
from tusd_py.pipeline.verdicts import LARGEST_SCANNED, NoVerdict, Verdict, read_answer, too_large

T = TypeVar("T")

BLOCK = 1024 * 1024
STREAM_LIMIT = 100 * 1024 * 1024
"""Bytes; clamd's own default for StreamMaxLength."""

_LONGEST_ANSWER = 4096
_PORT = 3310


class Unreachable(Exception):
    """There is no clamd that could be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where clamd listens: a path, or else a host and a port. `text` is how it was given."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0


def parse_address(text: str) -> Address:
    """Read `unix:/path` or `tcp://host:port` (3310 where it is left out). Raises ValueError."""
    if text.startswith("unix:/"):
        return Address(text, path="/" + text.removeprefix("unix:").lstrip("/"))
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.hostname and text == f"tcp://{parts.netloc}":
            return Address(text, host=parts.hostname, port=parts.port or _PORT)
    raise ValueError(f"clamd must be unix:/path or tcp://host:port, not {text!r}")


class Clamd:
    """Questions to a daemon, each on a connection and in a thread of its own, so any number may be asked at once.

    Over TCP a file of more than `stream_limit` bytes is not asked about. Within `answer_timeout` seconds clamd has to
    take a connection and to say its version; `timeout` is how long it may be silent over a file, and has to be longer
    than its MaxScanTime. Cancelling a question closes its connection, which ends the thread.
    """

    def __init__(
        self,
        address: str,
        in_thread: InThread,
        *,
        stream_limit: int = STREAM_LIMIT,
        timeout: float = 300.0,
        answer_timeout: float = 5.0,
    ) -> None:
        """Raises ValueError for an address that is none."""
        self._address = parse_address(address)
        self._in_thread = in_thread
        self._largest = LARGEST_SCANNED if self.takes_descriptors else min(stream_limit, LARGEST_SCANNED)
        self._timeout = timeout
        self._answer_timeout = answer_timeout

    @property
    def address(self) -> str:
        return self._address.text

    @property
    def takes_descriptors(self) -> bool:
        return bool(self._address.path)

    async def version(self) -> str:
        """Program and signatures; another text means that one of them has changed. Raises `Unreachable`."""
        return await self._converse(self._ask_version)

    async def scan(self, path: str) -> Verdict:
        """Have the file looked at. Raises `NoVerdict`, `Unreachable`, and OSError where it cannot be opened."""
        return await self._converse(self._scan, lambda: _open(path), self._largest)

    async def scan_probe(self, make: Callable[[], int]) -> Verdict:
        """Have an open file looked at, whatever its size; its descriptor is closed. Raises as `scan`."""
        return await self._converse(self._scan, make, None)

    async def _converse(self, function: Callable[..., T], *args: object) -> T:
        call = _Call(self._address, self._answer_timeout)
        work = asyncio.ensure_future(self._in_thread(function, call, *args))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            call.break_off()
            work.add_done_callback(_look_at_exception)
            await asyncio.wait([work])
            raise

    # --- in the thread ---

    def _ask_version(self, call: _Call) -> str:
        try:
            answer = str(_Questions(call).version())
        except (OSError, clamd.ClamdError, UnicodeDecodeError) as error:
            raise Unreachable(f"clamd at {self.address} does not answer: {error}") from error
        if not answer.startswith("ClamAV "):
            raise Unreachable(f"what listens at {self.address} is no clamd: it answered {answer[:100]!r}")
        return answer

    def _scan(self, call: _Call, open_file: Callable[[], int], largest: int | None) -> Verdict:
        descriptor = open_file()
        try:
            size = os.fstat(descriptor).st_size
            if largest is not None and size > largest:
                return too_large(size, largest)
            try:
                connection = call.connect()
            except OSError as error:
                raise Unreachable(f"clamd at {self.address} cannot be reached: {error}") from error
            with closing(connection):
                connection.settimeout(self._timeout)
                return read_answer(self._ask(connection, descriptor, size))
        finally:
            os.close(descriptor)

    def _ask(self, connection: socket.socket, descriptor: int, size: int) -> str:
        try:
            # A clamd that does not want the rest has answered and closed: then its answer is there to be read.
            with suppress(BrokenPipeError, ConnectionResetError):
                if self.takes_descriptors:
                    connection.sendall(b"zFILDES\0")
                    socket.send_fds(connection, [b"\0"], [descriptor])
                else:
                    _send_blocks(connection, descriptor, size)
            return _receive_answer(connection)
        except TimeoutError as error:
            raise NoVerdict(f"clamd was silent for {self._timeout:g} seconds") from error
        except OSError as error:
            raise NoVerdict(f"clamd broke off: {error}") from error


class _Call:
    """A conversation in one thread, which another thread may break off."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._connection: socket.socket | None = None
        self._is_broken_off = False

    def connect(self) -> socket.socket:
        """Raises OSError."""
        if self._address.path:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(self._timeout)
                connection.connect(self._address.path)
            except OSError:
                connection.close()
                raise
        else:
            connection = socket.create_connection((self._address.host, self._address.port), self._timeout)
        self._connection = connection
        if self._is_broken_off:
            self.break_off()
        return connection

    def break_off(self) -> None:
        """Whatever waits for the other side finds the connection closed."""
        self._is_broken_off = True
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


class _Questions(clamd.ClamdNetworkSocket):  # type: ignore[misc]  # the package has no types
    """The package's client over a connection of ours: its own has no time limit while it connects, nor IPv6."""

    def __init__(self, call: _Call) -> None:
        super().__init__()
        self._call = call

    def _init_socket(self) -> None:
        self.clamd_socket = self._call.connect()


def _open(path: str) -> int:
    """A descriptor of its own, since clamd may move its position. Raises OSError, also for what is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


def _send_blocks(connection: socket.socket, descriptor: int, size: int) -> None:
    """Each block with its length before it, four bytes; the end is a block without bytes."""
    connection.sendall(b"zINSTREAM\0")
    buffer = bytearray(4 + BLOCK)
    with memoryview(buffer) as view:
        sent = 0
        while sent < size:
            length = os.preadv(descriptor, [view[4:]], sent)
            if not length:
                raise NoVerdict(f"the file ended after {sent} of {size} bytes")
            struct.pack_into(">I", buffer, 0, length)
            connection.sendall(view[: 4 + length])
            sent += length
    connection.sendall(struct.pack(">I", 0))


def _receive_answer(connection: socket.socket) -> str:
    answer = b""
    while not answer.endswith(b"\0"):
        block = connection.recv(_LONGEST_ANSWER)
        if not block:
            raise NoVerdict("clamd broke off without an answer")
        answer += block
        if len(answer) > _LONGEST_ANSWER:
            raise NoVerdict("clamd answered without end")
    return answer[:-1].decode(errors="replace").strip()


def _look_at_exception(work: asyncio.Future[T]) -> None:
    """An exception that nobody looks at would be reported as forgotten."""
    if not work.cancelled():
        work.exception()
