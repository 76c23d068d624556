"""What runs in a niced child process: one job, on a file at a time.

Started by its path, so that it does not load the whole server: `python child_main.py <path of the job> <options>`.
The options are JSON: `limits` for each file, and the `arguments` of the job. The job is a file too, with a function
`job(descriptor, **arguments)` that returns what can stand in JSON, and bytes.

Standard input is a socket. A byte with a descriptor asks for the job on that file; the answer is two lengths, the JSON
and the bytes. At the end of the socket the process ends, so it does not outlive its parent.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LENGTHS = struct.Struct(">II")
DESCRIPTORS = 16
"""Open files: the three that every process has, the one to work on, and modules that are loaded late."""

Job = Callable[..., tuple[dict[str, Any], bytes]]


def main(path: str, options: str) -> None:
    os.nice(19)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, this process has to go before the server
    # The parent ends this process when it has stopped; a signal to all of its group must not do so before.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    connection = socket.socket(fileno=0)
    document = json.loads(options)
    job: Job = runpy.run_path(path)["job"]
    limits = document["limits"]
    for name, value in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        resource.setrlimit(name, (value, value))
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not request:
            return
        _start_clocks(limits["cpu_seconds"], limits["seconds"])
        answer, body = _answer(job, descriptors[0], document["arguments"])
        os.close(descriptors[0])
        signal.alarm(0)
        head = json.dumps(answer).encode()
        connection.sendall(LENGTHS.pack(len(head), len(body)) + head + body)


def _start_clocks(cpu_seconds: int, seconds: float) -> None:
    """End the process by a signal when it has worked, or waited, for too long."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + cpu_seconds + 1, most))
    signal.alarm(int(seconds) + 1)


def _answer(job: Job, descriptor: int, arguments: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        return job(descriptor, **arguments)
    except MemoryError:
        return {"error": "it needs too much memory"}, b""
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}, b""


if __name__ == "__main__":
    main(*sys.argv[1:])
