"""Operations that are killed before each of their calls of the system in turn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

KILL_AT_EACH_CALL = """
import os, signal, sys
from itertools import count
from pathlib import Path

CALLS = ("open", "fcntl.flock", "os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "os.truncate")


def die_at(number):
    calls = 0

    def at_system_call(name, arguments):
        nonlocal calls
        if name in CALLS:
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(at_system_call)


def kill_at_each_call(root, prepare, operate):
    for number in count(1):
        directory = root / str(number)
        directory.mkdir()
        prepare(directory)
        child = os.fork()
        if not child:
            die_at(number)
            operate(directory)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            sys.exit(status)

"""


def outcomes_of_crashes(root: Path, code: str) -> Iterator[Path]:
    """The directories as an operation leaves them that is killed before its first call, its second one and so on.

    The last one is that of the operation that came to its end. `code` defines `prepare(directory)` and
    `operate(directory)`.
    """
    root.mkdir(exist_ok=True)
    script = f"{KILL_AT_EACH_CALL}{code}\nkill_at_each_call(Path(sys.argv[1]), prepare, operate)"
    subprocess.run([sys.executable, "-c", script, str(root)], check=True)
    yield from sorted(root.iterdir(), key=lambda path: int(path.name))
