"""`kill -9`, or a stop, at any moment of an upload in chunks: what was acknowledged stays, and becomes a file."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import pytest

from tests import chunked
from tests.chunked import Chunked, Json, Source, announced, fields_of, sha256, state_of
from tests.crash.clients import Connection, KillSwitch
from tests.running import DEADLINE, Answer, Server, ServerStarter, eventually, request_head

ROUNDS = 24
"""Kills on one directory."""
KILLS_PER_STOP = 4
"""Now and then the server is told to stop instead, in another place of its work each time."""
LONG = 60
"""Directories, one after the other, in the long form."""

LONGEST_DELAY = 0.3
LONGEST_COMPLETE = 0.02
"""Seconds."""

Kill = Literal["when bytes were sent", "after a moment", "in complete"]
KILLS: tuple[Kill, ...] = get_args(Kill)
SENDERS = 3
CHUNK_SIZES = (65536, 524288)
"""The bodies of large chunks take another path through the server than those of small ones."""

DYING = Path(__file__).with_name("dying_server.py")
MOST_CALLS = 40


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(LONG if metafunc.config.getoption("--long", default=False) else 1))


# --- clients of a server that is killed under them ---


@dataclass
class Client:
    """A client that sends a file with several senders, and what it knows.

    `acknowledged` are the chunks that were answered with success. With `has_asked` it has asked to make them a file, so
    that may be there; `file_id` is what it knows of it.
    """

    source: Source
    rng: random.Random
    upload: Chunked | None = None
    acknowledged: set[int] = field(default_factory=set)
    has_asked: bool = False
    file_id: str | None = None

    def run(self, connections: Sequence[Connection], when_asked: Callable[[], None]) -> None:
        """Go on until the file is complete or the server is gone (OSError); `when_asked` is called in the end, between
        the question and its answer.
        """
        if self.upload is None:
            body = self.source.announcement()
            self.upload = announced(ask(connections[0], "POST", "/api/uploads/initiate", body), self.source)
        missing = sorted(set(range(self.upload.count)) - self.acknowledged)
        if self.rng.random() < 0.5:
            self.rng.shuffle(missing)
        waiting = iter(missing)
        lock = threading.Lock()
        with ThreadPoolExecutor(len(connections)) as pool:
            senders = [pool.submit(self._send, connection, waiting, lock) for connection in connections]
        for sender in senders:
            sender.result()
        self.has_asked = True
        connections[0].send(request_head("POST", f"{self.upload.path}/complete", {"Content-Length": "0"}))
        when_asked()
        answer = connections[0].answer()
        assert answer.status == 200, answer
        self.file_id = fields_of(answer)["fileId"]

    def _send(self, connection: Connection, waiting: Iterator[int], lock: threading.Lock) -> None:
        assert self.upload is not None
        while True:
            with lock:
                number = next(waiting, None)
                is_wrong = self.rng.random() < 0.1
            if number is None:
                return
            data = self.upload.chunk(number)
            path = f"{self.upload.path}/chunks/{number}"
            if is_wrong:
                answer = ask(connection, "PUT", path, bytes(len(data)), sha256(data))
                assert answer.status == 422, answer
            answer = ask(connection, "PUT", path, data, sha256(data))
            assert answer.status == 200, answer
            self.acknowledged.add(number)


def some_text(rng: random.Random, size: int) -> Source:
    return Source(rng.randbytes(size // 2).hex().encode())


def ask(connection: Connection, method: str, path: str, body: bytes = b"", digest: str = "") -> Answer:
    headers = {"Content-Length": str(len(body))} | ({"X-Chunk-Checksum": digest} if digest else {})
    connection.send(request_head(method, path, headers))
    for start in range(0, len(body), 32768):
        connection.send(body[start : start + 32768])
    return connection.answer()


def run_until_ended(
    server: Server, clients: Sequence[Client], rng: random.Random, kill: Kill, end: signal.Signals
) -> None:
    """Let all clients work at once, and end the server."""
    to_send = sum(len(client.source.data) for client in clients)
    delay = rng.choice([0.0, rng.uniform(0, LONGEST_COMPLETE)])
    send = partial(server.process.send_signal, end)
    switch = KillSwitch(send, after=rng.randint(1, to_send) if kill == "when bytes were sent" else None)

    def when_asked() -> None:
        if kill == "in complete":
            time.sleep(delay)
            switch.fire()

    def run(client: Client) -> None:
        connections = [Connection(server.port, switch) for _ in range(SENDERS)]
        try:
            client.run(connections, when_asked)
        except OSError:
            assert switch.has_fired
        finally:
            for connection in connections:
                connection.close()

    with ThreadPoolExecutor(len(clients)) as pool:
        futures = [pool.submit(run, client) for client in clients]
        wait(futures, timeout=rng.uniform(0, LONGEST_DELAY) if kill == "after a moment" else None)
        switch.fire()
        for future in futures:
            future.result()
    assert server.process.wait(DEADLINE) == (0 if end is signal.SIGTERM else -end)


def look_at(server: Server, client: Client) -> None:
    """What the server says after its restart is what the client may rely on."""
    assert client.upload is not None
    state = chunked.status(server, client.upload)
    assert not client.acknowledged & set(state["missingChunks"])
    assert sorted(state["uploadedChunks"] + state["missingChunks"]) == list(range(client.upload.count))
    client.acknowledged = set(state["uploadedChunks"])
    if "fileId" in state:
        assert client.has_asked
        assert state["status"] in {"processing", "ready"}
        client.file_id = client.file_id or state["fileId"]
        assert client.file_id == state["fileId"]
    else:
        assert client.file_id is None
        assert state["status"] == "uploading"


def has_become_a_file(server: Server, upload: Chunked) -> bool:
    return "fileId" in chunked.status(server, upload)


def expire_the_rest(start: ServerStarter, server: Server) -> Server:
    """Start a server that forgets what nobody comes back for, and takes garbage for old."""
    server.kill()
    for folder in (state_of(server) / "chunks").iterdir():
        os.utime(folder, (0, 0))
    return start("-chunk-expire-after", "1s", upload_dir=server.upload_dir)


def assert_nothing_else_is_left(server: Server, records: Mapping[str, Json]) -> None:
    """On the disk are the uploads that have these records, the records and what an edge may serve, in the end."""
    file_ids = {record["id"] for record in records.values()}

    def leftovers() -> list[str]:
        names = {".tusd-py", *with_ending(records, ".info")}
        paths = [path for path in server.upload_dir.iterdir() if path.name not in names]
        for folder in ("chunks", "pending", "workspace", "unverified"):
            paths += (state_of(server) / folder).iterdir()
        paths += [path for path in (state_of(server) / "files").glob("*/*") if path.stem not in file_ids]
        public = with_ending(file_ids, ".json")
        paths += [path for path in (state_of(server) / "public").iterdir() if path.name not in public]
        return [str(path.relative_to(server.upload_dir)) for path in paths]

    with suppress(AssertionError):
        eventually(lambda: not leftovers())
    assert leftovers() == []


def with_ending(names: Iterable[str], ending: str) -> set[str]:
    """The names, and the names with this ending."""
    return {name + each for name in names for each in ("", ending)}


def test_a_killed_server_asks_for_no_acknowledged_chunk_again_and_every_upload_becomes_a_file(
    start: ServerStarter, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311
    server = start("-chunk-size", str(CHUNK_SIZES[0]))
    clients: list[Client] = []
    abandoned: list[Chunked] = []
    records: dict[str, Json] = {}
    in_chunks = in_complete = 0
    for number in range(ROUNDS + ROUNDS // KILLS_PER_STOP):
        for size in (rng.randint(0, 200_000), rng.randint(0, 3_000_000), rng.randint(2_000_000, 6_000_000)):
            clients.append(Client(some_text(rng, size), random.Random(rng.random())))  # noqa: S311
        is_stop = (number + 1) % (KILLS_PER_STOP + 1) == 0
        end = signal.SIGTERM if is_stop else signal.SIGKILL
        run_until_ended(server, clients, rng, KILLS[number % len(KILLS)], end)
        in_chunks += sum(not client.has_asked for client in clients)
        in_complete += sum(client.has_asked and client.file_id is None for client in clients)

        flags = ["-chunk-size", str(rng.choice(CHUNK_SIZES)), "-durability", rng.choice(["none", "finish", "each"])]
        server = start(*flags, upload_dir=server.upload_dir, port=server.port)
        going_on = []
        for client in clients:
            if client.upload is None:
                continue
            look_at(server, client)
            if client.file_id is not None or rng.random() < 0.4:
                records[client.upload.id] = record = chunked.finish(server, client.upload)
                assert client.file_id in {None, record["id"]}
            elif rng.random() < 0.5:
                going_on.append(client)
            else:
                abandoned.append(client.upload)
        clients = going_on
    assert in_chunks > ROUNDS, "the kills came too early or too late to mean anything"
    assert in_complete, "the kills came too early or too late to mean anything"

    # Of those that nobody came back for, some had become a file without the knowledge of the client.
    abandoned += [client.upload for client in clients if client.upload is not None]
    records |= {upload.id: chunked.finish(server, upload) for upload in abandoned if has_become_a_file(server, upload)}
    server = expire_the_rest(start, server)
    assert_nothing_else_is_left(server, records)
    for upload_id, record in records.items():
        assert sha256((server.upload_dir / upload_id).read_bytes()) == record["checksum"]
        assert fields_of(server.request("GET", f"/api/files/{record['id']}")) == record


# --- a server that is killed before each of its calls of the system in turn ---


@pytest.fixture
def only_long(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("only in the long form")


@pytest.fixture
def uploads(start: ServerStarter) -> tuple[Server, list[Chunked]]:
    """Uploads that lack their last chunk, more of them than an operation has calls; the server is gone."""
    server = start("-chunk-size", str(CHUNK_SIZES[0]))
    rng = random.Random(0)  # noqa: S311
    uploads = []
    for _ in range(MOST_CALLS):
        uploads.append(chunked.initiate(server, some_text(rng, CHUNK_SIZES[0] + 1000)))
        assert chunked.put(server, uploads[-1], 0).status == 200
    server.kill()
    return server, uploads


def tried(
    start: ServerStarter, first: Server, uploads: Sequence[Chunked], operate: Callable[[Server, Chunked], object]
) -> Sequence[Chunked]:
    """Those of the uploads with which something was done: the server died before its first call that names the upload
    or its file, before its second one and so on. With the last one it came to its end.
    """
    for call, upload in enumerate(uploads, 1):
        names = f"{upload.id},{file_id_of(first, upload)}"
        server = start(upload_dir=first.upload_dir, wrapper=[sys.executable, str(DYING), str(call), names])
        try:
            operate(server, upload)
        except (OSError, http.client.HTTPException):
            server.process.wait(DEADLINE)  # else something is wrong with the request
        else:
            server.kill()
            return uploads[:call]
    pytest.fail("there are more calls than uploads")


def file_id_of(server: Server, upload: Chunked) -> str:
    """The id of the file that an upload is, or is to be, which only the server may know."""
    session = state_of(server) / "chunks" / upload.id / "session.json"
    if session.exists():
        return str(json.loads(session.read_bytes())["fileId"])
    return str(json.loads((server.upload_dir / f"{upload.id}.info").read_bytes())["TusdPy"]["FileId"])


def remove(server: Server, upload: Chunked) -> None:
    assert server.request("DELETE", upload.path).status in {204, 404}
    assert server.request("GET", f"{upload.path}/status").status == 404
    assert server.request("GET", f"/files/{upload.id}").status == 404


def test_an_upload_becomes_a_file_or_is_removed_wherever_the_server_has_died_on_the_way(
    start: ServerStarter, uploads: tuple[Server, list[Chunked]], tmp_path: Path
) -> None:
    first, begun = uploads
    interrupted = tried(start, first, begun, chunked.finish)
    assert len(interrupted) > 10, "not all steps were counted"
    # With its hard links. It comes back to the same place, since the uploads know their paths.
    backup = tmp_path / "backup"
    subprocess.run(["cp", "--archive", str(first.upload_dir), str(backup)], check=True)

    server = start(upload_dir=first.upload_dir)
    records = {upload.id: chunked.finish(server, upload) for upload in interrupted}
    server = expire_the_rest(start, server)
    assert_nothing_else_is_left(server, records)
    server.kill()

    shutil.rmtree(first.upload_dir)
    backup.rename(first.upload_dir)
    server = start(upload_dir=first.upload_dir)
    for upload in interrupted:
        remove(server, upload)
    server = expire_the_rest(start, server)
    assert_nothing_else_is_left(server, {})


@pytest.mark.usefixtures("only_long")
@pytest.mark.parametrize("is_file", [False, True], ids=["unfinished", "file"])
def test_what_was_being_removed_can_be_removed_again_wherever_the_server_has_died(
    start: ServerStarter, uploads: tuple[Server, list[Chunked]], is_file: bool
) -> None:
    server, begun = uploads
    if is_file:
        server = start(upload_dir=server.upload_dir)
        for upload in begun:
            chunked.finish(server, upload)
        server.kill()
    interrupted = tried(start, server, begun, remove)
    assert len(interrupted) > 5, "not all steps were counted"
    server = start(upload_dir=server.upload_dir)
    for upload in begun:
        remove(server, upload)
    server = expire_the_rest(start, server)
    assert_nothing_else_is_left(server, {})
