"""A real Redis on a socket, for tests that stop it, pause it, fill it and make it forget."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError

from tests.running import DEADLINE, eventually


class RedisServer:
    """Runs redis-server, without a memory on disk, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.client = Redis.from_url(self.url, decode_responses=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, empty, and wait until it answers."""
        self.start_with("--save", "", "--appendonly", "no", "--port", "0", *options)

    def start_with(self, *options: str) -> None:
        """Start it with other options than a server without a memory on disk has."""
        command = ["redis-server", *options, "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._process = None

    def pause(self) -> None:
        """It stands still, and keeps its connections, until `go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        self.client.flushall()

    def fill(self) -> None:
        """From now on it takes nothing that needs memory."""
        self.client.config_set("maxmemory", 1)

    def empty(self) -> None:
        self.client.config_set("maxmemory", 0)

    def use(self, prefix: str) -> None:
        """Make it one that has been in use for a while: a new one gives no lease for seconds."""
        run = self.client.info("server")["run_id"]
        self.client.mset({f"{{{prefix}}}:leases-from": 1, f"{{{prefix}}}:run": run})

    def replication(self) -> dict[str, object]:
        """What it says of itself as a master or replica; nothing while it becomes the other, and drops connections."""
        try:
            return dict(self.client.info("replication"))
        except NotConnected:
            return {}

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "redis.log").read_text()
        try:
            return bool(self.client.ping())
        except (NotConnected, RedisError):
            return False


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """In a folder whose name is short, since a socket's may have 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.client.close()
            server.kill()
