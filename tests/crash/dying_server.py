"""Run a Python module, and kill the process before its n-th call of the system that changes something.

    python dying_server.py N NAMES python -m MODULE ARGUMENTS...

NAMES are parts of paths, separated by commas. Counted are the calls that make, link, rename or remove what has such a
name: those after which other names are on the disk than before. What is written into a file is not seen.
"""

from __future__ import annotations

import itertools
import os
import runpy
import signal
import sys

CALLS = frozenset({"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"})


def die_at(number: int, names: list[str]) -> None:
    counter = itertools.count(1)

    def look(call: str, arguments: tuple[object, ...]) -> None:
        if call in CALLS or (call == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
            paths = [os.fsdecode(each) for each in arguments if isinstance(each, str | bytes | os.PathLike)]
            if any(name in path for name in names for path in paths) and next(counter) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


if __name__ == "__main__":
    _, when, what, _, _, module, *arguments = sys.argv
    sys.argv[1:] = arguments
    # The directory of this file is not where the module is to be looked for.
    sys.path[0] = os.getcwd()
    die_at(int(when), what.split(","))
    runpy.run_module(module, run_name="__main__", alter_sys=True)
