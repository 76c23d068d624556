"""A large file in numbered chunks: speed, cost, and how long `complete` takes."""

from __future__ import annotations

import hashlib
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .api import ApiConnection, Material, Numbers, initiate, make_material, send_chunks
from .running import Running

MIB = 1024 * 1024
GIB = 1024 * MIB

_SAMPLE_INTERVAL = 0.02
_HASHED_AT_ONCE = 64 * MIB


@dataclass(frozen=True)
class ChunkLoad:
    """A file of `size` bytes in chunks from `senders` at once, and once more in order from one; each `rounds` times."""

    size: int
    senders: int
    rounds: int


@dataclass(frozen=True)
class ChunkResult:
    """Medians of the rounds: bytes a second and processor seconds per GiB until `complete` was answered, seconds of
    that; and the peak memory of all rounds in bytes.
    """

    senders: int
    speed: float
    cpu_per_gib: float
    completion: float
    peak_memory: int

    def __str__(self) -> str:
        way = "one sender, in order" if self.senders == 1 else f"{self.senders} senders"
        return (
            f"{way}: {self.speed / MIB:.0f} MiB/s, {self.cpu_per_gib:.2f} CPU s/GiB, "
            f"complete {self.completion * 1000:.0f} ms, peak memory {self.peak_memory / MIB:.0f} MiB"
        )


@dataclass(frozen=True)
class ChunkResults:
    """`hash_speed` is the machine's: bytes a second of SHA-256 in one thread, which every byte goes through twice."""

    hash_speed: float
    results: tuple[ChunkResult, ...]

    def __str__(self) -> str:
        return "\n".join(
            [f"SHA-256 of this machine, one thread: {self.hash_speed / MIB:.0f} MiB/s", *map(str, self.results)]
        )


@dataclass(frozen=True)
class _Round:
    seconds: float
    cpu_seconds: float
    completion: float
    peak_memory: int


def measure_chunks(server: Running, api_path: str, load: ChunkLoad) -> ChunkResults:
    """A first round of each way is not counted: memory that is touched for the first time costs twice."""
    with ApiConnection(server, api_path) as api:
        chunk_size = int(initiate(api, 1, hashlib.sha256(b"x").hexdigest())["chunkSize"])
    material = make_material(load.size, chunk_size)
    results = []
    for senders in (load.senders, 1):
        rounds = [_run(server, api_path, material, senders) for _ in range(load.rounds + 1)][1:]
        results.append(
            ChunkResult(
                senders,
                speed=load.size / statistics.median(each.seconds for each in rounds),
                cpu_per_gib=statistics.median(each.cpu_seconds for each in rounds) / load.size * GIB,
                completion=statistics.median(each.completion for each in rounds),
                peak_memory=max(each.peak_memory for each in rounds),
            )
        )
    return ChunkResults(_hash_speed(), tuple(results))


def _run(server: Running, api_path: str, material: Material, senders: int) -> _Round:
    with ExitStack() as stack:
        connections = [stack.enter_context(ApiConnection(server, api_path)) for _ in range(senders)]
        api = connections[0]
        peak = stack.enter_context(_peak_memory(server))
        used, began = server.cpu_seconds(), time.monotonic()
        upload_id = initiate(api, material.size, material.digest)["uploadId"]
        numbers = Numbers(len(material.digests))
        with ThreadPoolExecutor(senders) as pool:
            for sent in [pool.submit(send_chunks, each, upload_id, material, numbers) for each in connections]:
                sent.result()
        all_sent = time.monotonic()
        api.ask("POST", f"/uploads/{upload_id}/complete")
        ended = time.monotonic()
        cpu_seconds = server.cpu_seconds() - used
        api.ask("DELETE", f"/uploads/{upload_id}")
    return _Round(ended - began, cpu_seconds, ended - all_sent, peak[0])


@contextmanager
def _peak_memory(server: Running) -> Iterator[list[int]]:
    """The largest number of resident bytes seen in the block, in a list of one."""
    peak = [server.memory()]
    has_ended = threading.Event()

    def sample() -> None:
        while not has_ended.wait(_SAMPLE_INTERVAL):
            peak[0] = max(peak[0], server.memory())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        has_ended.set()
        thread.join()


def _hash_speed() -> float:
    data = b"\1" * _HASHED_AT_ONCE
    digest = hashlib.sha256()
    began = time.perf_counter()
    for _ in range(GIB // _HASHED_AT_ONCE):
        digest.update(data)
    return GIB / (time.perf_counter() - began)
