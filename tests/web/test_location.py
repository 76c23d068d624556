"""The addresses of uploads: how the outside names the server (tusd-compat 2.7, the table of Location)."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.running import DEADLINE, TUS, Server, ServerStarter, eventually, read_all
from tusd_py.web.proxies import Proxies

FORWARDED = {"X-Forwarded-Host": "up.example", "X-Forwarded-Proto": "https"}


def base_of(server: Server, headers: dict[str, str]) -> str:
    """The address of a new upload without its id."""
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5"} | headers)
    assert answer.status == 201
    return answer.headers["location"].rpartition("/")[0] + "/"


@pytest.fixture(scope="module")
def direct(start_shared: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return start_shared(upload_dir=tmp_path_factory.mktemp("direct"))


@pytest.fixture(scope="module")
def proxied(start_shared: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return start_shared("-behind-proxy", upload_dir=tmp_path_factory.mktemp("proxied"))


@pytest.mark.parametrize("headers", [{}, FORWARDED, {"Forwarded": "proto=https;host=up.example"}])
@pytest.mark.parametrize("host", ["a.example", "a.example:80", "a.example:443", "[::1]:8080"])
def test_without_a_proxy_the_host_is_as_it_was_asked_for(direct: Server, host: str, headers: dict[str, str]) -> None:
    assert base_of(direct, {"Host": host} | headers) == f"http://{host}/files/"


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({}, "http://a.example"),
        ({"Host": "a.example:80"}, "http://a.example"),
        ({"Host": "a.example:443"}, "http://a.example:443"),
        (FORWARDED, "https://up.example"),
        ({"X-Forwarded-Proto": "https"}, "https://a.example"),
        ({"X-Forwarded-Proto": "https", "Host": "a.example:443"}, "https://a.example"),
        ({"X-Forwarded-Proto": "https", "Host": "a.example:80"}, "https://a.example:80"),
        ({"X-Forwarded-Proto": "HTTPS"}, "http://a.example"),
        ({"X-Forwarded-Proto": "ftp"}, "http://a.example"),
        ({"X-Forwarded-Host": "up.example:8443"}, "http://up.example:8443"),
        ({"X-Forwarded-Host": "a, b"}, "http://a, b"),
        (FORWARDED | {"Forwarded": "for=1.2.3.4; proto=http; host=b.example"}, "http://b.example"),
        ({"Forwarded": 'host="b.example:80";proto=http'}, "http://b.example"),
        ({"Forwarded": 'proto=https;host="b.example:443"'}, "https://b.example"),
        ({"Forwarded": "host=b.example, host=c.example"}, "http://b.example, host=c.example"),
        ({"Forwarded": "Proto=https; Host=b.example"}, "http://a.example"),
        ({"X-Forwarded-Prefix": "/p", "X-Forwarded-Port": "9", "X-Forwarded-For": "1.2.3.4"}, "http://a.example"),
    ],
)
def test_behind_a_proxy_its_headers_count_as_with_tusd(proxied: Server, headers: dict[str, str], origin: str) -> None:
    assert base_of(proxied, {"Host": "a.example"} | headers) == f"{origin}/files/"


# --- whose headers count ---


@pytest.mark.parametrize(
    ("networks", "is_believed"),
    [("10.0.0.0/8,::1", False), ("10.0.0.0/8, 127.0.0.1", True)],
)
def test_with_trusted_proxies_only_their_headers_count(start: ServerStarter, networks: str, is_believed: bool) -> None:
    server = start("-host", "::", "-trusted-proxies", networks)
    assert base_of(server, FORWARDED | {"Host": "a.example"}) == (
        "https://up.example/files/" if is_believed else "http://a.example/files/"
    )


def test_a_peer_on_a_unix_socket_is_trusted(start: ServerStarter, tmp_path: Path) -> None:
    path = tmp_path / "s"
    start("-unix-sock", str(path), "-behind-proxy", "-trusted-proxies", "10.0.0.0/8", wait=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(DEADLINE)
        eventually(lambda: connection.connect_ex(str(path)) == 0)
        connection.sendall(b"POST /files/ HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n")
        connection.sendall(b"X-Forwarded-Host: up.example\r\nConnection: close\r\n\r\n")
        assert b"location: http://up.example/files/" in read_all(connection)


@pytest.mark.parametrize(
    ("client", "server", "is_trusted"),
    [
        (("10.1.2.3", 1), ("10.0.0.1", 80), True),
        (("::ffff:10.1.2.3", 1), ("::", 80), True),
        (("fd00::1", 1), ("::", 80), True),
        (("fd00::1%eth0", 1), ("::", 80), True),
        (("192.0.2.1", 1), ("10.0.0.1", 80), False),
        (("::ffff:192.0.2.1", 1), ("::", 80), False),
        (("somebody", 1), ("10.0.0.1", 80), False),
        (None, ("/run/tusd.sock", None), True),
        (None, None, True),
        (None, ("10.0.0.1", 80), False),  # a peer of TCP that has gone already
    ],
)
def test_networks_hold_what_is_in_them(
    client: tuple[str, int] | None, server: tuple[str, int | None] | None, is_trusted: bool
) -> None:
    proxies = Proxies(trusted=["10.0.0.0/8", "fd00::/8"])
    assert proxies.trusts_peer_of({"client": client, "server": server}) is is_trusted


@pytest.mark.parametrize("network", ["proxy.example", "10.0.0.0/33", "10.0.0"])
def test_what_is_no_network_is_said(network: str) -> None:
    with pytest.raises(ValueError, match=network):
        Proxies(trusted=[network])


def test_what_is_no_network_ends_the_start(start: ServerStarter) -> None:
    server = start("-trusted-proxies", "10.0.0.1/8", wait=False)
    assert server.process.wait(DEADLINE) == 1
    assert "10.0.0.1/8" in server.output()


# --- paths instead ---


def test_a_relative_location_has_no_host_and_serves_as_any_other(start: ServerStarter) -> None:
    server = start("-relative-location", "-behind-proxy", "-base-path", "/up/")
    location = server.create(0, X_Forwarded_Host="up.example")
    assert urlsplit(location)[:2] == ("", "")
    assert location.startswith("/up/")
    assert server.request("HEAD", location, TUS).status == 200


def test_parts_may_be_named_with_any_host_then(start: ServerStarter) -> None:
    server = start("-relative-location")
    one, two = (server.create(0, Upload_Concat="partial") for _ in range(2))
    for origin in ("", "http://127.0.0.1", "https://a.name.that.only.clients.know"):
        final = server.request("POST", headers=TUS | {"Upload-Concat": f"final;{origin}{one} {origin}{two}"})
        assert final.status == 201
        assert final.headers["location"].startswith("/files/")
        other = server.request("POST", headers=TUS | {"Upload-Concat": f"final;{origin}/elsewhere/x"})
        assert other.status == 400
