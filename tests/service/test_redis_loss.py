"""Two servers over one directory and one Redis that forgets, dies, stands still or is full while clients upload."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from tests.chunked import sha256
from tests.patching import patch_head
from tests.pipeline.clamav import ClamAV, clamav
from tests.redis_server import RedisServer, running_redis
from tests.running import TUS, Answer, Server, ServerStarter, eventually
from tests.web.api import CHUNK, SMALL_CHUNKS, announcement, some_bytes

PATIENCE = 60.0
"""Seconds in which a client that tries again must have come to its end."""

PIECE = 100_000
PIECES = 4


@dataclass(frozen=True)
class Pair:
    """Two servers, which clients use in turn, and their Redis."""

    servers: tuple[Server, Server]
    redis: RedisServer

    def ask(self, turn: int, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Answer | None:
        """None where there was no answer: a client tries again then."""
        try:
            return self.servers[turn % 2].request(method, url, headers, body)
        except (OSError, http.client.HTTPException):
            return None

    def health(self) -> dict[str, object]:
        return dict(json.loads(self.servers[0].request("GET", "/health").body))

    def metrics(self) -> str:
        return self.servers[0].request("GET", "/metrics").body.decode()


@pytest.fixture(scope="module")
def own() -> Iterator[RedisServer]:
    with running_redis() as server:
        server.use("tusd-py")
        yield server


@pytest.fixture(scope="module")
def both(start_shared: ServerStarter, own: RedisServer) -> Pair:
    flags = ("-redis-url", own.url, "-detect", "-expose-metrics", *SMALL_CHUNKS)
    first = start_shared(*flags)
    return Pair((first, start_shared(*flags, upload_dir=first.upload_dir)), own)


@pytest.fixture
def pair(both: Pair) -> Pair:
    """Two servers that all tests of the module use, and a Redis that is well again after the test before."""
    both.redis.empty()
    eventually(lambda: both.health() == {"status": "ok"}, PATIENCE)
    return both


class Progress:
    """How far all clients are, so that trouble comes when each has something to lose."""

    def __init__(self, clients: int) -> None:
        self._begun = threading.Barrier(clients + 1)
        self._go_on = threading.Event()

    def reached(self) -> None:
        """For a client: the first bytes are acknowledged."""
        self._begun.wait(PATIENCE)
        self._go_on.wait(PATIENCE)

    def wait(self) -> None:
        self._begun.wait(PATIENCE)

    def go_on(self) -> None:
        self._go_on.set()


def by_tus(pair: Pair, progress: Progress, seed: int) -> tuple[str, str]:
    """Upload a file in pieces, to one server and the other; the id and what the file's SHA-256 should be."""
    data = some_bytes(PIECE * PIECES, seed)
    answer = pair.servers[0].request("POST", "", TUS | {"Upload-Length": str(len(data))})
    assert answer.status == 201, answer
    path = "/files/" + answer.headers["location"].rpartition("/")[2]
    acknowledged, turn, end = 0, seed, time.monotonic() + PATIENCE
    is_begun = False
    while acknowledged < len(data):
        assert time.monotonic() < end, "the upload did not come to its end"
        turn += 1
        head = pair.ask(turn, "HEAD", path, TUS)
        if head is None or head.status != 200:
            assert head is None or head.status == 423, head
            threading.Event().wait(0.05)
            continue
        offset = int(head.headers["upload-offset"])
        assert offset >= acknowledged, "acknowledged bytes are gone"
        headers = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
        done = pair.ask(turn + 1, "PATCH", path, headers, data[offset : offset + PIECE])
        if done is not None and done.status == 204:
            acknowledged = int(done.headers["upload-offset"])
        else:
            assert done is None or done.status in (400, 409, 423, 503), done
        if acknowledged and not is_begun:
            is_begun = True
            progress.reached()
    return path.rpartition("/")[2], sha256(data)


def by_chunks(pair: Pair, progress: Progress, seed: int) -> tuple[str, str]:
    """The same in numbered chunks, each to the other server than the one before."""
    data = some_bytes(CHUNK * PIECES, seed)
    turn = seed

    def until_200(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        nonlocal turn
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            turn += 1
            answer = pair.ask(turn, method, path, headers, body)
            if answer is not None and answer.status in (200, 201):
                return answer
            assert answer is None or answer.status in (400, 409, 423, 503), answer
            threading.Event().wait(0.05)
        raise AssertionError("the upload did not come to its end")

    announced = json.dumps(announcement(data)).encode()
    begun = until_200("POST", "/api/uploads/initiate", announced, {"Content-Type": "application/json"})
    upload_id = str(json.loads(begun.body)["uploadId"])
    for number in range(PIECES):
        chunk = data[number * CHUNK : (number + 1) * CHUNK]
        path = f"/api/uploads/{upload_id}/chunks/{number}"
        until_200("PUT", path, chunk, {"X-Chunk-Checksum": sha256(chunk)})
        if number == 0:
            progress.reached()
    until_200("POST", f"/api/uploads/{upload_id}/complete", b"", {})
    return upload_id, sha256(data)


def flush(redis: RedisServer) -> None:
    redis.flush()


def restart(redis: RedisServer) -> None:
    redis.kill()
    redis.start()


def pause(redis: RedisServer, seconds: float = 4) -> None:
    """For longer than a lease lives."""
    redis.pause()
    threading.Event().wait(seconds)
    redis.go_on()


def fill(redis: RedisServer) -> None:
    redis.fill()


@pytest.mark.parametrize("trouble", [flush, restart, pause, fill])
def test_all_uploads_come_to_their_end_whatever_becomes_of_redis(
    pair: Pair, trouble: Callable[[RedisServer], None], pytestconfig: pytest.Config
) -> None:
    if trouble is pause and pytestconfig.getoption("long"):
        trouble = partial(pause, seconds=10)
    clients = [(by_tus, 1), (by_tus, 2), (by_chunks, 3)]
    progress = Progress(len(clients))
    with ThreadPoolExecutor(len(clients)) as pool:
        uploads = [pool.submit(client, pair, progress, seed) for client, seed in clients]
        progress.wait()
        progress.go_on()
        trouble(pair.redis)
        for upload_id, digest in [upload.result() for upload in uploads]:
            record = settled(pair.servers[1], upload_id)
            assert record["status"] == "ready", record
            assert record["detectedType"] == "text/plain", record
            data = (pair.servers[0].upload_dir / upload_id).read_bytes()
            assert hashlib.sha256(data).hexdigest() == digest


def test_a_redis_that_is_away_is_named_and_refused_with_a_time_to_come_back(pair: Pair) -> None:
    server = pair.servers[0]
    url = server.create(10)
    downs, recoveries = counted(pair, "down"), counted(pair, "recovered")
    finished = server.create(1)
    assert server.patch(finished, 0, b"x").status == 204
    pair.redis.kill()
    for answer, status in (
        (server.patch(url, 0, b"x"), 503),
        (server.request("HEAD", url, TUS), 423),
        (server.request("DELETE", url, TUS), 503),
    ):
        assert answer.status == status, answer
        assert "retry-after" in answer.headers
    assert server.request("GET", finished).body == b"x"
    assert server.request("HEAD", finished, TUS).headers["upload-offset"] == "1"
    never_met = pair.servers[1].url + finished.rpartition("/")[2]
    assert pair.servers[1].request("HEAD", never_met, TUS).headers["upload-offset"] == "1"
    assert pair.health() == {"status": "unavailable", "part": "state", "code": "ERR_STATE_UNAVAILABLE"}
    assert server.request("GET", "/health").status == 503
    assert "tusd_py_state_well 0.0" in pair.metrics()
    assert counted(pair, "down") > downs
    pair.redis.start()
    eventually(lambda: pair.health() == {"status": "ok"})
    assert counted(pair, "recovered") > recoveries
    assert eventually(lambda: server.patch(url, 0, b"x").status == 204)


def counted(pair: Pair, event: str) -> float:
    found = re.search(rf'tusd_py_state_events_total{{event="{event}"}} (\S+)', pair.metrics())
    return float(found[1]) if found else 0.0


def test_a_redis_that_is_full_is_named_and_uploads_go_on(pair: Pair) -> None:
    server = pair.servers[0]
    pair.redis.fill()
    url = server.create(2)
    assert server.patch(url, 0, b"x").status == 204
    assert server.patch(url, 1, b"x").status == 204
    assert settled(server, url.rpartition("/")[2])["status"] == "ready"
    eventually(lambda: pair.health() == {"status": "degraded", "parts": {"state": "work is not shared"}})
    pair.redis.empty()
    finished = server.create(1)
    assert server.patch(finished, 0, b"x").status == 204
    eventually(lambda: pair.health() == {"status": "ok"})


@pytest.fixture
def scanner() -> Iterator[ClamAV]:
    with clamav() as daemon:
        yield daemon


def test_files_that_wait_for_a_scanner_are_scanned_though_redis_has_forgotten_them(
    start: ServerStarter, own: RedisServer, scanner: ClamAV
) -> None:
    flags = ("-redis-url", own.url, "-redis-prefix", "scanned", "-clamd", scanner.unix, "-scan-trust-limits")
    first = start(*flags)
    second = start(*flags, upload_dir=first.upload_dir)
    scanner.pause()  # jobs are in hands, and in line behind them
    urls = [first.create(4) for _ in range(6)]
    for url in urls:  # on a busy machine Redis may be too slow for a moment, and the server asks to try again
        eventually(partial(was_taken, first, url))
    own.flush()
    second.kill()
    restart(own)
    scanner.resume()
    for url in urls:
        record = settled(first, url.rpartition("/")[2])
        assert (record["status"], record["scanResult"]) == ("ready", "clean"), record


def was_taken(server: Server, url: str) -> bool:
    return server.patch(url, 0, b"file").status != 503


def settled(server: Server, upload_id: str) -> dict[str, object]:
    """The record of a finished upload, once it is settled; any server knows it."""

    def look() -> dict[str, object] | None:
        status = json.loads(server.request("GET", f"/api/uploads/{upload_id}/status").body)
        if "fileId" not in status:
            return None
        record: dict[str, object] = json.loads(server.request("GET", f"/api/files/{status['fileId']}").body)
        return record if record["status"] != "processing" else None

    found = eventually(look, PATIENCE)
    assert isinstance(found, dict)
    return found


# --- takeover between hosts ---


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_a_stalled_request_on_another_host_is_replaced(pair: Pair, method: str) -> None:
    first, second = pair.servers
    url = first.create(10_000)
    same = second.url + url.rpartition("/")[2]
    with first.connection() as stalled:
        stalled.sendall(patch_head(url, 0, 10_000) + b"x" * 1000)
        eventually(lambda: first.path_of(url).stat().st_size == 1000)
        if method == "PATCH":
            assert second.patch(same, 1000, b"yyy").headers["upload-offset"] == "1003"
        else:
            assert second.request(method, same, TUS).status == (200 if method == "HEAD" else 204)
        assert b"ERR_UPLOAD_INTERRUPTED" in stalled.recv(10_000)


def test_an_upload_that_expired_on_one_host_has_expired_on_the_other(start: ServerStarter, own: RedisServer) -> None:
    flags = ("-redis-url", own.url, "-redis-prefix", "expiring", "-expire-after", "2s")
    first = start(*flags)
    second = start(*flags, upload_dir=first.upload_dir)
    url = first.create(10)
    eventually(lambda: not first.path_of(url).exists())
    for server in (first, second):
        assert server.request("HEAD", server.url + url.rpartition("/")[2], TUS).status == 410
