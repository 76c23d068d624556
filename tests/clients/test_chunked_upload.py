"""The example client for uploads in numbered chunks (conformance/clients), as its users run it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients import MIB, ZIP, Source, random_file
from tests.running import Server, ServerStarter, eventually

SMALL_CHUNKS = ("-chunk-size", "65536")
"""Many of them make an upload that takes its time."""
PARALLEL = 4
ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return random_file(tmp_path, name="größe 1.zip", start=ZIP)


def command(server: Server, source: Source, *arguments: str) -> list[str]:
    api = f"http://127.0.0.1:{server.port}/api"
    return [sys.executable, "-m", "conformance.clients.chunked_upload", api, str(source.path), *arguments]


def run(server: Server, source: Source, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(server, source, *arguments), check=False, cwd=ROOT, capture_output=True, timeout=300)


@contextmanager
def running(server: Server, source: Source) -> Iterator[subprocess.Popen[bytes]]:
    client = command(server, source)
    with subprocess.Popen(client, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def notes_of(source: Source) -> Path:
    return source.path.with_name(source.path.name + ".upload")


def state_of(server: Server, source: Source) -> dict[str, Any]:
    """What the server says of the upload that the client has noted."""
    notes = json.loads(notes_of(source).read_bytes())
    return dict(json.loads(server.request("GET", f"/api/uploads/{notes['upload_id']}/status").body))


def wait_for_chunks(server: Server, source: Source, count: int) -> None:
    eventually(notes_of(source).exists)
    eventually(lambda: len(state_of(server, source)["uploadedChunks"]) >= count)


def chunks_sent(server: Server) -> Counter[int]:
    """How often each chunk was sent to the server."""
    pattern = r"event=RequestIncoming method=PUT path=\S+/chunks/(\d+) "
    return Counter(int(number) for number in re.findall(pattern, server.output()))


def uploads_begun(server: Server) -> int:
    return server.output().count("event=UploadCreated ")


def assert_uploaded(server: Server, source: Source, output: bytes) -> None:
    """The client has said that the file is ready, and the bytes behind its link are those of the source."""
    result = json.loads(output)
    record = result["file"]
    assert (record["status"], record["checksum"]) == ("ready", source.digest)
    assert (record["fileName"], record["fileSize"]) == (source.path.name, source.size)
    answer = server.request("GET", result["downloadUrl"])
    assert answer.status == 200
    assert hashlib.sha256(answer.body).hexdigest() == source.digest
    assert not notes_of(source).exists()


def test_the_client_uploads_a_file_and_ends_with_its_record_and_a_link(start: ServerStarter, source: Source) -> None:
    server = start()
    client = run(server, source)
    assert client.returncode == 0, client.stderr
    assert_uploaded(server, source, client.stdout)
    assert client.stderr.startswith(b"\r[" + b" " * 40 + b"]   0% ")
    assert client.stderr.splitlines()[-1].startswith(b"[" + b"#" * 40 + b"] 100% ")
    assert chunks_sent(server) == Counter(range(11))


def test_an_empty_file_has_no_chunks_and_is_a_file_as_well(start: ServerStarter, tmp_path: Path) -> None:
    server = start()
    source = random_file(tmp_path, size=0, name="empty.txt")
    client = run(server, source)
    assert client.returncode == 0, client.stderr
    assert_uploaded(server, source, client.stdout)
    assert not chunks_sent(server)


def test_a_second_client_sends_only_what_is_missing_after_client_and_server_were_killed(
    start: ServerStarter, source: Source
) -> None:
    server = start(*SMALL_CHUNKS)
    with running(server, source) as client:
        wait_for_chunks(server, source, 100)
        client.kill()
    server.kill()

    restarted = start(*SMALL_CHUNKS, port=server.port, upload_dir=server.upload_dir)
    state = state_of(restarted, source)
    assert len(state["uploadedChunks"]) >= 100
    assert state["missingChunks"], "the client was killed too late to mean anything"
    second = run(restarted, source)
    assert second.returncode == 0, second.stderr
    assert chunks_sent(restarted) == Counter(state["missingChunks"])
    assert uploads_begun(restarted) == 0
    assert_uploaded(restarted, source, second.stdout)


def test_the_client_finishes_by_itself_after_the_server_was_killed_and_started_again(
    start: ServerStarter, source: Source
) -> None:
    server = start(*SMALL_CHUNKS)
    with running(server, source) as client:
        wait_for_chunks(server, source, 100)
        server.kill()
        before = chunks_sent(server)
        restarted = start(*SMALL_CHUNKS, port=server.port, upload_dir=server.upload_dir)
        output, errors = client.communicate(timeout=300)
    assert client.returncode == 0, errors
    after = chunks_sent(restarted)
    assert after, "the server was killed too late to mean anything"
    # Those that were on their way are sent again, and no others.
    assert len(before.keys() & after.keys()) <= PARALLEL
    assert set(after.values()) == {1}
    assert_uploaded(restarted, source, output)


def test_a_client_that_was_killed_when_all_was_said_only_asks_for_the_result(
    start: ServerStarter, source: Source
) -> None:
    server = start()
    notes = begun_and_noted(server, source)
    assert run(server, source).returncode == 0
    sent = chunks_sent(server)
    notes_of(source).write_bytes(notes)
    client = run(server, source)
    assert client.returncode == 0, client.stderr
    assert uploads_begun(server) == 1
    assert chunks_sent(server) == sent
    assert_uploaded(server, source, client.stdout)


def begun_and_noted(server: Server, source: Source) -> bytes:
    """Kill a client as soon as it has an upload; its notes."""
    with running(server, source) as client:
        eventually(notes_of(source).exists)
        client.kill()
    return notes_of(source).read_bytes()


def test_a_file_that_has_changed_is_uploaded_anew(start: ServerStarter, source: Source) -> None:
    server = start(*SMALL_CHUNKS)
    begun_and_noted(server, source)
    data = ZIP + os.urandom(2 * MIB)
    source.path.write_bytes(data)
    changed = Source(source.path, len(data), hashlib.sha256(data).hexdigest())
    client = run(server, changed)
    assert client.returncode == 0, client.stderr
    assert uploads_begun(server) == 2
    assert_uploaded(server, changed, client.stdout)


def test_an_upload_that_the_server_has_forgotten_is_begun_anew(start: ServerStarter, source: Source) -> None:
    server = start(*SMALL_CHUNKS)
    notes = json.loads(begun_and_noted(server, source))
    assert server.request("DELETE", f"/api/uploads/{notes['upload_id']}").status == 204
    client = run(server, source)
    assert client.returncode == 0, client.stderr
    assert_uploaded(server, source, client.stdout)


def test_a_type_that_is_not_allowed_is_said_in_a_sentence(start: ServerStarter, source: Source) -> None:
    server = start()
    client = run(server, source, "--type", "text/html")
    assert client.returncode == 1
    assert client.stderr.decode().strip() == "415: files of this type are not accepted (ERR_TYPE_NOT_ALLOWED)"


@pytest.mark.parametrize("place", ["environment", "file"])
def test_the_api_key_is_taken_from_the_environment_or_a_file(
    start: ServerStarter, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.delenv("API_KEY", raising=False)
    key = "k" * 40
    keys = tmp_path / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"{key}\n{'o' * 40}\n")
    server = start("-api-key-file", str(keys))
    assert run(server, source).returncode == 1
    if place == "environment":
        monkeypatch.setenv("API_KEY", key)
    client = run(server, source, *(["--api-key-file", str(keys)] if place == "file" else []))
    assert client.returncode == 0, client.stderr
    assert_uploaded(server, source, client.stdout)


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("\n", "there is no key in")])
def test_a_key_that_is_not_there_is_said_in_a_sentence(
    start: ServerStarter, source: Source, tmp_path: Path, content: str | None, why: str
) -> None:
    server = start()
    keys = tmp_path / "keys"
    if content is not None:
        keys.write_text(content)
    client = run(server, source, "--api-key-file", str(keys))
    assert client.returncode == 1
    assert why in client.stderr.decode()
    assert b"Traceback" not in client.stderr
