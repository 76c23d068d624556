"""A receiver of HTTP hooks: a server in threads of its own that remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.server.certificates import files_in

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Reply:
    """What is answered; `delay` in seconds comes before it, `pause` between its head and its body."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    delay: float = 0.0
    pause: float = 0.0
    hangs_up: bool = False


@dataclass(frozen=True)
class Received:
    """A request: its headers as they came, in order and case."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float

    def values(self, name: str) -> list[str]:
        return [value for other, value in self.headers if other.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Answers with `replies` in turn, and with the last of them for ever."""

    def __init__(self, replies: tuple[Reply, ...]) -> None:
        self.replies = list(replies) or [Reply()]
        self.received: list[Received] = []
        self.connections = 0
        self.url = ""
        self._lock = threading.Lock()

    def take(self, received: Received) -> Reply:
        with self._lock:
            self.received.append(received)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    @property
    def bodies(self) -> list[Any]:
        return [received.document for received in self.received]


@contextmanager
def receiver(
    *replies: Reply, port: int = 0, wrap: Callable[[ThreadingHTTPServer], None] | None = None
) -> Iterator[Receiver]:
    """A receiver on a free port of this machine; `wrap` may put TLS around its socket."""
    found = Receiver(replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            found.connections += 1

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            if len(body) < length:  # from a server that was killed
                self.close_connection = True
                return
            reply = found.take(Received(self.command, self.path, self.headers.items(), body, time.monotonic()))
            time.sleep(reply.delay)
            if reply.hangs_up:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in reply.headers:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            time.sleep(reply.pause)
            self.wfile.write(reply.body)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 100

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is what some tests are about."""

    server = Server(("127.0.0.1", port), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    if wrap is not None:
        wrap(server)
        found.url = found.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def with_tls(directory: Path) -> Callable[[ThreadingHTTPServer], None]:
    """For `receiver`: TLS with a certificate of nobody's."""
    files = files_in(directory)
    files.hold("localhost")

    def wrap(server: ThreadingHTTPServer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)

    return wrap
