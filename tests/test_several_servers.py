"""Two servers with two workers each over one directory: their clients go from one to the other with every request."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chunked import Chunked, Source, announced, fields_of, sha256
from tests.conftest import starting_in
from tests.redis_server import RedisServer, running_redis
from tests.running import CHUNK, TUS, Answer, Server, ServerStarter, eventually, processes, reserved_port

MIB = 1024 * 1024
PATIENCE = 120.0
"""Seconds within which something of what a client does must come to its end, whatever is done to the servers."""


@dataclass
class Pair:
    """Two servers, each of which may be killed; nobody else gets their ports meanwhile."""

    starter: ServerStarter
    flags: tuple[str, ...]
    ports: tuple[int, int]
    servers: list[Server] = field(default_factory=list)

    def __post_init__(self) -> None:
        with ThreadPoolExecutor() as pool:
            self.servers += pool.map(self._start, range(2))
        self._turns = itertools.cycle(range(2))

    def _start(self, number: int) -> Server:
        return self.starter("-workers", "2", *self.flags, port=self.ports[number])

    def kill(self, number: int) -> None:
        """The supervisor and its workers, all at once."""
        server = self.servers[number]
        pids = [server.pid, *server.workers()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        server.process.wait()
        eventually(lambda: not any(state != "Z" for pid, (_, state) in processes().items() if pid in pids))

    def restart(self, number: int) -> None:
        self.servers[number] = self._start(number)

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer | None:
        """At the server whose turn it is; None where there is no answer."""
        try:
            return self.servers[next(self._turns)].request(method, path, headers, body)
        except (OSError, http.client.HTTPException):
            return None

    def insist(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        until: tuple[int, ...],
    ) -> Answer:
        """Again and again, as long as it is not answered with one of these."""
        end = time.monotonic() + PATIENCE
        while (answer := self.request(method, path, headers, body)) is None or answer.status not in until:
            assert answer is None or answer.status not in (404, 410), f"lost: {method} {path}"
            assert time.monotonic() < end, (method, path, answer)
            threading.Event().wait(0.1)
        return answer


@contextmanager
def two_servers(starter: ServerStarter, *flags: str) -> Iterator[Pair]:
    with reserved_port() as first, reserved_port() as second:
        yield Pair(starter, flags, (first, second))


# --- three kinds of clients ---


def create(pair: Pair, **headers: str) -> str:
    """The path of a new upload."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = pair.insist("POST", "/files/", TUS | named, until=(201,))
    return "/files/" + answer.headers["location"].rpartition("/files/")[2]


def send_by_tus(pair: Pair, data: bytes, **headers: str) -> str:
    path = create(pair, Upload_Length=str(len(data)), **headers)
    end = time.monotonic() + PATIENCE
    while (offset := offset_of(pair, path)) < len(data):
        assert time.monotonic() < end, (path, offset)
        pair.request("PATCH", path, CHUNK | {"Upload-Offset": str(offset)}, data[offset : offset + 5 * MIB])
    return path


def offset_of(pair: Pair, path: str) -> int:
    return int(pair.insist("HEAD", path, TUS, until=(200,)).headers["upload-offset"])


def content(size: int) -> bytes:
    return base64.b64encode(os.urandom(size))[:size]


def upload_by_tus(pair: Pair, size: int) -> tuple[str, bytes]:
    data = content(size)
    return send_by_tus(pair, data).removeprefix("/files/"), data


def upload_in_parts(pair: Pair, size: int) -> tuple[str, bytes]:
    parts = [content(size // 3) for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(lambda part: send_by_tus(pair, part, Upload_Concat="partial"), parts))
    return create(pair, Upload_Concat="final;" + " ".join(paths)).removeprefix("/files/"), b"".join(parts)


def upload_in_chunks(pair: Pair, size: int) -> tuple[str, bytes]:
    source = Source(content(size))
    begun = pair.insist("POST", "/api/uploads/initiate", body=source.announcement(), until=(201,))
    upload = announced(begun, source)
    end = time.monotonic() + PATIENCE
    while True:
        status = fields_of(pair.insist("GET", f"{upload.path}/status", until=(200,)))
        with ThreadPoolExecutor(4) as senders:
            list(senders.map(lambda number: put(pair, upload, number), status["missingChunks"]))
        answer = pair.insist("POST", f"{upload.path}/complete", until=(200, 409))
        if answer.status == 200:
            break
        assert time.monotonic() < end, (upload.id, answer)
    file_id = fields_of(answer)["fileId"]

    def is_ready() -> bool:
        record = fields_of(pair.insist("GET", f"/api/files/{file_id}", until=(200,)))
        assert record["status"] in ("processing", "ready"), record
        return bool(record["status"] == "ready")

    eventually(is_ready, PATIENCE)
    return upload.id, source.data


def put(pair: Pair, upload: Chunked, number: int) -> None:
    data = upload.chunk(number)
    pair.request("PUT", f"{upload.path}/chunks/{number}", {"X-Chunk-Checksum": sha256(data)}, data)


KINDS: tuple[Callable[[Pair, int], tuple[str, bytes]], ...] = (upload_by_tus, upload_in_chunks, upload_in_parts)


# --- what is done to them ---


class Harm:
    """One after the other: a server dies and comes back, and Redis forgets, or dies and comes back empty."""

    def __init__(self, pair: Pair, redis: RedisServer, pause: float) -> None:
        self.rounds = 0
        self._pair = pair
        self._redis = redis
        self._pause = pause
        self._is_enough = threading.Event()

    @contextmanager
    def done(self) -> Iterator[None]:
        with ThreadPoolExecutor(1) as pool:
            doing = pool.submit(self._do)
            try:
                yield
            finally:
                self._is_enough.set()
                doing.result()

    def _do(self) -> None:
        while not self._is_enough.wait(self._pause):
            number = self.rounds % 2
            self._pair.kill(number)
            if number:
                self._redis.flush()
            else:
                self._redis.kill()
                self._redis.start()
            self._pair.restart(number)
            self.rounds += 1


def test_files_are_whole_whatever_happens_to_servers_and_redis(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    is_long = pytestconfig.getoption("long")
    files, rounds, size = (60, 40, 16 * MIB) if is_long else (3, 2, 8 * MIB)
    flags = ("-chunk-size", str(MIB), "-verbose=false")
    with (
        running_redis() as redis,
        starting_in(tmp_path) as starter,
        two_servers(starter, "-redis-url", redis.url, *flags) as pair,
    ):
        harm = Harm(pair, redis, pause=2.0)
        digests: dict[str, str] = {}

        def upload_on(number: int) -> None:
            """File after file, until there are enough, and enough was done to the servers meanwhile."""
            for kind in itertools.islice(itertools.cycle(KINDS), number, None):
                upload_id, data = kind(pair, size + number)
                digests[upload_id] = hashlib.sha256(data).hexdigest()
                if len(digests) >= files and harm.rounds >= rounds:
                    return

        with harm.done(), ThreadPoolExecutor() as pool:
            for uploading in [pool.submit(upload_on, number) for number in range(3)]:
                uploading.result()
        for upload_id, digest in digests.items():
            assert sha256((pair.servers[0].upload_dir / upload_id).read_bytes()) == digest, upload_id
        assert len(digests) >= files


# --- races ---


@pytest.mark.parametrize("state", ["files", "redis"])
def test_of_clients_that_race_for_an_offset_one_wins_at_most(
    start: ServerStarter, redis: RedisServer, state: str, pytestconfig: pytest.Config
) -> None:
    rounds = 500 if pytestconfig.getoption("long") else 20
    flags = ("-redis-url", redis.url, "-redis-prefix", "race") if state == "redis" else ()
    if flags:
        redis.use("race")
    size = 256 * 1024
    with two_servers(start, "-verbose=false", *flags) as pair, ThreadPoolExecutor(32) as pool:
        for _ in range(rounds):
            path = create(pair, Upload_Length=str(2 * size))
            at_once = threading.Barrier(32)

            def race(number: int, path: str = path, at_once: threading.Barrier = at_once) -> int:
                server = pair.servers[number % 2]
                at_once.wait()
                return server.request("PATCH", path, CHUNK | {"Upload-Offset": "0"}, bytes([number]) * size).status

            statuses = list(pool.map(race, range(32)))
            assert statuses.count(204) <= 1, statuses
            assert set(statuses) <= {204, 400, 409, 423, 503}, statuses
            offset = offset_of(pair, path)
            written = (pair.servers[0].upload_dir / path.removeprefix("/files/")).read_bytes()
            assert len(written) == offset
            assert len(set(written)) <= 1, "bytes of more than one writer"
            rest = b"\xff" * (2 * size - offset)
            answer = pair.insist("PATCH", path, CHUNK | {"Upload-Offset": str(offset)}, rest, until=(204,))
            assert answer.headers["upload-offset"] == str(2 * size)
