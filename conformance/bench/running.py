"""The measured server: a process of its own on a directory of its own, with what it costs."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_LIMIT = 60.0


class Running:
    """A server started by a command with the placeholders `{port}` and `{dir}`; it and its directory go at the end."""

    def __init__(self, command: str, path: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.path = path
        self._directory = Path(tempfile.mkdtemp(prefix="tus-bench-"))
        parts = shlex.split(command)
        self._command = [part.format(port=self.port, dir=self._directory / "uploads") for part in parts]

    def __enter__(self) -> Running:
        self._process = subprocess.Popen(  # noqa: S603 -- the command of the person who measures
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        end = time.monotonic() + START_LIMIT
        while not self._is_listening():
            if self._process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server does not listen on port {self.port}: {shlex.join(self._command)}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._directory)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=START_LIMIT)

    def memory(self) -> int:
        """Resident bytes of the process and all that it started."""
        pages = sum(int((Path("/proc") / str(pid) / "statm").read_text().split()[1]) for pid in self._processes())
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Processor time of the process and all that it started, in user and kernel mode."""
        ticks = 0
        for pid in self._processes():
            fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            for children in (Path("/proc") / str(pid) / "task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        return found

    def _is_listening(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False
