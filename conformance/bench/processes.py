"""What processes cost, with all that they have started."""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_C = ctypes.CDLL(None)
_PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError)
_FORGET_PEAK = "5"


def cpu_seconds(roots: Iterable[int]) -> float:
    """Processor time in user and kernel mode; of children that ended, what their parents have waited for."""
    total = 0.0
    for pid in _tree(roots):
        with suppress(*_GONE):
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            total += _own_time(pid) + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def peak_memory(roots: Iterable[int]) -> int:
    """The sum of each process's largest number of resident bytes since `forget_peak`."""
    total = 0
    for pid in _tree(roots):
        with suppress(*_GONE):
            found = re.search(r"VmHWM:\s+(\d+) kB", (_PROC / str(pid) / "status").read_text())
            total += int(found[1]) * 1024 if found else 0
    return total


def forget_peak(roots: Iterable[int]) -> None:
    """Let the peak be what is resident now; without the kernel's help (proc(5), clear_refs) it stays."""
    for pid in _tree(roots):
        with suppress(OSError):
            (_PROC / str(pid) / "clear_refs").write_text(_FORGET_PEAK)


def _own_time(pid: int) -> float:
    """To the nanosecond, where /proc has it in hundredths of a second: a round may be as short as a tenth."""
    clock = ctypes.c_int()
    if _C.clock_getcpuclockid(pid, ctypes.byref(clock)) != 0:
        raise ProcessLookupError(pid)
    try:
        return time.clock_gettime(clock.value)
    except OSError as error:
        raise ProcessLookupError(pid) from error


def _tree(roots: Iterable[int]) -> list[int]:
    found = list(roots)
    for pid in found:
        with suppress(*_GONE):
            for children in list((_PROC / str(pid) / "task").glob("*/children")):
                with suppress(*_GONE):
                    found += [int(child) for child in children.read_text().split()]
    return found
