"""Webhooks as a receiver sees them, of a back end alone and of a server, by the words of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.chunked import Source, fields_of, finish, initiate
from tests.cli.test_metrics import values
from tests.hooks.calls import call_about
from tests.hooks.receivers import Received, Receiver, Reply, receiver
from tests.running import DEADLINE, ServerStarter, eventually
from tusd_py.core.hook_events import Event, HookCall, HookFailure
from tusd_py.hooks import public_addresses
from tusd_py.hooks.public_addresses import is_public
from tusd_py.hooks.webhook import WebhookBackend
from tusd_py.version import __version__

FAILED, DELIVERED = (f'outcome="{outcome}",receiver="webhook"' for outcome in ("failed", "delivered"))
SECRET = b"whsec_" + base64.b64encode(b"k" * 32)
FILE = {"id": "f_1", "status": "ready", "fileName": "naïve €.txt"}


def ready(call_id: str = "id-1") -> HookCall:
    return replace(call_about(event=Event.FILE_READY, call_id=call_id), file=FILE, happened_at=1_795_000_000.5)


def send(
    url: str, *calls: HookCall, secret: bytes | None = None, timeout: float = DEADLINE, public_only: bool = False
) -> None:
    async def run() -> None:
        backend = WebhookBackend(url, secret=secret, public_only=public_only, timeout=timeout)
        try:
            for call in calls or (ready(),):
                await backend.call(call)
        finally:
            await backend.close()

    uvloop.run(run())


def assert_signed(received: Received, key: bytes) -> None:
    """As a receiver checks it, by the words of the specification."""
    message_id, timestamp = received.header("webhook-id"), received.header("webhook-timestamp")
    assert message_id
    assert timestamp
    assert abs(int(timestamp) - time.time()) < 60
    signed = f"{message_id}.{timestamp}.".encode() + received.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert received.header("webhook-signature") == f"v1,{expected}"


# --- one message ---


def test_a_message_has_the_form_of_standard_webhooks() -> None:
    with receiver() as hooks:
        send(hooks.url)
    (received,) = hooks.received
    assert (received.method, received.path) == ("POST", "/hook")
    assert received.header("content-type") == "application/json"
    assert received.header("user-agent") == f"tusd-py/{__version__}"
    assert received.header("webhook-id") == "id-1"
    message = json.loads(received.body)
    assert set(message) == {"type", "timestamp", "data"}
    assert (message["type"], message["data"]) == ("file.ready", FILE)
    assert message["timestamp"] == "2026-11-18T11:06:40.500Z"


@pytest.mark.parametrize(
    ("event", "kind"), [(Event.FILE_QUARANTINED, "file.quarantined"), (Event.FILE_FAILED, "file.failed")]
)
def test_each_event_has_its_type(event: Event, kind: str) -> None:
    with receiver() as hooks:
        send(hooks.url, replace(ready(), event=event))
    assert hooks.bodies[0]["type"] == kind


@pytest.mark.parametrize(("secret", "key"), [(SECRET, b"k" * 32), (b"s" * 40 + b"\n", b"s" * 40)])
def test_a_message_is_signed(secret: bytes, key: bytes) -> None:
    with receiver() as hooks:
        send(hooks.url, secret=secret)
    assert_signed(hooks.received[0], key)


def test_without_a_secret_nothing_is_signed() -> None:
    with receiver() as hooks:
        send(hooks.url)
    assert hooks.received[0].header("webhook-signature") is None


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_means_that_it_has_arrived(status: int) -> None:
    with receiver(Reply(status, b"")) as hooks:
        send(hooks.url)


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
def test_any_other_answer_is_a_failure(status: int) -> None:
    with receiver(Reply(status)) as hooks, pytest.raises(HookFailure, match=str(status)) as caught:
        send(hooks.url)
    assert not caught.value.was_received


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with receiver() as other, receiver(Reply(status, headers={"Location": other.url})) as hooks:
        with pytest.raises(HookFailure):
            send(hooks.url)
        assert len(hooks.received) == 1
        assert other.received == []


def test_a_receiver_that_hangs_up_or_says_nothing_is_a_failure() -> None:
    with receiver(Reply(hangs_up=True)) as hooks, pytest.raises(HookFailure):
        send(hooks.url)
    with receiver(Reply(delay=2.0)) as hooks, pytest.raises(HookFailure):
        send(hooks.url, timeout=0.2)


def test_nothing_is_read_of_a_long_answer() -> None:
    with receiver(Reply(200, b"", headers={"Content-Length": str(10**12)})) as hooks:
        send(hooks.url)


@pytest.mark.parametrize("url", ["", "example.org", "ftp://example.org/", "http:///x", "file:///etc/passwd"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        WebhookBackend(url, secret=None)


@pytest.mark.parametrize("secret", [b"", b"short", b"whsec_!!!", b"whsec_" + base64.b64encode(b"short")])
def test_a_secret_that_cannot_be_used_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="secret"):
        WebhookBackend("http://localhost/", secret=secret)


# --- receivers in private networks ---


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
        *("255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::"),
    ],
)
def test_any_other_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "[::1]"])
def test_if_told_so_no_private_address_is_connected_to_however_it_is_written(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as hooks:
        monkeypatch.setenv("HTTP_PROXY", hooks.url)
        with pytest.raises(HookFailure, match="has no public address"):
            send(hooks.url.replace("127.0.0.1", host), public_only=True)
        assert hooks.connections == 0


def test_a_public_receiver_is_called_by_its_name_and_has_to_have_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_addresses, "is_public", lambda _address: True)  # nothing here is
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    def wrap(server: ThreadingHTTPServer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)

    with receiver(wrap=wrap) as hooks:
        by_name = hooks.url.replace("127.0.0.1", "localhost")
        send(by_name, public_only=True)
        assert hooks.received[0].header("host") == urlsplit(by_name).netloc
        with pytest.raises(HookFailure, match="certificate"):
            send(hooks.url, public_only=True)
    assert len(hooks.received) == 1


# --- a server that sends them ---


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture
def port() -> int:
    """A port on which nobody listens yet."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def data_of(hooks: Receiver) -> list[dict[str, Any]]:
    return [body["data"] for body in hooks.bodies]


def test_a_server_tells_of_a_file_as_the_api_does_with_links_that_work(start: ServerStarter, secret_file: Path) -> None:
    with receiver() as hooks:
        server = start("-webhook-url", hooks.url, "-webhook-secret-file", str(secret_file))
        upload = initiate(server, Source(b"hello"))
        record = finish(server, upload)
        eventually(lambda: hooks.received)
    (received,) = hooks.received
    assert_signed(received, b"k" * 32)
    data = received.document["data"]
    assert data.items() >= record.items()
    assert upload.id not in received.body.decode()
    link = urlsplit(data["downloadUrl"])
    assert server.request("GET", f"{link.path}?{link.query}").body == b"hello"


def test_a_message_is_sent_again_until_the_receiver_is_there(
    start: ServerStarter, secret_file: Path, port: int
) -> None:
    server = start(
        *("-webhook-url", f"http://127.0.0.1:{port}/hook", "-webhook-secret-file", str(secret_file)),
        *("-signed-url-ttl", "2s"),
    )
    record = finish(server, initiate(server, Source(b"hello")))
    eventually(lambda: values(server, "tusd_py_delivery_attempts_total").get(FAILED))
    assert values(server, "tusd_py_delivery_queued") == {'kind="hooks"': 0, 'kind="webhook"': 1}
    settled_at = time.time()
    eventually(lambda: time.time() > settled_at + 2)  # a link that was made then would have ended
    is_up_at = int(time.time())
    with receiver(Reply(503), Reply(200), port=port) as hooks:
        eventually(lambda: len(hooks.received) == 2)
        eventually(lambda: values(server, "tusd_py_delivery_attempts_total").get(DELIVERED) == 1)
    eventually(lambda: values(server, "tusd_py_delivery_queued")['kind="webhook"'] == 0)
    assert [data["id"] for data in data_of(hooks)] == [record["id"]] * 2
    assert len({received.header("webhook-id") for received in hooks.received}) == 1
    assert len({received.document["timestamp"] for received in hooks.received}) == 1
    for received in hooks.received:
        assert_signed(received, b"k" * 32)
        assert received.document["data"]["expires"] >= is_up_at + 2


def test_a_message_outlives_the_server(start: ServerStarter, port: int) -> None:
    url = f"http://127.0.0.1:{port}/hook"
    server = start("-webhook-url", url)
    record = finish(server, initiate(server, Source(b"hello")))
    server.kill()
    with receiver(port=port) as hooks:
        start("-webhook-url", url, upload_dir=server.upload_dir)
        eventually(lambda: hooks.received)
    assert data_of(hooks)[0]["id"] == record["id"]


def test_one_message_that_fails_keeps_no_other_file_waiting(start: ServerStarter) -> None:
    refused: list[str] = []
    with receiver() as hooks:
        take = hooks.take

        def answer(received: Received) -> Reply:
            take(received)
            refused[:] = refused or [received.document["data"]["id"]]
            return Reply(500 if received.document["data"]["id"] in refused else 200)

        hooks.take = answer  # type: ignore[method-assign]
        server = start("-webhook-url", hooks.url)
        ids = [finish(server, initiate(server, Source(b"%d" % number)))["id"] for number in range(3)]
        eventually(lambda: {data["id"] for data in data_of(hooks)} == set(ids))
    assert refused[0] in ids


def test_a_server_does_not_send_webhooks_into_its_own_network_if_told_so(start: ServerStarter) -> None:
    with receiver() as hooks:
        server = start("-webhook-url", hooks.url, "-webhook-public-only")
        finish(server, initiate(server, Source(b"hello")))
        eventually(lambda: values(server, "tusd_py_delivery_attempts_total").get(FAILED))
    assert hooks.connections == 0


def test_a_webhook_is_told_of_tus_uploads_too(start: ServerStarter) -> None:
    with receiver() as hooks:
        server = start("-webhook-url", hooks.url)
        url = server.create(5)
        assert server.patch(url, 0, b"hello").status == 204
        eventually(lambda: hooks.received)
        upload_id = url.rpartition("/")[2]
        status = fields_of(server.request("GET", f"/api/uploads/{upload_id}/status"))
    assert data_of(hooks)[0]["id"] == status["fileId"]
