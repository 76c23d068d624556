"""Uploads over TLS, its modes, and new certificates for a server that runs."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients import MIB
from tests.patching import patch_head
from tests.running import DEADLINE, TUS, Server, ServerStarter, eventually, has_size, read_all, trusting_anybody
from tests.server.certificates import Files, files_in
from tusd_py.server.tls import Certificates


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = files_in(tmp_path / "tls")
    files.hold("first.example")
    return files


@pytest.fixture
def changing(start: ServerStarter, files: Files) -> Server:
    """A server over TLS, with files of its own."""
    return start(*files.flags, "-shutdown-timeout", "2m")


def name_of(server: Server) -> str:
    """The name in the certificate that a new connection is shown."""
    with server.connection() as connection:
        assert isinstance(connection, ssl.SSLSocket)
        return name_in(connection.getpeercert(binary_form=True) or b"")


def has_complained(server: Server, times: int) -> bool:
    return server.output().count("event=CertificatesNotReloaded") == times


def is_shown(server: Server, name: str) -> bool:
    return name_of(server) == name


def name_in(certificate: bytes) -> str:
    command = ["openssl", "x509", "-inform", "der", "-noout", "-subject", "-nameopt", "multiline"]
    shown = subprocess.run(command, input=certificate, check=True, capture_output=True).stdout.decode()
    return shown.rpartition("=")[2].strip()


# --- uploads ---


@pytest.mark.parametrize("is_checked", [False, True])
def test_a_large_upload_over_tls_is_stored_as_it_was_sent(secure: Server, is_checked: bool) -> None:
    data = os.urandom(60 * MIB + 11)
    digest = hashlib.sha256(data).digest()
    checksum = {"Upload_Checksum": f"sha256 {base64.b64encode(digest).decode()}"} if is_checked else {}
    url = secure.create(len(data))
    assert url.startswith(f"https://127.0.0.1:{secure.port}/files/")
    assert secure.patch(url, 0, data, **checksum).status == 204
    assert hashlib.sha256(secure.path_of(url).read_bytes()).digest() == digest
    assert hashlib.sha256(secure.request("GET", url).body).digest() == digest


def test_a_wrong_checksum_over_tls_costs_nothing_but_its_own_bytes(secure: Server) -> None:
    url = secure.create(2 * MIB)
    assert secure.patch(url, 0, b"x" * MIB).status == 204
    assert secure.patch(url, MIB, b"x" * MIB, Upload_Checksum="sha1 " + "A" * 27 + "=").status == 460
    assert secure.offset(url) == MIB


def test_bytes_in_flight_when_a_client_vanishes_are_kept(secure: Server) -> None:
    for size, says_goodbye in ((1_000, True), (3_000_000, True), (1_000, False), (3_000_000, False)):
        url = secure.create(10_000_000)
        with secure.connection() as connection:
            connection.sendall(patch_head(url, 0, 10_000_000) + b"x" * size)
            eventually(has_size(secure.path_of(url), size))
            if says_goodbye:
                assert isinstance(connection, ssl.SSLSocket)
                connection.unwrap()
        assert secure.offset(url) == size


def test_an_early_error_can_be_read_by_a_client_that_goes_on_sending(secure: Server) -> None:
    url = secure.create(100_000_000)
    assert secure.patch(url, 7, bytes(30_000_000)).status == 409


def test_the_next_request_on_a_connection_works(secure: Server) -> None:
    url = secure.create(10)
    heads = patch_head(url, 0, 5) + b"hello" + patch_head(url, 5, 5, "Connection: close") + b"world"
    assert secure.raw(heads).count(b"HTTP/1.1 204 ") == 2


def test_plain_http_on_the_port_of_tls_is_dropped_and_the_server_goes_on(secure: Server) -> None:
    with socket.create_connection(("127.0.0.1", secure.port), timeout=DEADLINE) as connection:
        connection.sendall(b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP/1.1" not in read_all(connection)
    assert secure.request("OPTIONS").status == 200


def test_a_stop_does_not_wait_for_idle_connections(start: ServerStarter, files: Files) -> None:
    changing = start(*files.flags, "-shutdown-timeout", "1h")
    with (
        socket.create_connection(("127.0.0.1", changing.port)),  # which has not said anything yet
        changing.connection() as connection,
    ):
        connection.sendall(b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert changing.terminate() == 0
    assert "Shutdown completed. Goodbye!" in changing.output()


# --- modes (tusd-compat 1.2) ---

AES_128, AES_256, CHACHA20 = "ECDHE-{}-AES128-GCM-SHA256", "ECDHE-{}-AES256-GCM-SHA384", "ECDHE-{}-CHACHA20-POLY1305"


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[str, str]:
    """Version and cipher suite that these two agree on, without a network. Raises `ssl.SSLError`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return str(ends[0].version()), (ends[0].cipher() or ("",))[0]


def offered(mode: str, files: Files, version: ssl.TLSVersion) -> set[str]:
    """Every cipher suite that a client of this version can have."""
    server = Certificates(str(files.certificate), str(files.key), mode).context
    found = set()
    everything = trusting_anybody()
    everything.set_ciphers("ALL:@SECLEVEL=0")
    for name in (suite["name"] for suite in everything.get_ciphers()):
        client = trusting_anybody()
        client.minimum_version = client.maximum_version = version
        with suppress(ssl.SSLError):
            if not name.startswith("TLS_"):  # those of 1.3 cannot be chosen
                client.set_ciphers(f"{name}:@SECLEVEL=0")
            found.add(handshake(client, server)[1])
    return found


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize(
    ("mode", "suites"),
    [("tls12", {AES_128, AES_256, CHACHA20}), ("tls12-strong", {AES_256}), ("tls13", set())],
)
def test_a_mode_has_the_suites_of_tusds_for_tls_1_2(tmp_path: Path, mode: str, suites: set[str], kind: str) -> None:
    files = files_in(tmp_path)
    files.hold("modes.example", kind)
    expected = {suite.format({"rsa": "RSA", "ec": "ECDSA"}[kind]) for suite in suites}
    assert offered(mode, files, ssl.TLSVersion.TLSv1_2) == expected


@pytest.mark.parametrize(("mode", "has_1_3"), [("tls12", True), ("tls12-strong", False), ("tls13", True)])
def test_a_mode_has_tls_1_3_or_not_and_never_1_1(files: Files, mode: str, has_1_3: bool) -> None:
    server = Certificates(str(files.certificate), str(files.key), mode).context
    client = trusting_anybody()
    assert handshake(client, server)[0] == ("TLSv1.3" if has_1_3 else "TLSv1.2")
    assert server.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert bool(offered(mode, files, ssl.TLSVersion.TLSv1_3)) is has_1_3


def test_the_server_decides_which_suite_is_best(files: Files) -> None:
    client = trusting_anybody()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(":".join(suite.format("RSA") for suite in (CHACHA20, AES_256, AES_128)))
    server = Certificates(str(files.certificate), str(files.key), "tls12").context
    assert handshake(client, server)[1] == AES_128.format("RSA")


@pytest.mark.parametrize(
    ("flag", "versions"),
    [
        ((), ("TLSv1.3", "TLSv1.2")),
        (("-tls-mode", "tls13"), ("TLSv1.3", "")),
        (("-tls-mode", "tls12-strong"), ("TLSv1.2", "TLSv1.2")),
    ],
)
def test_every_mode_serves_its_versions(
    start: ServerStarter, files: Files, flag: tuple[str, ...], versions: tuple[str, str]
) -> None:
    """A client that can do all, and one that knows nothing newer than 1.2."""
    server = start(*files.flags, *flag)
    assert server.patch(server.create(5), 0, b"hello").status == 204
    for newest, version in zip((ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2), versions, strict=True):
        client = trusting_anybody()
        client.maximum_version = newest
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
            if version:
                with client.wrap_socket(plain) as connection:
                    assert connection.version() == version
            else:
                with pytest.raises(ssl.SSLError):
                    client.wrap_socket(plain)


def test_http_2_is_not_agreed_on(secure: Server) -> None:
    context = trusting_anybody()
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(("127.0.0.1", secure.port), timeout=DEADLINE)
    with context.wrap_socket(plain) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


# --- new certificates ---


def test_a_new_certificate_is_for_new_connections_and_old_ones_stay(changing: Server, files: Files) -> None:
    url = changing.create(2_000_000)
    with changing.connection() as connection:
        connection.sendall(patch_head(url, 0, 2_000_000, "Connection: close") + bytes(1_000_000))
        eventually(has_size(changing.path_of(url), 1_000_000))
        for name, kind in (("second.example", "ec"), ("third.example", "rsa")):
            files.hold(name, kind)
            changing.process.send_signal(signal.SIGHUP)
            eventually(partial(is_shown, changing, name))
        connection.sendall(bytes(1_000_000))
        assert read_all(connection).startswith(b"HTTP/1.1 204 ")
    assert changing.output().count("event=CertificatesReloaded") == 2


def test_what_cannot_be_used_is_said_and_the_former_certificate_stays(changing: Server, files: Files) -> None:
    first = files.certificate.read_bytes()
    spoil: dict[str, Callable[[], object]] = {
        "a certificate of another key": lambda: files.certificate.write_bytes(first),
        "no certificate": files.certificate.unlink,
        "an empty key": lambda: files.key.write_bytes(b""),
        "half a certificate": lambda: files.certificate.write_bytes(first[: len(first) // 2]),
        "an encrypted key": lambda: encrypt(files),
    }
    for count, break_it in enumerate(spoil.values(), 1):
        files.hold("second.example")
        break_it()
        changing.process.send_signal(signal.SIGHUP)
        eventually(partial(has_complained, changing, count))
        assert name_of(changing) == "first.example"
    files.hold("third.example")
    changing.process.send_signal(signal.SIGHUP)
    eventually(lambda: name_of(changing) == "third.example")


def test_without_tls_a_hangup_ends_the_server_as_it_does_tusd(start: ServerStarter) -> None:
    server = start(wrapper=["env", "--default-signal=HUP"])  # also where the tests run under nohup
    server.process.send_signal(signal.SIGHUP)
    assert server.process.wait(DEADLINE) == -signal.SIGHUP


# --- the start ---


def encrypt(files: Files) -> None:
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", str(files.key), "-out", str(files.key)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("is_encrypted", [True, False])
def test_a_server_that_cannot_have_its_tls_does_not_start(tmp_path: Path, files: Files, is_encrypted: bool) -> None:
    if is_encrypted:
        encrypt(files)
    else:
        files.key.unlink()
    command = [sys.executable, "-m", "tusd_py", "-upload-dir", str(tmp_path), "-port", "0", *files.flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "upload files to" not in result.stdout


@pytest.mark.parametrize("which", [0, 2])
def test_one_file_alone_is_plain_http_as_with_tusd_and_that_is_said(
    start: ServerStarter, files: Files, which: int
) -> None:
    server = start(*files.flags[which : which + 2], "-tls-mode", "none")
    assert server.url.startswith("http://")
    assert "plain HTTP is served: TLS needs both -tls-certificate and -tls-key" in server.output()
    assert server.request("OPTIONS", headers=TUS).status == 200


def test_a_unix_socket_can_have_tls(start: ServerStarter, files: Files, tmp_path: Path) -> None:
    path = tmp_path / "tusd.sock"
    start("-unix-sock", str(path), *files.flags, wait=False)
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    plain.settimeout(DEADLINE)
    eventually(lambda: plain.connect_ex(str(path)) == 0)
    with trusting_anybody().wrap_socket(plain) as connection:
        connection.sendall(b"POST /files/ HTTP/1.1\r\nHost: up.example\r\nTus-Resumable: 1.0.0\r\n")
        connection.sendall(b"Upload-Length: 5\r\nConnection: close\r\n\r\n")
        answer = read_all(connection)
    assert urlsplit(answer.partition(b"location: ")[2].partition(b"\r")[0].decode())[:2] == ("https", "up.example")
