"""Who, of the processes that share a directory, does for all what is to be done once."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tusd_py.core.threads import InThread


class Duties:
    """What is done once, by name; `directory` is where the locks are."""

    def __init__(self, directory: Path, in_thread: InThread) -> None:
        self._directory = directory
        self._in_thread = in_thread
        self._duties: dict[str, Duty] = {}

    async def is_ours(self, name: str) -> bool:
        """Whether we do this from now on."""
        duty = self._duties.setdefault(name, Duty(self._directory / f".duty-{name}"))
        return await self._in_thread(duty.is_ours)

    async def close(self) -> None:
        for duty in self._duties.values():
            await self._in_thread(duty.close)


class Duty:
    """A kernel lock on the file at `path`: who takes it has it until it ends, however it ends.

    It saves work and is no exclusion: where the file system has no such locks, everybody is on duty. Blocks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def is_ours(self) -> bool:
        """Whether we are on duty; nobody else was, if we were not."""
        if self._descriptor >= 0:
            return True
        try:
            # Not for writing: that would keep a file system from being made read-only.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CREAT, 0o600)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            return True
        self._descriptor = descriptor
        return True

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
