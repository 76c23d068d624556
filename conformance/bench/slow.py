"""Many slow uploads and idle connections at once: what they cost, and what another client notices of them."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import resource
import socket
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from .running import Running

RATE = 16 * 1024
"""Bytes a second of one upload."""

_TURNS = 4
_STARTS_PER_SECOND = 100
_PROBE_INTERVAL = 0.05


@dataclass(frozen=True)
class SlowLoad:
    """`uploads` at once, beside `idle` connections that send nothing, for `seconds`."""

    uploads: int
    idle: int
    seconds: float


@dataclass(frozen=True)
class SlowResult:
    """Peak memory in bytes, share of one processor, and milliseconds of a HEAD on an upload that nobody writes."""

    peak_memory: int
    cpu_share: float
    head_median: float
    head_p99: float
    heads: int
    unfinished: int

    def __str__(self) -> str:
        return (
            f"peak memory {self.peak_memory / 1024**2:.0f} MiB, CPU {self.cpu_share * 100:.0f} % of one core, "
            f"HEAD median {self.head_median:.1f} ms, p99 {self.head_p99:.1f} ms ({self.heads} requests), "
            f"{self.unfinished} uploads not finished"
        )


def measure_slow_uploads(server: Running, load: SlowLoad) -> SlowResult:
    """Run the load from this process and the HEAD requests from another, so that they do not wait for each other."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return asyncio.run(_run(server, load))


async def _run(server: Running, load: SlowLoad) -> SlowResult:
    """Start everything first; measure while all of it goes on."""
    size = int(load.seconds + load.uploads / _STARTS_PER_SECOND) * RATE
    idle = [server.connect() for _ in range(load.idle)]
    uploads = []
    for _ in range(load.uploads):
        uploads.append(asyncio.create_task(_upload(server, _create(server, size), size)))
        await asyncio.sleep(1 / _STARTS_PER_SECOND)
    peak, began, before = server.memory(), time.monotonic(), server.cpu_seconds()
    ours, theirs = multiprocessing.Pipe()
    prober = multiprocessing.Process(target=_probe, args=(server.port, _create(server, RATE), theirs))
    prober.start()
    while time.monotonic() < began + load.seconds - 1:
        peak = max(peak, server.memory())
        await asyncio.sleep(0.5)
    ours.send("enough")
    latencies: list[float] = await asyncio.to_thread(ours.recv)
    elapsed, used = time.monotonic() - began, server.cpu_seconds() - before
    prober.join()
    finished = await asyncio.gather(*uploads)
    for connection in idle:
        connection.close()
    return SlowResult(
        peak_memory=peak,
        cpu_share=used / elapsed,
        head_median=statistics.median(latencies),
        head_p99=statistics.quantiles(latencies, n=100)[98],
        heads=len(latencies),
        unfinished=finished.count(False),
    )


async def _upload(server: Running, target: str, size: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = (
        f"PATCH {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {size}\r\n\r\n"
    )
    try:
        writer.write(head.encode())
        piece = bytes(RATE // _TURNS)
        due = time.monotonic()
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()
            due += 1 / _TURNS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        return b" 204 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()


def _create(server: Running, size: int) -> str:
    """Make an upload, and return its path."""
    head = f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nUpload-Length: {size}\r\n"
    with server.connect() as connection:
        connection.sendall(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while block := connection.recv(65536):
            answer += block
    location = re.search(rb"(?i)\r\nlocation: *(?:https?://[^/]+)?(\S+)", answer)
    if location is None:
        raise SystemExit(f"no upload was created: {answer[:200]!r}")
    return location[1].decode()


def _probe(port: int, target: str, results: Connection) -> None:
    """Ask for the offset again and again on one connection; send the times in milliseconds."""
    request = f"HEAD {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()
    latencies = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        while not results.poll(_PROBE_INTERVAL):
            began = time.perf_counter()
            connection.sendall(request)
            while b"\r\n\r\n" not in connection.recv(65536):
                pass
            latencies.append((time.perf_counter() - began) * 1000)
    results.send(latencies)
