"""The server as a process of ours, for requirements about its death, and to test it with one command."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from .tus import Server, eventually
from .wire import Fields

START_LIMIT = 60.0


class Process:
    """A server started by a command with the placeholders `{port}` and `{dir}`, on a directory that outlives it."""

    def __init__(self, command: str, url: str, fields: Fields) -> None:
        self._command = command
        self._fields = fields
        self._port = _free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="tus-conformance-", ignore_cleanup_errors=True)
        self._log = Path(self._directory.name) / "log"
        self._running: subprocess.Popen[bytes] | None = None
        self._trouble = "it ended"
        address = urlsplit(url.replace("{port}", str(self._port)))
        self.url = urlunsplit(address._replace(netloc=f"{address.hostname}:{self._port}"))

    def start(self) -> None:
        """Start it, and return when it has taken an upload of one byte."""
        uploads = Path(self._directory.name) / "uploads"
        uploads.mkdir(exist_ok=True)
        parts = shlex.split(self._command)
        command = [part.replace("{port}", str(self._port)).replace("{dir}", str(uploads)) for part in parts]
        with self._log.open("ab") as output:
            try:
                self._running = subprocess.Popen(  # noqa: S603 -- the command of the person who runs the suite
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
            except OSError as error:
                pytest.exit(f"--server-command: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
        if not eventually(lambda: self.has_ended() or self._takes_an_upload(), START_LIMIT) or self.has_ended():
            self.kill()
            why = f"{shlex.join(command)}\ntakes no upload at {self.url}: {self._trouble}\n{self.last_words()}"
            pytest.exit(why, returncode=pytest.ExitCode.USAGE_ERROR)

    def has_ended(self) -> bool:
        """Whether it has come to an end by itself."""
        return self._running is not None and self._running.poll() is not None

    def answers(self) -> bool:
        """Whether anybody is still answered."""
        try:
            Server(self.url, self._fields).options()
        except (AssertionError, OSError):
            return False
        return True

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """kill -9, with everything that it has started."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()

    def remove(self) -> None:
        self.kill()
        self._directory.cleanup()

    def _takes_an_upload(self) -> bool:
        server = Server(self.url, self._fields)
        try:
            reply = server.patch(server.create(1), 0, b"x")
        except (AssertionError, OSError) as error:
            self._trouble = str(error)
            return False
        self._trouble = f"PATCH was answered with {reply.status}: {reply.body[:200]!r}"
        return reply.status == 204


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
