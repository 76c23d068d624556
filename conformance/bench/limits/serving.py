"""As much of HTTP/1.1 as the clients of the bench speak: a thread a connection, requests one after the other."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .receiving import MIB, Body

_TLS_READ = 64 * 1024


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    head: bytes
    body: Body

    def header(self, name: bytes) -> bytes | None:
        """The value of a field, by its name as it stands in the request."""
        return _header(self.head, name)


@dataclass(frozen=True)
class File:
    """A body that is sent from a descriptor, which is then closed."""

    descriptor: int
    length: int


@dataclass(frozen=True)
class Response:
    status: str
    headers: bytes = b""
    body: bytes | File = b""


Handler = Callable[[Request], Response]


def serve(port: int, handlers: Mapping[str, Handler], context: ssl.SSLContext | None) -> None:
    """Serve until the process is ended; a handler gets what is below its first segment of the path."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_converse, args=(connection, handlers, context), daemon=True).start()


def _converse(connection: socket.socket, handlers: Mapping[str, Handler], context: ssl.SSLContext | None) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, contextlib.suppress(ConnectionError, ssl.SSLError):
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        buffer = bytearray(_TLS_READ if context else MIB)
        while data := connection.recv(8192):
            while b"\r\n\r\n" not in data:
                more = connection.recv(8192)
                if not more:
                    return
                data += more
            head, _, first = data.partition(b"\r\n\r\n")
            method, path, _ = head.split(b" ", 2)
            length = int(_header(head, b"Content-Length") or 0)
            body = Body(connection, first, length - len(first), buffer)
            request = Request(method.decode(), path.decode(), head, body)
            handler = handlers.get("/" + request.path.split("/", 2)[1])
            _answer(connection, request, handler(request) if handler else Response("404 Not Found"))


def _header(head: bytes, name: bytes) -> bytes | None:
    start = head.find(b"\r\n" + name + b": ")
    if start < 0:
        return None
    end = head.find(b"\r\n", start + 2)
    return head[start + len(name) + 4 : end if end >= 0 else len(head)]


def _answer(connection: socket.socket, request: Request, response: Response) -> None:
    """A HEAD has the length of no body: it is asked for the offset here."""
    body = response.body
    length = body.length if isinstance(body, File) else len(body)
    field = b"" if response.status.startswith("204") else b"Content-Length: %d\r\n" % length
    head = b"HTTP/1.1 %s\r\n%s%s\r\n" % (response.status.encode(), field, response.headers)
    if isinstance(body, bytes):
        connection.sendall(head + (b"" if request.method == "HEAD" else body))
        return
    try:
        connection.sendall(head)
        sent = 0
        while sent < length:
            sent += os.sendfile(connection.fileno(), body.descriptor, sent, length - sent)
    finally:
        os.close(body.descriptor)
