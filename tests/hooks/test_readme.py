"""The README's receivers of hooks, run as they stand there."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.edge import README, readme_block
from tests.running import TUS, Server, ServerStarter, eventually, free_port

SMALL, LARGE = b"hello", b"x" * 1_000_001
WORDS = b"At most 1 MB, please."


def is_open(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(script: str, directory: Path, named_port: str) -> Iterator[int]:
    """A script of the README in a process, with a free port in the place of its own."""
    port = free_port()
    (directory / "script.py").write_text(script.replace(named_port, str(port)).replace("localhost", "127.0.0.1"))
    with subprocess.Popen([sys.executable, "script.py"], cwd=directory) as process:
        try:
            eventually(lambda: is_open(port))
            yield port
        finally:
            process.kill()


def send(server: Server, content: bytes, filename: str = "a.txt") -> str:
    url = server.create(len(content), Upload_Metadata=f"filename {base64.b64encode(filename.encode()).decode()}")
    assert server.patch(url, 0, content).status == 204
    return url.rpartition("/")[2]


def assert_refuses_large_uploads(server: Server) -> None:
    answer = server.request("POST", headers=TUS | {"Upload-Length": str(len(LARGE))})
    assert (answer.status, answer.body) == (413, WORDS)
    send(server, SMALL)


def test_a_program_refuses_by_size(start: ServerStarter, tmp_path: Path) -> None:
    program = tmp_path / "hooks" / "pre-create"
    program.parent.mkdir()
    program.write_text(readme_block("#!/usr/bin/env bash"))
    program.chmod(0o755)
    assert_refuses_large_uploads(start("-hooks-dir", str(program.parent)))


@pytest.mark.parametrize("filename", ["holiday.png", "../../etc/pass wd", "..", ""])
def test_an_endpoint_renames_and_moves_files_away(start: ServerStarter, tmp_path: Path, filename: str) -> None:
    block = readme_block("# receiver.py: files get names that are safe, and are moved away when they are there.")
    with running(block, tmp_path, "8000") as port:
        server = start("-hooks-http", f"http://127.0.0.1:{port}")
        upload_id = send(server, SMALL, filename)
        [moved] = eventually(lambda: list((tmp_path / "inbox").glob("*")))
        eventually(lambda: moved.read_bytes() == SMALL)
    safe = {"holiday.png": "holiday.png", "../../etc/pass wd": "_.._etc_pass_wd"}.get(filename, "upload")
    assert moved.name == f"{upload_id}-{safe}"
    for method in ("HEAD", "GET"):
        assert server.request(method, f"/files/{upload_id}", TUS).status in {404, 410}


def test_a_grpc_receiver_refuses_by_size(start: ServerStarter, tmp_path: Path) -> None:
    checkout = README.parent
    command = readme_block("# with the package grpcio-tools, in a checkout").replace("-I ", f"-I {checkout}/")
    python = f'python() {{ {sys.executable} "$@"; }}\n'
    subprocess.run(["bash", "-euc", python + command], cwd=tmp_path, check=True)
    with running(readme_block("# grpc_receiver.py"), tmp_path, "8001") as port:
        assert_refuses_large_uploads(start("-hooks-grpc", f"127.0.0.1:{port}"))


def test_an_object_in_the_process_refuses_by_size(start: ServerStarter, tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(readme_block("# checks.py"))
    server = start("-hooks-python", "checks:Checks", environment={"PYTHONPATH": str(tmp_path)})
    assert_refuses_large_uploads(server)
    eventually(lambda: f"finished: {server.upload_dir}/" in server.output())
