"""A client that asks for an offset again and again, while others keep the server busy.

`python -m conformance.bench.loads.probing PORT PATH` is a process of its own, so that it does not wait for the threads
of the load: it says when it is ready, goes on until its input ends, and writes the milliseconds.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .. import tus
from ..connection import ANSWER_LIMIT, Connection
from ..messages import Broken

_INTERVAL = 0.02


@contextmanager
def probing(port: int, target: str) -> Iterator[list[float]]:
    """Milliseconds of each HEAD in the block; the list is filled at its end."""
    latencies: list[float] = []
    command = [sys.executable, "-m", "conformance.bench.loads.probing", str(port), target]
    prober = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert prober.stdout is not None
        prober.stdout.readline()
        yield latencies
        output, errors = prober.communicate(timeout=ANSWER_LIMIT)
        if prober.returncode != 0:
            raise Broken(f"the client that asks for an offset: {errors.decode()[-2000:]}")
        latencies += json.loads(output)
    finally:
        prober.kill()
        prober.communicate()


def main() -> None:
    latencies: list[float] = []
    with Connection(int(sys.argv[1])) as connection:
        request = tus.head(sys.argv[2])
        connection.ask(request)
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], _INTERVAL)[0]:
            began = time.perf_counter()
            connection.ask(request)
            latencies.append((time.perf_counter() - began) * 1000)
    print(json.dumps(latencies))


if __name__ == "__main__":
    main()
