"""Child processes for what reads strangers' bytes with C libraries: niced, limited, and killed when they are not done.

A child gets an open descriptor and nothing else that belongs to an upload: no name, no path, none of our environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tusd_py.core.threads import InThread
from tusd_py.pipeline import TryLater
from tusd_py.pipeline.child_main import LENGTHS

RETRY_DELAY = 10.0
"""Seconds until another process is tried where the system had no room for one."""

EXIT_TIME = 5.0
"""Seconds that a process may take to exit, once it has closed its socket."""

_MAIN = Path(__file__).with_name("child_main.py")
_PASSED_ON = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "MAGIC")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost: `memory` in bytes of address space, seconds of processor time and of waiting.

    `answer` is the number of bytes that a child may send back.
    """

    memory: int
    cpu_seconds: int
    seconds: float
    answer: int


class ChildFailed(Exception):
    """The child did not do its job on this file; the text says why.

    `may_pass` tells what need not be the fault of the file: a child that was killed, could not begin, or waited.
    """

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


class Child:
    """A child process for one job; it is started when it is needed, and again when it has died.

    For one caller at a time. `job` is the path of the job's module; see `child_main`.
    """

    def __init__(self, job: Path, arguments: Mapping[str, Any], limits: Limits, in_thread: InThread) -> None:
        options = {"limits": asdict(limits), "arguments": dict(arguments)}
        self._command = [sys.executable, "-BSP", str(_MAIN), str(job), json.dumps(options)]
        self._limits = limits
        self._in_thread = in_thread
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket

    async def ask(self, descriptor: int) -> tuple[dict[str, Any], bytes]:
        """The job's answer about an open file.

        Raises `ChildFailed`, and `TryLater` where no process can be started. When this is cancelled, or the process
        misbehaves, it is gone at the end.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                if self._process is not None and self._process.poll() is not None:
                    await self.end()  # it died while nobody wanted anything of it
                if self._process is None:
                    await self._in_thread(self._start)
                answer, body = await self._exchange(descriptor)
        except (ConnectionError, EOFError):
            raise self._failure(await self.end(grace=EXIT_TIME)) from None
        except TimeoutError:
            await self.end()
            raise ChildFailed(f"it was not done after {self._limits.seconds:g} s", may_pass=True) from None
        except OSError as error:
            await self.end()
            raise TryLater(f"no child process: {error}", delay=RETRY_DELAY) from error
        except BaseException:
            await self.end()
            raise
        if "error" in answer:
            raise ChildFailed(str(answer["error"]))
        return answer, body

    async def end(self, grace: float = 0.0) -> int | None:
        """Kill the process, if there is one, after `grace` seconds; how it ended, as `Popen.returncode` says it."""
        process, self._process = self._process, None
        if process is None:
            return None
        self._connection.close()
        return await self._in_thread(_ended, process, grace)

    def _start(self) -> None:
        # Modules are found where this process finds them, and nowhere else. The environment may hold secrets.
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and files
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    process_group=0,
                )
            except BaseException:
                ours.close()
                raise
        self._connection = ours

    async def _exchange(self, descriptor: int) -> tuple[dict[str, Any], bytes]:
        socket.send_fds(self._connection, [b"\0"], [descriptor])
        head_length, body_length = LENGTHS.unpack(await self._receive(LENGTHS.size))
        if head_length + body_length > self._limits.answer:
            raise ChildFailed("the answer is too long")
        head, body = await self._receive(head_length), await self._receive(body_length)
        try:
            answer = json.loads(head)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ChildFailed("the answer makes no sense")
        return answer, body

    async def _receive(self, length: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < length:
            piece = await loop.sock_recv(self._connection, length - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def _failure(self, status: int | None) -> ChildFailed:
        if status is None or status >= 0:
            return ChildFailed(f"the process ended with status {status}", may_pass=True)
        number = signal.Signals(-status)
        if number is signal.SIGXCPU:
            return ChildFailed(f"it took more than {self._limits.cpu_seconds} s of processor time")
        return ChildFailed(f"the process ended with {number.name}", may_pass=number is signal.SIGKILL)


def _ended(process: subprocess.Popen[bytes], grace: float) -> int:
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    process.kill()
    return process.wait()
