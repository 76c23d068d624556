"""Running `tusd-py` as its users do: as a process of its own, spoken to over a socket."""

from __future__ import annotations

import http.client
import os
import re
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream"}

DEADLINE = 60.0
"""Seconds after which something that a test waits for is taken to have failed, also where others use the machine."""

START_DEADLINE = 60.0
"""The same for processes that start: on a machine with other work that is what takes longest."""

ServerStarter = Callable[..., "Server"]


@dataclass(frozen=True)
class Answer:
    """An HTTP response; header names in lower case, the last of equal ones."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The ERR_… code of an error."""
        return self.body.decode().partition(":")[0]


class Server:
    """A running `tusd-py`; `url` is that of the creation resource."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes], upload_dir: Path) -> None:
        self.process = process
        self.log = log
        self.upload_dir = upload_dir
        self.url = ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def request(
        self, method: str, url: str = "", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request on a connection of its own; `url` may be absolute, a path, or empty for the creation resource."""
        connection = self.http_connection()
        try:
            parts = urlsplit(url or self.url)
            target = parts.path + ("?" + parts.query if parts.query else "")
            connection.request(method, target, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def http_connection(self) -> http.client.HTTPConnection:
        """A connection that stays open between requests, over TLS where that is served; nothing is verified."""
        if self.url.startswith("https:"):
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE, context=trusting_anybody())
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def create(self, size: int | None, **headers: str) -> str:
        """Make an upload (size None: deferred) and return its URL; keywords are headers, underscores as dashes."""
        length = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.request("POST", headers=TUS | length | named)
        assert answer.status == 201, answer
        return answer.headers["location"]

    def patch(self, url: str, offset: int, body: bytes, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("PATCH", url, CHUNK | {"Upload-Offset": str(offset)} | named, body)

    def offset(self, url: str) -> int:
        answer = self.request("HEAD", url, TUS)
        assert answer.status == 200, answer
        return int(answer.headers["upload-offset"])

    def path_of(self, url: str) -> Path:
        return self.upload_dir / urlsplit(url).path.removeprefix("/files/")

    def files(self) -> dict[str, bytes]:
        """Everything below the upload directory but what a server has while it runs, sockets and locks, and its keys.

        What is half made would be among it.
        """
        paths = (path for path in self.upload_dir.rglob("*") if path.is_file() and path.name != "signing.keys")
        kept = (path for path in paths if not path.name.startswith(".duty-"))
        return {str(path.relative_to(self.upload_dir)): path.read_bytes() for path in kept}

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """A raw connection, for what a client library would not send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as connection:
            if self.url.startswith("https:"):
                connection = trusting_anybody().wrap_socket(connection)  # noqa: PLW2901
            with connection:
                yield connection

    def raw(self, data: bytes, *, until_closed: bool = True) -> bytes:
        """Send bytes and return what comes back until the server closes (or, else, until the end of one head)."""
        with self.connection() as connection:
            connection.sendall(data)
            return read_all(connection) if until_closed else read_head(connection)

    def output(self) -> str:
        """Everything the server has printed."""
        return Path(self.log.name).read_text(errors="replace")

    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024

    def workers(self) -> list[int]:
        """The processes that serve for this one, with `-workers`."""
        return [pid for pid, (parent, _) in processes().items() if parent == self.pid]

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def close(self) -> None:
        """Kill it, if it runs, and forget what it has printed."""
        self.kill()
        self.log.close()


def start_server(
    upload_dir: Path,
    *flags: str,
    port: int = 0,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    wait: bool = True,
) -> Server:
    """Start the installed command on a free port and wait until it says that it takes uploads.

    `wrapper` is a command that runs the rest of its arguments, in the same process.
    """
    log = tempfile.NamedTemporaryFile(prefix="tusd-py-", suffix=".log")  # noqa: SIM115 -- lives as long as the server
    command = [*wrapper, sys.executable, "-m", "tusd_py", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-upload-dir", str(upload_dir), *flags]
    variables = {**os.environ, **(environment or {})}
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=variables)
    server = Server(process, log, upload_dir)
    if wait:
        try:
            server.url = eventually(lambda: _ready(server), START_DEADLINE)[1]
        except AssertionError:
            server.close()
            raise
    return server


def _ready(server: Server) -> re.Match[str] | None:
    assert server.process.poll() is None, server.output()
    return re.search(r"You can now upload files to: (https?://[^/]+/[^\s\"]*)", server.output())


def free_port() -> int:
    """A port that nobody listens on now, for who cannot be given one that is reserved."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody gets but who asks for it: a socket that is bound and does not listen lets others listen."""
    with socket.socket() as reserving:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserving.bind(("127.0.0.1", 0))
        yield int(reserving.getsockname()[1])


def processes() -> dict[int, tuple[int, str]]:
    """The parent of each process of the machine, and the state that it is in (`Z`: it has ended)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            found[int(path.parent.name)] = (int(parent), state)
    return found


def trusting_anybody() -> ssl.SSLContext:
    """The TLS of a client that takes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def request_head(method: str, path: str, headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()) -> bytes:
    """The head of a request as it goes over the wire, for what a client library would not send."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in pairs)]
    return "\r\n".join([*lines, "", ""]).encode()


def eventually(look: Callable[[], Any], deadline: float = DEADLINE) -> Any:
    """What `look` returns once that is true; fails after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, "what was waited for did not happen"
        threading.Event().wait(0.01)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes, or resets, the connection."""
    data = bytearray()
    try:
        while block := connection.recv(65536):
            data += block
    except ConnectionResetError:
        pass
    return bytes(data)


def read_head(connection: socket.socket) -> bytes:
    """Everything up to the end of one response head (and what came with it)."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            break
        data += block
    return data


def uploads_in(directory: Path) -> list[str]:
    """Names in the upload directory, our own state directory left out."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def has_size(path: Path, size: int) -> Callable[[], bool]:
    """For `eventually`: whether the file has this many bytes."""
    return lambda: path.stat().st_size == size


def is_readable(connection: socket.socket, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(seconds))
