"""What the numbers were measured on."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

from .payload import GIB, MIB

_HASHED_MIB = 256


@dataclass(frozen=True)
class Machine:
    """`hash_cpu` is the processor time of one GiB of SHA-256 in seconds, from a buffer that is used again; `load` the
    average of the minute before, in which a quiet machine has almost none.
    """

    description: str
    hash_cpu: float
    load: float

    def __str__(self) -> str:
        return f"{self.description}; SHA-256 {GIB / MIB / self.hash_cpu:.0f} MiB/s; load before: {self.load:.1f}"


def look_at_machine() -> Machine:
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    gibibytes = int(memory[1]) / 1024**2 if memory else 0
    name = cpu[1] if cpu else platform.machine()
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    description = f"{os.cpu_count()} × {name}, {gibibytes:.0f} GiB, {system}"
    return Machine(description, _hash_cpu(), os.getloadavg()[0])


def _hash_cpu() -> float:
    block = os.urandom(MIB)
    digest = hashlib.sha256()
    began = time.thread_time()
    for _ in range(_HASHED_MIB):
        digest.update(block)
    return (time.thread_time() - began) * 1024 / _HASHED_MIB
