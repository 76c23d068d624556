"""What this process has open, and the child processes that the pipeline has started in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

DEADLINE = 60.0


def child_pids() -> list[int]:
    """Those that run or are not reaped yet."""
    found = []
    for path in Path("/proc").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):
            if path.name.isdecimal() and parent_of(path) == os.getpid() and is_ours(path):
                found.append(int(path.name))
    return found


def has_ended(pid: int) -> bool:
    """Whether a process has ended, be it reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def parent_of(path: Path) -> int:
    return int((path / "stat").read_text().rpartition(")")[2].split()[1])


def is_ours(path: Path) -> bool:
    """A process that has ended tells no command any more; a daemon of another test has not ended."""
    command = (path / "cmdline").read_bytes()
    return b"child_main.py" in command or not command


def open_files() -> list[str]:
    """The paths behind the descriptors of this process."""
    paths = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            paths.append(os.readlink(f"/proc/self/fd/{name}"))
    return paths


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
