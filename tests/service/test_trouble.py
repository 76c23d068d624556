"""Trouble of ours: clients are told to come back, what was received is kept, and the server goes on by itself."""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.running import TUS, Server, ServerStarter, eventually
from tests.web.test_creation import uploads_in


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which needs the rights to mount one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_directory_that_becomes_read_only_is_trouble_that_passes(start: ServerStarter, disk: Path) -> None:
    server = start(upload_dir=disk)
    url = server.create(11)
    server.patch(url, 0, b"hello")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    created = server.request("POST", headers=TUS | {"Upload-Length": "5"})
    appended = server.patch(url, 5, b" world")
    looked_at = server.request("HEAD", url, TUS)
    deleted = server.request("DELETE", url, TUS)
    assert (created.status, appended.status, looked_at.status, deleted.status) == (503, 503, 423, 503)
    assert all("retry-after" in answer.headers for answer in (created, appended, looked_at, deleted))
    assert server.request("GET", url).body == b"hello"
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert server.patch(url, 5, b" world").status == 204
    assert server.path_of(url).read_bytes() == b"hello world"


def test_too_few_descriptors_refuse_clients_for_a_while_only(start: ServerStarter) -> None:
    server = start(wait=False)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (64, 64))
    eventually(lambda: "You can now upload" in server.output())
    server.url = server.output().partition("upload files to: ")[2].split()[0]
    url = server.create(11)
    with ExitStack() as connections:
        for _ in range(80):
            connections.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
    eventually(lambda: _is_created(server))
    assert server.patch(url, 0, b"hello world").status == 204


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
