"""Where the server listens: addresses as Go takes them, and the socket that systemd opens."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edge import readme_block
from tests.running import DEADLINE, TUS, ServerStarter, eventually, read_all
from tusd_py.server.listening import CannotListen, listen_on_port

REQUEST = b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

ACTIVATION = """
import os, socket, sys
kind, place, count, process, *command = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX if place else socket.AF_INET, getattr(socket, kind))
listener.bind(place.replace("@", chr(0)) if place else ("127.0.0.1", 0))
if kind == "SOCK_STREAM":
    listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS=count, LISTEN_PID=process or str(os.getpid()), LISTEN_FDNAMES="uploads")
os.execvp(command[0], command)
"""
"""What systemd does between the fork and the start of a program."""


def activation(*, kind: str = "SOCK_STREAM", place: str = "", count: str = "1", process: str = "") -> list[str]:
    return [sys.executable, "-c", ACTIVATION, kind, place, count, process]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])  # noqa: S104 -- what is tested
def test_all_interfaces_means_both_address_families(start: ServerStarter, host: str) -> None:
    server = start("-host", host)
    assert server.url == f"http://[::]:{server.port}/files/"
    assert f"Using {host}:0 as address to listen." in server.output()
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, server.port), timeout=DEADLINE) as connection:
            connection.sendall(REQUEST)
            assert read_all(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("host", "shown"), [("localhost", "127.0.0.1"), ("::1", "[::1]")])
def test_one_address_is_that_address_and_of_a_name_the_first_of_ipv4(
    start: ServerStarter, host: str, shown: str
) -> None:
    server = start("-host", host)
    assert server.url == f"http://{shown}:{server.port}/files/"


@pytest.mark.parametrize("port", ["99999", "70000", "65536", "-5", "+65536"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])  # noqa: S104 -- what is tested
def test_a_number_that_no_port_has_is_refused(host: str, port: str) -> None:
    with pytest.raises(CannotListen) as refused:
        listen_on_port(host, port)
    reason = "a port is a number from 0 to 65535, or the name of a service"
    assert str(refused.value) == f"listen tcp {host}:{port}: {reason}"


def test_the_socket_of_systemd_is_served_and_no_other(start: ServerStarter) -> None:
    server = start("-port", "1", wrapper=activation())
    assert server.port > 1024
    assert f"Using 127.0.0.1:{server.port} as address to listen." in server.output()
    assert server.patch(server.create(5), 0, b"hello").status == 204
    assert server.terminate() == 0


def test_systemd_finds_no_fault_with_the_readmes_units(tmp_path: Path) -> None:
    for name, line in (("tusd-py.socket", "[Socket]"), ("tusd-py.service", "[Service]")):
        unit = readme_block(f"# /etc/systemd/system/{name}")
        assert unit.splitlines()[1] == line
        (tmp_path / name).write_text(unit.replace("/opt/tusd-py/bin/tusd-py", sys.executable))
    command = ["systemd-analyze", "verify", str(tmp_path / "tusd-py.socket"), str(tmp_path / "tusd-py.service")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("name", ["tusd.sock", "@tusd-py-{pid}"])
def test_systemds_unix_socket_is_left_to_systemd(start: ServerStarter, tmp_path: Path, name: str) -> None:
    place = name.format(pid=os.getpid()) if name.startswith("@") else str(tmp_path / name)
    server = start(wrapper=activation(place=place), wait=False)
    eventually(lambda: f"Using {place} as socket to listen." in server.output())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(place.replace("@", "\0"))
        connection.sendall(REQUEST)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    assert server.terminate() == 0
    assert name.startswith("@") or Path(place).is_socket()


@pytest.mark.parametrize(
    ("passed", "why"),
    [
        ({"count": "2"}, "systemd has passed 2 sockets: give the socket unit one Listen line"),
        ({"kind": "SOCK_DGRAM"}, "systemd's socket does not listen: it needs ListenStream= and Accept=no"),
    ],
)
def test_what_cannot_be_served_of_systemds_is_refused(start: ServerStarter, passed: dict[str, str], why: str) -> None:
    server = start(wrapper=activation(**passed), wait=False)
    assert server.process.wait(DEADLINE) == 1
    assert why in server.output()


def test_sockets_that_were_for_another_process_are_none_of_ours(start: ServerStarter) -> None:
    server = start()
    other = start(wrapper=activation(process="1"), upload_dir=server.upload_dir.parent / "other")
    assert re.search(r"Using 127\.0\.0\.1:0 as address", other.output())
    assert other.request("OPTIONS", headers=TUS).status == 200


def test_programs_that_the_server_starts_hear_nothing_of_the_socket(tmp_path: Path) -> None:
    """In a process of its own, since the socket has the number 3."""
    script = tmp_path / "served.py"
    script.write_text(
        "import os\n"
        "from tusd_py.server.listening import take_inherited_socket\n"
        "listener = take_inherited_socket(os.environ)\n"
        "assert listener.fileno() == 3\n"
        "assert not [name for name in os.environ if name.startswith('LISTEN_')]\n"
        "assert not os.get_inheritable(3)\n"
    )
    subprocess.run([*activation(), sys.executable, str(script)], check=True, timeout=DEADLINE)
