"""Trouble of ours: clients are told to come back, what was received is kept, and the server goes on by itself."""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from hashlib import sha1
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import chunked
from tests.patching import patch_head
from tests.running import CHUNK, DEADLINE, TUS, Server, ServerStarter, eventually, read_head, request_head, uploads_in


def test_a_directory_that_becomes_read_only_is_trouble_that_passes(start: ServerStarter, disk: Path) -> None:
    server = start(upload_dir=disk)
    part = server.create(5, Upload_Concat="partial")
    server.patch(part, 0, b"12345")
    url = server.create(11)
    server.patch(url, 0, b"hello")
    deferred = server.create(None)
    before = server.files()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    refused = [
        server.request("POST", headers=TUS | {"Upload-Length": "5"}),
        server.request("POST", headers=CHUNK | {"Upload-Length": "5"}, body=b"hello"),
        server.request("POST", headers=TUS | {"Upload-Concat": f"final;{part}"}),
        server.patch(url, 5, b" world"),
        server.patch(url, 5, b" world", Upload_Checksum=f"sha1 {b64encode(sha1(b' world').digest()).decode()}"),  # noqa: S324
        server.patch(deferred, 0, b"", Upload_Length="5"),
        server.request("DELETE", url, TUS),
        server.request("DELETE", part, TUS),
    ]
    assert [(answer.status, answer.code) for answer in refused] == [(503, "ERR_STORE_UNAVAILABLE")] * 8
    looked_at = server.request("HEAD", url, TUS)
    assert looked_at.status == 423
    assert all("retry-after" in answer.headers for answer in (*refused, looked_at))
    assert server.offset(part) == 5
    assert server.request("GET", url).body == b"hello"
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert server.files() == before
    assert server.patch(url, 5, b" world").status == 204
    assert server.path_of(url).read_bytes() == b"hello world"


@pytest.mark.parametrize("flags", [(), ("-workers", "2")])
def test_a_directory_in_which_no_file_can_be_made_ends_the_start(
    start: ServerStarter, disk: Path, flags: tuple[str, ...]
) -> None:
    start(upload_dir=disk).kill()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    server = start(*flags, upload_dir=disk, wait=False)
    assert server.process.wait(DEADLINE) == 1
    assert server.output().endswith(f"unable to create files in '{disk}/.tusd-py': Read-only file system\n")


def with_few_descriptors(start: ServerStarter) -> Server:
    """A server that may have 64 of them."""
    server = start(wait=False)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (64, 64))
    eventually(lambda: "You can now upload" in server.output())
    server.url = server.output().partition("upload files to: ")[2].split()[0]
    return server


def test_too_few_descriptors_refuse_clients_for_a_while_only(start: ServerStarter) -> None:
    server = with_few_descriptors(start)
    url = server.create(11)
    with ExitStack() as connections:
        for _ in range(80):
            connections.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
    eventually(lambda: _is_created(server))
    assert server.patch(url, 0, b"hello world").status == 204


@pytest.mark.parametrize("size", [5, 400_000])
def test_a_request_that_finds_no_descriptor_is_told_to_come_back(start: ServerStarter, size: int) -> None:
    server = with_few_descriptors(start)
    url = server.create(size)
    path = urlsplit(url).path
    before = server.files()
    requests = {
        "POST": request_head("POST", "/files/", TUS | {"Upload-Length": "5", "Content-Length": "0"}),
        "DELETE": request_head("DELETE", path, TUS),
        "HEAD": request_head("HEAD", path, TUS),
        "GET": request_head("GET", path),
        # The last, since a refused body ends its connection, which sets a descriptor free.
        "PATCH": patch_head(url, 0, size) + bytes(size),
    }
    with ExitStack() as connections:
        known = {method: connections.enter_context(server.connection()) for method in requests}
        for connection in known.values():
            connection.sendall(request_head("OPTIONS", "/files/"))
            assert read_head(connection).startswith(b"HTTP/1.1 200 ")
        for _ in range(80):
            connections.enter_context(server.connection())
        eventually(lambda: descriptors(server) == 64)
        for method, request in requests.items():
            known[method].sendall(request)
            answer = read_head(known[method])
            expected = 423 if method == "HEAD" else 503
            assert answer.startswith(b"HTTP/1.1 %d " % expected), (method, answer)
            assert b"\r\nretry-after: " in answer, method
        assert server.files() == before
    eventually(lambda: _is_created(server))
    assert server.patch(url, 0, bytes(size)).status == 204


def test_a_large_body_needs_no_pipe(start: ServerStarter) -> None:
    """There is a descriptor for its file and one for the connection, and none beyond."""
    server = with_few_descriptors(start)
    url = server.create(400_000)
    with ExitStack() as connections:
        known = connections.enter_context(server.connection())
        known.sendall(request_head("HEAD", urlsplit(url).path, TUS))
        assert read_head(known).startswith(b"HTTP/1.1 200 ")
        while (count := descriptors(server)) < 62:
            connections.enter_context(server.connection())
            eventually(partial(has_more_descriptors, server, count))
        known.sendall(patch_head(url, 0, 400_000) + bytes(400_000))
        assert read_head(known).startswith(b"HTTP/1.1 204 ")


def has_more_descriptors(server: Server, count: int) -> bool:
    return descriptors(server) > count


def descriptors(server: Server) -> int:
    """How many the server has."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def _is_created(server: Server) -> bool:
    try:
        return server.request("POST", headers=TUS | {"Upload-Length": "5"}).status == 201
    except OSError:
        return False


def test_an_upload_is_ended_by_its_last_byte_or_by_its_removal_and_never_half(server: Server) -> None:
    for _ in range(30):
        url = server.create(5)
        with ThreadPoolExecutor(2) as pool:
            appending = pool.submit(server.patch, url, 0, b"hello")
            removing = pool.submit(server.request, "DELETE", url, TUS)
            statuses = (appending.result().status, removing.result().status)
        assert statuses[1] == 204
        assert statuses[0] in (204, 400, 404)
        assert server.request("HEAD", url, TUS).status == 404
    assert uploads_in(server.upload_dir) == []


def test_a_state_directory_that_is_gone_is_trouble_of_ours(server: Server) -> None:
    shutil.rmtree(server.upload_dir / ".tusd-py")
    assert server.request("POST", headers=TUS | {"Upload-Length": "5"}).status == 503


def test_bytes_that_cannot_be_marked_as_unverified_are_told_to_come_back(server: Server) -> None:
    url = server.create(5)
    checksum = f"sha1 {b64encode(sha1(b'hello').digest()).decode()}"  # noqa: S324
    unverified = server.upload_dir / ".tusd-py" / "unverified"
    spare = unverified.rename(server.upload_dir / "spare")
    assert server.patch(url, 0, b"hello", Upload_Checksum=checksum).status == 503
    assert server.offset(url) == 0
    spare.rename(unverified)
    assert server.patch(url, 0, b"hello", Upload_Checksum=checksum).status == 204


def test_a_directory_that_is_away_is_trouble_that_passes(server: Server) -> None:
    """An empty one is in its place, as where a file system is not mounted any more."""
    part = server.create(5, Upload_Concat="partial")
    server.patch(part, 0, b"he")
    upload = chunked.initiate(server, chunked.Source(b"hello"))
    away = server.upload_dir.rename(server.upload_dir.with_name("away"))
    server.upload_dir.mkdir()
    refused = [
        server.request("POST", headers=TUS | {"Upload-Length": "5"}),
        server.request("POST", headers=TUS | {"Upload-Concat": f"final;{part}"}),
        server.patch(part, 2, b"llo"),
        server.request("GET", part),
        server.request("DELETE", part, TUS),
        chunked.put(server, upload, 0),
        server.request("GET", f"{upload.path}/status"),
        server.request("POST", f"{upload.path}/complete"),
        server.request("DELETE", upload.path),
    ]
    looked_at = server.request("HEAD", part, TUS)
    assert [answer.status for answer in refused] == [503] * len(refused)
    assert looked_at.status == 423
    assert all("retry-after" in answer.headers for answer in (*refused, looked_at))
    server.upload_dir.rmdir()  # nothing was made in it
    away.rename(server.upload_dir)
    assert server.patch(part, 2, b"llo").status == 204
    assert chunked.put(server, upload, 0).status == 200


def test_strange_things_in_the_workspace_do_not_end_the_sweep(start: ServerStarter) -> None:
    server = start("-expire-after", "1s")
    (server.upload_dir / ".tusd-py" / "workspace" / "directory").mkdir()
    url = server.create(5)
    eventually(lambda: not server.path_of(url).exists())


def test_rejected_bytes_are_never_shown(server: Server) -> None:
    """One client sends bytes with a wrong checksum again and again, another one looks."""
    url = server.create(1)
    wrong = "sha1 " + "A" * 27 + "="
    with ThreadPoolExecutor(4) as pool:
        appends = [pool.submit(server.patch, url, 0, b"x", Upload_Checksum=wrong) for _ in range(100)]
        shown = [pool.submit(server.request, "GET", url) for _ in range(300)]
        assert {answer.result().body for answer in shown} == {b""}
        assert {answer.result().status for answer in appends} <= {460, 400, 423}
