"""Making signed links: how long one takes when many are asked for."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .api import ApiConnection, initiate
from .running import START_LIMIT, Running

_CONNECTIONS = 8
_POLL_INTERVAL = 0.05


@dataclass(frozen=True)
class LinkLoad:
    """So many requests a second for links to `files` files, for `seconds`."""

    rate: float
    files: int
    seconds: float


@dataclass(frozen=True)
class LinkResult:
    """Milliseconds from when a request was due to its answer."""

    median: float
    p99: float
    longest: float
    requests: int

    def __str__(self) -> str:
        return (
            f"link median {self.median:.2f} ms, p99 {self.p99:.2f} ms, longest {self.longest:.1f} ms "
            f"({self.requests} requests)"
        )


def measure_links(server: Running, api_path: str, load: LinkLoad) -> LinkResult:
    with ApiConnection(server, api_path) as api:
        ids = [_make_file(api) for _ in range(load.files)]
    return asyncio.run(_run(server, [f"{api_path}/uploads/{upload_id}/download" for upload_id in ids], load))


def _make_file(api: ApiConnection) -> str:
    """An upload whose file is ready; its id."""
    data = b"x"
    digest = hashlib.sha256(data).hexdigest()
    upload_id: str = initiate(api, len(data), digest)["uploadId"]
    api.ask("PUT", f"/uploads/{upload_id}/chunks/0", [data], X_Chunk_Checksum=digest)
    api.ask("POST", f"/uploads/{upload_id}/complete")
    end = time.monotonic() + START_LIMIT
    while api.ask("GET", f"/uploads/{upload_id}/status")["status"] != "ready":
        if time.monotonic() > end:
            raise SystemExit(f"the file of upload {upload_id} does not become ready")
        time.sleep(_POLL_INTERVAL)
    return upload_id


async def _run(server: Running, paths: Sequence[str], load: LinkLoad) -> LinkResult:
    """A request waits for none before it, as long as a connection is free."""
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", server.port))
    began = time.perf_counter()

    async def ask(path: str, due: float) -> float:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        reader, writer = await free.get()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"no link: {head[:200]!r}")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        free.put_nowait((reader, writer))
        return (time.perf_counter() - due) * 1000

    count = int(load.rate * load.seconds)
    dues = (began + number / load.rate for number in range(count))
    latencies = await asyncio.gather(*map(ask, itertools.islice(itertools.cycle(paths), count), dues))
    while not free.empty():
        free.get_nowait()[1].close()
    return LinkResult(
        median=statistics.median(latencies),
        p99=statistics.quantiles(latencies, n=100)[98],
        longest=max(latencies),
        requests=count,
    )
