"""Several processes behind one socket, as those see them who send uploads, signals and death."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.test_metrics import values
from tests.patching import patch_head
from tests.running import (
    DEADLINE,
    START_DEADLINE,
    TUS,
    Answer,
    Server,
    ServerStarter,
    eventually,
    has_size,
    processes,
    read_all,
    read_head,
)
from tests.server.certificates import files_in
from tests.server.test_listening import activation
from tests.server.test_serving import slow_download
from tests.server.test_tls import name_of

BEFORE_THE_FIRST_WORKER = """
import pathlib
if pathlib.Path(__file__).with_suffix(".seen").exists():
    raise SystemExit("not twice")
pathlib.Path(__file__).with_suffix(".seen").touch()
def hooks(call): ...
"""
"""A module of hooks that can be loaded once: by who makes the checks, and by no worker."""


def kill_a_worker(server: Server, pid: int) -> None:
    """And wait until another one serves."""
    started = server.output().count("event=WorkerStarted")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.output().count("event=WorkerStarted") > started, START_DEADLINE)


def are_gone(pids: list[int]) -> bool:
    running = processes()
    return not any(pid in running and running[pid][1] != "Z" for pid in pids)


def test_a_dead_worker_is_replaced_and_its_uploads_go_on(start: ServerStarter) -> None:
    server = start("-workers", "2")
    before = server.workers()
    assert len(before) == 2
    url = server.create(10_000_000)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 10_000_000) + b"x" * 1_000_000)
        eventually(has_size(server.path_of(url), 1_000_000))
        for pid in before:
            kill_a_worker(server, pid)
        assert read_all(connection) == b""
    assert len(server.workers()) == 2
    assert not set(before) & set(server.workers())
    assert server.offset(url) == 1_000_000
    assert server.patch(url, 1_000_000, b"y" * 9_000_000).status == 204
    assert server.path_of(url).read_bytes() == b"x" * 1_000_000 + b"y" * 9_000_000
    assert server.output().count("event=WorkerEnded") == 2


def test_a_worker_that_dies_while_its_supervisor_is_signalled_is_replaced(tmp_path: Path) -> None:
    """One worker has died, and the other is rolled."""
    said = tmp_path / "said"
    program = [sys.executable, "-m", "tests.server.struck_supervisor", str(tmp_path)]
    with said.open("wb") as log, subprocess.Popen(program, stdout=log, stderr=log) as supervisor:
        try:
            eventually(lambda: said.read_text().count("event=WorkerStarted") == 4 or supervisor.poll(), START_DEADLINE)
            supervisor.terminate()
            assert supervisor.wait(DEADLINE) == 0, said.read_text()
        finally:
            supervisor.kill()


def test_a_server_stays_whose_workers_are_all_killed_and_the_next_ones_before_they_serve(start: ServerStarter) -> None:
    server = start("-workers", "2")
    killed: set[int] = set()

    def kill_those_that_are_new() -> bool:
        for pid in set(server.workers()) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        return len(killed) >= 4

    eventually(kill_those_that_are_new)
    eventually(lambda: server.output().count("event=WorkerStarted") >= 4, START_DEADLINE)
    assert server.request("OPTIONS").status == 200
    assert server.terminate() == 0


def test_the_lines_of_start_and_stop_are_said_once(start: ServerStarter) -> None:
    server = start("-workers", "3")
    url = server.create(10_000_000)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 10_000_000) + b"x" * 1_000)
        eventually(has_size(server.path_of(url), 1_000))
        for pid in [server.pid, *server.workers()]:  # as systemd does
            os.kill(pid, signal.SIGTERM)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert server.process.wait(DEADLINE) == 0
    lines = [
        *("as directory storage", "as maximum size", "Supported tus extensions", "as address to listen"),
        *("as the base path", "as the metrics path", "You can now upload files to", "Shutting down tusd"),
        "Shutdown completed. Goodbye!",
    ]
    for line in lines:
        assert server.output().count(line) == 1, line
    assert "event=WorkerEnded" not in server.output()
    server = start(port=server.port, upload_dir=server.upload_dir)
    assert server.offset(url) == 1_000


def test_requests_that_do_not_end_are_cut_off_with_workers_too(start: ServerStarter) -> None:
    server = start("-workers", "2", "-shutdown-timeout", "300ms")
    with slow_download(server):
        assert server.terminate() == 0
    assert server.output().count("Shutdown timeout exceeded. Exiting immediately!") == 1
    assert "Goodbye" not in server.output()


def test_a_second_signal_ends_all_workers_at_once(start: ServerStarter) -> None:
    server = start("-workers", "2", "-shutdown-timeout", "1m")
    workers = server.workers()
    with slow_download(server):
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "Received interrupt signal" in server.output())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(START_DEADLINE) == 1
        eventually(lambda: are_gone(workers))


def test_workers_end_with_a_supervisor_that_is_killed(start: ServerStarter) -> None:
    server = start("-workers", "2")
    workers = server.workers()
    shared = re.findall(r"\S*/tusd-py-[^/\s]+", Path(f"/proc/{workers[0]}/maps").read_text())
    url = server.create(1_000_000)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 1_000_000) + b"x" * 1_000)
        eventually(has_size(server.path_of(url), 1_000))
        server.kill()
        assert read_all(connection).startswith(b"HTTP/1.1 503 ")
    eventually(lambda: are_gone(workers))
    assert shared
    assert not any(Path(path).exists() for path in shared)
    again = start("-workers", "2", port=server.port, upload_dir=server.upload_dir)
    assert again.offset(url) == 1_000


def offset_for_a_patient_client(server: Server, url: str) -> int:
    """One that asks again where it is told to wait."""

    def look() -> Answer | None:
        answer = server.request("HEAD", url, TUS)
        assert answer.status in (200, 423), answer
        return answer if answer.status == 200 else None

    answer: Answer = eventually(look)
    return int(answer.headers["upload-offset"])


def test_rolling_the_workers_costs_a_client_that_resumes_nothing(start: ServerStarter) -> None:
    server = start("-workers", "2")
    before = server.workers()
    data = os.urandom(4_000_000)
    url = server.create(len(data))
    interruptions: list[bytes] = []

    def send_all() -> None:
        """In two halves, so as to be met by the change; after each end from where the server is, as clients do."""
        while (offset := offset_for_a_patient_client(server, url)) < len(data):
            with server.connection() as connection:
                connection.sendall(patch_head(url, offset, len(data) - offset))
                connection.sendall(data[offset : len(data) // 2] if offset < len(data) // 2 else data[offset:])
                interruptions.append(read_all(connection) if offset < len(data) // 2 else read_head(connection))

    with ThreadPoolExecutor() as pool:
        sending = pool.submit(send_all)
        eventually(has_size(server.path_of(url), len(data) // 2))
        server.process.send_signal(signal.SIGUSR2)
        sending.result(START_DEADLINE)
    eventually(lambda: are_gone(before), START_DEADLINE)
    assert interruptions[0].startswith(b"HTTP/1.1 503 ")
    assert hashlib.sha256(server.path_of(url).read_bytes()).digest() == hashlib.sha256(data).digest()
    assert len(server.workers()) == 2
    assert server.process.poll() is None
    assert server.output().count("You can now upload files to") == 1


def test_workers_that_cannot_be_replaced_stay(start: ServerStarter, tmp_path: Path) -> None:
    module = tmp_path / "changing_hooks.py"
    module.write_text("def hooks(call): ...\n")
    flags = ("-workers", "2", "-hooks-python", "changing_hooks:hooks")
    server = start(*flags, environment={"PYTHONPATH": str(tmp_path)})
    workers = set(server.workers())
    module.write_text("raise SystemExit('broken by an update')\n")
    server.process.send_signal(signal.SIGUSR2)
    eventually(lambda: "event=WorkersNotReplaced" in server.output(), START_DEADLINE)
    assert workers <= set(server.workers())
    assert server.create(1)


def test_a_worker_that_cannot_start_ends_the_start(start: ServerStarter, tmp_path: Path) -> None:
    (tmp_path / "hooks_for_once.py").write_text(BEFORE_THE_FIRST_WORKER)
    flags = ("-workers", "2", "-hooks-python", "hooks_for_once:hooks")
    server = start(*flags, environment={"PYTHONPATH": str(tmp_path)}, wait=False)
    assert server.process.wait(START_DEADLINE) == 1
    assert "not twice" in server.output()
    assert "You can now upload files to" not in server.output()


@pytest.mark.parametrize("flags", [["-base-path", "x"], ["-signing-key-file", "/nothing"], ["-workers", "-1"]])
def test_what_makes_a_server_refuse_does_so_before_any_worker(start: ServerStarter, flags: list[str]) -> None:
    server = start("-workers", "2", *flags, wait=False)
    assert server.process.wait(START_DEADLINE) == 1
    assert "event=Worker" not in server.output()


def test_one_page_has_the_metrics_of_all_and_nothing_goes_back(start: ServerStarter) -> None:
    server = start("-workers", "2")
    for _ in range(20):
        server.patch(server.create(3), 0, b"abc")
        assert server.request("HEAD", server.url + "nothing", TUS).status == 404
    counted = {
        "tusd_uploads_created": {"": 20.0},
        "tusd_uploads_finished": {"": 20.0},
        "tusd_bytes_received": {"": 60.0},
    }

    def are_as_counted() -> bool:
        return all(values(server, name) == expected for name, expected in counted.items())

    assert are_as_counted()
    for pid in server.workers():
        kill_a_worker(server, pid)
        assert are_as_counted()
        assert values(server, "tusd_errors_total")['code="ERR_UPLOAD_NOT_FOUND",status="404"'] == 20
        assert values(server, "tusd_requests_total")['method="HEAD"'] == 20
    connections = [server.connection() for _ in range(6)]
    for connection in connections:
        connection.__enter__()
    eventually(lambda: values(server, "tusd_connections_open") == {"": 7.0})
    for connection in connections:
        connection.__exit__(None, None, None)
    eventually(lambda: values(server, "tusd_connections_open") == {"": 1.0})
    started = values(server, "process_start_time_seconds")
    assert len(started) == 3
    assert 'worker="0"' in started


def test_connections_that_stay_are_shared_out(start: ServerStarter) -> None:
    server = start("-workers", "2")
    with ExitStack() as open_connections:
        for _ in range(30):
            connection = open_connections.enter_context(server.connection())
            connection.sendall(b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_head(connection).startswith(b"HTTP/1.1 200 ")
        for pid in server.workers():
            descriptors = Path(f"/proc/{pid}/fd").iterdir()
            assert sum(os.readlink(path).startswith("socket:") for path in descriptors) >= 10


def test_new_certificates_are_shown_by_all_workers(start: ServerStarter, tmp_path: Path) -> None:
    files = files_in(tmp_path / "tls")
    files.hold("first.example")
    server = start("-workers", "2", *files.flags)
    assert {name_of(server) for _ in range(8)} == {"first.example"}
    files.hold("second.example")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: server.output().count("event=CertificatesReloaded") == 2)
    assert {name_of(server) for _ in range(8)} == {"second.example"}
    kill_a_worker(server, server.workers()[0])
    assert {name_of(server) for _ in range(8)} == {"second.example"}
    assert server.terminate() == 0


def test_workers_share_the_socket_of_systemd(start: ServerStarter) -> None:
    server = start("-workers", "2", wrapper=activation())
    for pid in server.workers():
        assert server.patch(server.create(5), 0, b"hello").status == 204
        kill_a_worker(server, pid)
    assert server.terminate() == 0


def test_workers_share_a_unix_socket(start: ServerStarter, tmp_path: Path) -> None:
    path = tmp_path / "tusd.sock"
    server = start("-workers", "2", "-unix-sock", str(path), wait=False)
    eventually(lambda: server.output().count("event=WorkerStarted") == 2, START_DEADLINE)
    for pid in server.workers():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(path))
            connection.sendall(b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 200 ")
        kill_a_worker(server, pid)
        assert path.is_socket()
    assert server.terminate() == 0
    assert not path.exists()


def test_hook_programs_inherit_nothing_of_the_workers(start: ServerStarter, tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    program = hooks / "pre-create"
    program.write_text('#!/bin/sh\n(ls -l /proc/self/fd; env) > "$0.seen"\n')
    program.chmod(0o755)
    server = start("-workers", "2", "-hooks-dir", str(hooks), "-hooks-enabled-events", "pre-create")
    server.create(1)
    seen = (hooks / "pre-create.seen").read_text()
    assert "socket:" not in seen
    assert "PROMETHEUS" not in seen
    assert "_TUSD_PY_WORKER" not in seen
