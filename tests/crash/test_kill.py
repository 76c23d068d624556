"""`kill -9`, or a stop, at any moment: what was acknowledged is there, what was not verified does not count."""

from __future__ import annotations

import hashlib
import json
import random
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import pytest

from tests.crash.clients import Check, Concatenation, Connection, KillSwitch, Upload, metadata
from tests.running import DEADLINE, TUS, Server, ServerStarter, eventually

ROUNDS = 25
"""Kills on one directory."""
KILLS_PER_STOP = 5
"""Now and then the server is told to stop instead."""
LONG = 80
"""Directories, one after the other, in the long form."""

ROUNDS_WITH_SAME_PARTS = 5
LONGEST_DELAY = 0.3
"""Seconds."""

KIB = 1024
MIB = 1024 * 1024


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(LONG if metafunc.config.getoption("--long", default=False) else 1))


def new_uploads(prefix: str, rng: random.Random) -> list[Upload]:
    """One of each kind; bodies of more than 256 KiB take another path through the server than smaller ones."""

    def upload(
        kind: str,
        size: int,
        largest_piece: int,
        *,
        is_chunked: bool = False,
        check: Check = "none",
        is_deferred: bool = False,
        with_first_piece: bool = False,
    ) -> Upload:
        own = random.Random(rng.random())  # noqa: S311 -- each thread has its own
        source = own.randbytes(rng.randint(size // 2, size))
        return Upload(f"{prefix} {kind}", source, own, largest_piece, is_chunked, check, is_deferred, with_first_piece)

    either = rng.random() < 0.5
    return [
        upload("small bodies", 300 * KIB, 40 * KIB),
        upload("large bodies", 4 * MIB, 2 * MIB),
        upload("chunked coding", 2 * MIB, 600 * KIB, is_chunked=True),
        upload("checksum", 3 * MIB, MIB, check="header"),
        upload("checksum and chunked coding", MIB, 300 * KIB, is_chunked=True, check="trailer" if either else "header"),
        upload("deferred length", MIB, 300 * KIB, is_deferred=True, is_chunked=either),
        upload("creation with upload", 2 * MIB, 2 * MIB, with_first_piece=True, is_chunked=either),
        upload("creation with checked upload", 2 * MIB, 2 * MIB, with_first_piece=True, check="header"),
    ]


def create_parts(server: Server, rng: random.Random, prefix: str) -> list[Upload]:
    """Partial uploads, whole."""
    parts = []
    for number in range(3):
        part = Upload(f"{prefix} part {number}", rng.randbytes(rng.randint(MIB, 3 * MIB)), rng, MIB)
        part.url = server.create(part.size, Upload_Concat="partial", Upload_Metadata=metadata(part.name))
        answer = server.patch(part.url, 0, part.source)
        assert answer.status == 204, (part.name, answer)
        part.acknowledged = part.size
        parts.append(part)
    return parts


def run_until_ended(
    server: Server, clients: Sequence[Upload | Concatenation], rng: random.Random, end: signal.Signals
) -> None:
    """Let all clients work at once and end the server when some bytes were sent, or after a moment."""
    is_by_bytes = rng.random() < 0.5
    to_send = sum(client.size - client.acknowledged for client in clients if isinstance(client, Upload))
    kill = partial(server.process.send_signal, end)
    switch = KillSwitch(kill, after=rng.randint(1, to_send) if is_by_bytes else None)

    def run(client: Upload | Concatenation) -> None:
        connection = Connection(server.port, switch)
        try:
            client.run(connection, urlsplit(server.url).path)
        except OSError:
            assert switch.has_fired, client.name
        finally:
            connection.close()

    with ThreadPoolExecutor(len(clients)) as pool:
        futures = [pool.submit(run, client) for client in clients]
        wait(futures, timeout=None if is_by_bytes else rng.uniform(0, LONGEST_DELAY))
        switch.fire()
        for future in futures:
            future.result()
    assert server.process.wait(DEADLINE) == (0 if end is signal.SIGTERM else -end)


def ids_by_name(server: Server) -> dict[str, str]:
    """All uploads on the disk, by the name in their metadata; each is described in whole and has its data file."""
    ids: dict[str, str] = {}
    for path in server.upload_dir.glob("*.info"):
        description = json.loads(path.read_bytes())
        name = description["MetaData"]["name"]
        assert description["ID"] == path.stem, name
        assert path.with_suffix("").exists(), name
        assert name not in ids, name
        ids[name] = path.stem
    return ids


def id_of(upload: Upload) -> str:
    return upload.url.rpartition("/")[2]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def look_at(server: Server, upload: Upload) -> None:
    """HEAD says what the client may rely on, and the bytes up to there are the client's."""
    head = server.request("HEAD", upload.url, TUS)
    assert head.status == 200, (upload.name, head)
    offset = int(head.headers["upload-offset"])
    assert offset in upload.possible_offsets(), (upload.name, offset, upload.possible_offsets(), upload.pending)
    assert server.path_of(upload.url).read_bytes()[:offset] == upload.source[:offset], upload.name
    is_declared = "upload-defer-length" not in head.headers
    assert is_declared in {upload.declared, upload.may_be_declared}, (upload.name, head)
    if is_declared:
        assert head.headers["upload-length"] == str(upload.size), (upload.name, head)
    upload.settle(offset, is_declared=is_declared)


def resume(server: Server, upload: Upload) -> None:
    """Send one byte and then all that is missing; the whole is then the client's, on the disk and by download."""
    length = {} if upload.declared else {"Upload_Length": str(upload.size)}
    start = upload.acknowledged
    for end in (min(start + 1, upload.size), upload.size):
        answer = server.patch(upload.url, start, upload.source[start:end], **length)
        assert answer.status == 204, (upload.name, answer)
        start = end
    upload.settle(upload.size, is_declared=True)
    look_at(server, upload)
    assert digest(server.path_of(upload.url).read_bytes()) == digest(upload.source), upload.name
    assert digest(server.request("GET", upload.url).body) == digest(upload.source), upload.name


def found_again(server: Server, uploads: Sequence[Upload], ids: Mapping[str, str]) -> Iterator[Upload]:
    """The uploads that are there: all that the client has a URL of, and those whose URL was lost with the answer."""
    for upload in uploads:
        assert upload.name in ids or not upload.url, upload.name
        if upload.name in ids:
            upload.url = server.url + ids[upload.name]
            yield upload


def whole_finals(server: Server, concatenation: Concatenation, ids: Mapping[str, str]) -> Iterator[str]:
    """The ids of the final uploads that are there: all that were answered, and each is whole."""
    for name, url in concatenation.urls.items():
        assert name in ids or not url, name
        if name in ids:
            head = server.request("HEAD", server.url + ids[name], TUS)
            size = str(len(concatenation.source))
            assert (head.headers["upload-offset"], head.headers["upload-length"]) == (size, size), (name, head)
            assert head.headers["upload-concat"].startswith("final;"), (name, head)
            assert digest((server.upload_dir / ids[name]).read_bytes()) == digest(concatenation.source), name
            yield ids[name]


def leftovers(server: Server, finished: Collection[str]) -> list[str]:
    """What is on the disk beside the finished uploads."""
    names = {".tusd-py", *finished, *(f"{upload_id}.info" for upload_id in finished)}
    paths = [path for path in server.upload_dir.iterdir() if path.name not in names]
    for folder in ("workspace", "unverified"):
        paths += (server.upload_dir / ".tusd-py" / folder).iterdir()
    return [str(path.relative_to(server.upload_dir)) for path in paths]


def test_what_was_acknowledged_survives_any_kill_and_everything_can_be_resumed(start: ServerStarter, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    server = start()
    parts: list[Upload] = []
    uploads: list[Upload] = []
    finished: dict[str, str] = {}
    interrupted = 0
    for number in range(ROUNDS + ROUNDS // KILLS_PER_STOP):
        prefix = f"seed {seed} round {number}"
        if number % ROUNDS_WITH_SAME_PARTS == 0:
            parts = create_parts(server, rng, prefix)
            finished |= {id_of(part): digest(part.source) for part in parts}
        concatenation = Concatenation(f"{prefix} final", parts, count=rng.randint(1, 4))
        uploads += new_uploads(prefix, rng)
        is_stop = (number + 1) % (KILLS_PER_STOP + 1) == 0
        run_until_ended(server, [*uploads, concatenation], rng, signal.SIGTERM if is_stop else signal.SIGKILL)
        interrupted += sum(upload.pending is not None for upload in uploads)

        durability = rng.choice(["none", "finish", "each"])
        server = start("-durability", durability, upload_dir=server.upload_dir, port=server.port)
        ids = ids_by_name(server)
        uploads = list(found_again(server, uploads, ids))
        for upload in [*uploads, *parts]:
            look_at(server, upload)
        for upload in uploads:
            if upload.is_complete or rng.random() < 0.6:
                resume(server, upload)
                finished[id_of(upload)] = digest(upload.source)
        # Some go on in the next round, some are never heard of again.
        uploads = [upload for upload in uploads if not upload.is_complete and rng.random() < 0.5]
        for upload_id in whole_finals(server, concatenation, ids):
            if rng.random() < 0.2:
                finished[upload_id] = digest(concatenation.source)
            else:
                assert server.request("DELETE", server.url + upload_id, TUS).status == 204, concatenation.name
    assert interrupted > ROUNDS, "the kills came too late or too early to mean anything"

    server.kill()
    server = start("-expire-after", "1s", upload_dir=server.upload_dir)
    with suppress(AssertionError):
        eventually(lambda: not leftovers(server, finished))
    assert leftovers(server, finished) == [], f"seed {seed}"
    for upload_id, expected in finished.items():
        head = server.request("HEAD", server.url + upload_id, TUS)
        data = (server.upload_dir / upload_id).read_bytes()
        assert head.headers["upload-offset"] == head.headers["upload-length"] == str(len(data)), f"seed {seed}"
        assert digest(data) == expected, f"seed {seed}"


def test_a_mark_that_a_kill_cut_short_goes_with_its_upload(start: ServerStarter) -> None:
    """The kill came between the making of the mark of a checked body and the writing of its offset."""
    server = start()
    unverified = server.upload_dir / ".tusd-py" / "unverified"
    abandoned, finished = server.create(10), server.create(10)
    for url in (abandoned, finished):
        server.patch(url, 0, b"hello")
        (unverified / server.path_of(url).name).touch()
    server.kill()
    server = start(upload_dir=server.upload_dir, port=server.port)
    assert server.offset(finished) == 5
    assert server.patch(finished, 5, b"world").status == 204
    server.kill()
    server = start("-expire-after", "1s", upload_dir=server.upload_dir)
    with suppress(AssertionError):
        eventually(lambda: not leftovers(server, [server.path_of(finished).name]))
    assert leftovers(server, [server.path_of(finished).name]) == []
