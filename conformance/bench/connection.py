"""One connection of a client that sends large bodies: the kernel moves the bytes, the thread waits."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from .messages import END_OF_HEAD, Answer, Broken, Request, length_of_body, whole_body
from .payload import MIB, Slice

ANSWER_LIMIT = 120
"""Seconds of silence after which a server is broken."""

_KEPT_BODY = MIB
_READ_SIZE = MIB
_TLS_PIECE = 256 * 1024
_UNPACED = b"reno"


def connected(port: int) -> socket.socket:
    """A connection on which nothing waits: neither for more to send, nor for its pace.

    Algorithms that pace (BBR) have timers, which over loopback fire in the server's time, in the middle of its work.
    """
    connection = socket.socket()
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _UNPACED)  # before the handshake, or they stay
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(ANSWER_LIMIT)
        connection.connect(("127.0.0.1", port))
    except BaseException:
        connection.close()
        raise
    return connection


class Connection:
    """A blocking connection that is kept open between requests; over TLS, nothing is verified."""

    def __init__(self, port: int, *, is_tls: bool = False) -> None:
        self._socket = connected(port)
        # The kernel's limits and not Python's, for which a socket is made non-blocking: sendfile shall wait.
        self._socket.settimeout(None)
        for way in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, way, struct.pack("ll", ANSWER_LIMIT, 0))
        self._is_tls = is_tls
        if is_tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._socket = context.wrap_socket(self._socket)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, request: Request, take: Callable[[memoryview], object] | None = None) -> Answer:
        """Send a request and read its answer, whose body goes to `take` if that is given.

        Raises:
            Broken: the answer is not the expected one, or none comes.
        """
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # the answer tells why
                self._socket.sendall(request.head() + request.body)
                if request.rest is not None:
                    self._send(request.rest)
            return request.check(self._read(request, take))
        except BlockingIOError as error:
            raise Broken(f"{request.method} {request.path}: silence for {ANSWER_LIMIT} seconds") from error
        except OSError as error:
            raise Broken(f"{request.method} {request.path}: {error}") from error

    def _send(self, rest: Slice) -> None:
        if self._is_tls:
            for start in range(0, rest.length, _TLS_PIECE):
                self._socket.sendall(rest.read(start, _TLS_PIECE))
            return
        sent = 0
        while sent < rest.length:
            sent += os.sendfile(self._socket.fileno(), rest.descriptor, rest.start + sent, rest.length - sent)

    def _read(self, request: Request, take: Callable[[memoryview], object] | None) -> Answer:
        data = self._receive(request)
        while END_OF_HEAD not in data:
            data += self._receive(request)
        head, _, received = data.partition(END_OF_HEAD)
        length = length_of_body(request, head)
        if length is None or (take is None and length <= _KEPT_BODY):
            while (body := whole_body(request, head, received)) is None:
                received += self._receive(request)
            return Answer(head, body, len(body))
        if take is not None:
            take(memoryview(received))
        self._take(length - len(received), take)
        return Answer(head, length=length)

    def _receive(self, request: Request) -> bytes:
        block = self._socket.recv(65536)
        if not block:
            raise Broken(f"{request.method} {request.path}: the connection ended before the end of an answer")
        return block

    def _take(self, length: int, take: Callable[[memoryview], object] | None) -> None:
        """Read so many bytes; if nobody wants them, have the kernel throw them away, though over TLS it must not."""
        flags = 0 if take or self._is_tls else socket.MSG_TRUNC
        buffer = bytearray(min(length, _READ_SIZE))
        while length:
            taken = self._socket.recv_into(buffer, min(length, len(buffer)), flags)
            if not taken:
                raise Broken(f"the connection ended {length} bytes before the end of an answer")
            if take:
                take(memoryview(buffer)[:taken])
            length -= taken
