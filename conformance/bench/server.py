"""A contender that runs: a process of its own on a fresh directory, and what it costs."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from . import tus
from .connection import Connection
from .contenders import PEERS, TLS, Contender
from .lanes import Lane, open_lanes
from .messages import Broken, Lacking, Request
from .processes import cpu_seconds, forget_peak, peak_memory
from .services import SERVICES, answers, free_port, wait_until

_DELETED_AT_ONCE = 8


@dataclass
class Cost:
    """Seconds, processor seconds, and the peak of resident bytes; set when what is measured has ended."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0


class Server:
    """A contender on a directory below `place`, with what `need` adds to its command. It is started by `start`, can be
    used after `wait`, and is gone with its directory after `stop`.
    """

    path = "/files/"
    api_path = "/api"

    def __init__(self, contender: Contender, need: str | None, place: Path) -> None:
        self.name = contender.name
        self.port = free_port()
        self.is_tls = need == TLS
        self.extensions: frozenset[str] = frozenset()
        self.has_pipeline = "{clamd}" in contender.command
        self._words = contender.words(need)
        self._folder = Path(tempfile.mkdtemp(prefix="tus-bench-", dir=place))
        self._uploads = self._folder / "uploads"
        self._log = self._folder / "server.log"
        self._services: list[subprocess.Popen[bytes]] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._uploads.mkdir()
        names = {"port": str(self.port), "dir": str(self._uploads), "python": sys.executable, "peers": str(PEERS)}
        for placeholder, begin in SERVICES.items():
            if any(placeholder in word for word in self._words):
                process, known = begin(self._folder)
                names |= known
                self._services += [process] if process else []
        command = [word.format(**names) for word in self._words]
        with self._log.open("wb") as output:
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- the command of the person who measures
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
            except OSError as error:
                raise Broken(f"{command[0]}: {error}") from error

    def wait(self) -> None:
        """Wait until it listens, and ask for its extensions."""
        assert self._process is not None
        wait_until(lambda: answers(self.port), self._process, self._log)
        with self.connect() as connection:
            for status in (200, 204):
                with suppress(Broken):
                    answer = connection.ask(Request("OPTIONS", self.path, status, tus.VERSION))
                    self.extensions = frozenset((answer.header("tus-extension") or "").replace(" ", "").split(","))
                    return
        raise Broken(f"OPTIONS {self.path} is not answered with 200 or 204")

    def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for service in self._services:
            service.kill()
            service.wait()
        shutil.rmtree(self._folder)

    def connect(self) -> Connection:
        return Connection(self.port, is_tls=self.is_tls)

    def needs(self, *extensions: str) -> None:
        """Raises Lacking if the server does not announce one of these."""
        for extension in extensions:
            if extension not in self.extensions:
                raise Lacking(f"no {extension}")

    def create(self, size: int, further: Mapping[str, str] = MappingProxyType({})) -> str:
        """The path of a new upload."""
        with self.connect() as connection:
            return tus.location(connection.ask(tus.create(self.path, size, further)))

    def remove(self, targets: Sequence[str]) -> None:
        """Take uploads away, by the protocol or else from the directory, which then loses all of them."""
        if "termination" not in self.extensions or self.is_tls:
            for path in self._uploads.iterdir():
                if path.is_file():
                    path.unlink()
            return

        def delete(some: Sequence[str]) -> Lane:
            for target in some:
                yield tus.delete(target)

        count = min(_DELETED_AT_ONCE, len(targets))
        with open_lanes(self.port, count) as lanes:
            lanes.run(delete(targets[number::count]) for number in range(count))

    def check_files(self, size: int, sha256: bytes, count: int = 1) -> None:
        """That there are so many files with these bytes.

        Raises:
            Broken: the bytes on the disk are not those that were sent.
        """
        candidates = [path for path in self._uploads.rglob("*") if path.is_file() and path.stat().st_size == size]
        same = 0
        for path in candidates:
            with path.open("rb") as file:
                same += hashlib.file_digest(file, "sha256").digest() == sha256
        if same < count:
            raise Broken(f"of {count} uploads of {size} bytes, {same} are right on the disk")

    @contextmanager
    def measured(self) -> Iterator[Cost]:
        """What the server and what runs beside it cost in the block."""
        assert self._process is not None
        roots = [self._process.pid, *(service.pid for service in self._services)]
        forget_peak(roots)
        cost, used, began = Cost(), cpu_seconds(roots), time.perf_counter()
        yield cost
        cost.seconds = time.perf_counter() - began
        cost.cpu_seconds = cpu_seconds(roots) - used
        cost.peak_memory = peak_memory(roots)
        if self._process.poll() is not None:
            raise Broken(f"it ended: {self._log.read_text(errors='replace')[-2000:]}")
