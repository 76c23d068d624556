"""Starting and stopping."""

from __future__ import annotations

import errno
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.patching import patch_head
from tests.running import DEADLINE, TUS, Server, ServerStarter, eventually, has_size, read_all


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_keeps_received_bytes_and_says_so(start: ServerStarter, signal_number: int) -> None:
    server = start()
    for size in (1_000, 1_000_000):
        url = server.create(10_000_000)
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, 10_000_000) + b"x" * size)
            eventually(has_size(server.path_of(url), size))
            server.process.send_signal(signal_number)
            answer = read_all(connection)
        assert server.process.wait(DEADLINE) == 0
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"ERR_SERVER_SHUTDOWN" in answer
        assert b"retry-after: " in answer
        assert "Received interrupt signal. Shutting down tusd..." in server.output()
        assert "Shutdown completed. Goodbye!" in server.output()
        server = start(port=server.port, upload_dir=server.upload_dir)
        assert server.offset(url) == size


def test_a_stop_with_nothing_to_do_waits_for_nobody(start: ServerStarter) -> None:
    server = start("-shutdown-timeout", "2m")
    with server.connection():
        assert server.terminate() == 0


def slow_download(server: Server, room: int = 4096) -> socket.socket:
    """A download that nobody takes from the socket: a request that does not end by itself.

    `room` is what the socket takes, in bytes, and for good: who wants to have the rest later gives it more.
    """
    url = server.create(50_000_000)
    server.patch(url, 0, bytes(50_000_000))
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    connection.sendall(f"GET {url} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    eventually(lambda: "event=ResponseOutgoing method=GET" in server.output())
    return connection


def test_a_stop_lets_downloads_end_and_takes_no_new_connections(start: ServerStarter) -> None:
    server = start("-shutdown-timeout", "2m")
    with slow_download(server, 1_000_000) as connection:
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: is_refused(server.port))
        assert read_all(connection).endswith(bytes(50_000_000))
        assert server.process.wait(DEADLINE) == 0
    assert "Shutdown completed. Goodbye!" in server.output()


def is_refused(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


@pytest.mark.parametrize("timeout", ["300ms", "0"])
def test_requests_that_do_not_end_are_cut_off_after_the_time_out(start: ServerStarter, timeout: str) -> None:
    """Nothing means that nobody is waited for, not tusd's default of ten seconds."""
    server = start("-shutdown-timeout", timeout)
    with slow_download(server):
        began = time.monotonic()
        assert server.terminate() == 0
    assert "Shutdown timeout exceeded. Exiting immediately!" in server.output()
    assert time.monotonic() - began < 9


def test_a_second_signal_ends_the_server_at_once(start: ServerStarter) -> None:
    server = start("-shutdown-timeout", "1m")
    with slow_download(server):
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: "Received interrupt signal" in server.output())
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(DEADLINE) == 1
    assert "Received second interrupt signal. Exiting immediately!" in server.output()


def test_a_unix_socket_is_served_replaced_when_stale_and_removed_at_the_end(
    start: ServerStarter, tmp_path: Path
) -> None:
    path = tmp_path / "tusd.sock"
    for is_killed in (True, False):
        server = start("-unix-sock", str(path), wait=False)
        eventually(path.exists)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(DEADLINE)
            connect_when_ready(connection, path)
            connection.sendall(b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 200 ")
        if is_killed:
            server.kill()
            assert path.exists()
        else:
            assert server.terminate() == 0
            assert not path.exists()


def connect_when_ready(connection: socket.socket, path: Path) -> None:
    eventually(lambda: connection.connect_ex(str(path)) == 0)


def test_another_file_is_not_replaced_by_a_socket(start: ServerStarter, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("x")
    server = start("-unix-sock", str(path), wait=False)
    assert server.process.wait(DEADLINE) == 1
    assert path.read_text() == "x"


def test_a_taken_port_is_said_and_ends_the_start(start: ServerStarter, tmp_path: Path) -> None:
    server = start()
    second = start(port=server.port, upload_dir=tmp_path / "other", wait=False)
    assert second.process.wait(DEADLINE) == 1
    assert "ddress already in use" in second.output()


def test_the_limit_of_open_files_is_raised_to_the_hard_one(start: ServerStarter) -> None:
    server = start()
    for line in Path(f"/proc/{server.pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            soft, hard = line.split()[3:5]
            assert soft == hard


def test_the_server_is_ready_within_a_second_and_a_half(start: ServerStarter) -> None:
    """The time is that of the process: other work on the machine does not count."""
    server = start()
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    used = (int(fields[11]) + int(fields[12])) / 100
    assert used < 1.5
    assert server.request("HEAD", server.url + "x", TUS).status == 404
