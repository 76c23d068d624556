"""HTTP hooks, seen by a receiver."""

import asyncio
import base64
import gzip
import hashlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.hooks.calls import call_about
from tests.hooks.receivers import JSON, Receiver, Reply, receiver, with_tls
from tests.running import DEADLINE
from tusd_py.core.hook_events import Event, HookAnswer, HookCall, HookFailure
from tusd_py.core.hook_json import encode_call
from tusd_py.hooks.http import HttpBackend
from tusd_py.hooks.signing import signature_headers, webhook_key
from tusd_py.version import __version__


def ask(endpoint: str, *calls: HookCall, **options: Any) -> HookAnswer:
    """The answer to the last of the calls, one after the other."""

    async def run() -> HookAnswer:
        backend = HttpBackend(endpoint, **{"backoff": 0.0, **options})
        try:
            for call in calls or (call_about(),):
                answer = await backend.call(call)
        finally:
            await backend.close()
        return answer

    return uvloop.run(run())


def failure_of(endpoint: str, **options: Any) -> HookFailure:
    with pytest.raises(HookFailure) as caught:
        ask(endpoint, **options)
    return caught.value


# --- the request ---


def test_an_event_is_posted_as_json() -> None:
    call = call_about()
    with receiver() as hooks:
        assert ask(hooks.url, call) == HookAnswer()
    (request,) = hooks.received
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.header("Content-Type") == "application/json"
    assert request.header("User-Agent") == f"tusd-py/{__version__}"
    assert request.header("Accept-Encoding") == "gzip"
    assert request.body == encode_call(call)
    assert not [name for name, _ in request.headers if name.lower().startswith(("webhook-", "hook-"))]


def test_connections_are_kept() -> None:
    with receiver() as hooks:
        ask(hooks.url, *[call_about()] * 3)
        assert hooks.connections == 1


def test_what_an_answer_sets_as_a_cookie_is_for_no_other_call() -> None:
    with receiver(Reply(headers=JSON | {"Set-Cookie": "session=1; Path=/"})) as hooks:
        ask(hooks.url, call_about(), call_about())
    assert [request.header("Cookie") for request in hooks.received] == [None, None]


def test_proxies_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/hook"))
        ask("http://receiver.invalid/hook")
    assert proxy.received[0].path == "http://receiver.invalid/hook"


def test_a_user_in_the_endpoint_is_authorization() -> None:
    with receiver() as hooks:
        ask(hooks.url.replace("//", "//me:p%40ss@"))
    assert hooks.received[0].header("Authorization") == "Basic " + base64.b64encode(b"me:p@ss").decode()


FORWARDED = {
    "Authorization": ["Bearer token"],
    "X-Many": ["one", "two"],
    "X-Text": ["gr\udcc3\udcbcn"],
    "Content-Type": ["application/offset+octet-stream"],
    "Host": ["localhost:8080"],
}


def forwarding(names: Sequence[str]) -> Receiver:
    with receiver() as hooks:
        ask(hooks.url, call_about(header=FORWARDED), forward_headers=names)
    return hooks


def test_headers_are_forwarded_with_all_values_and_spelled_as_configured() -> None:
    (request,) = forwarding(["authorization", "x-MANY", "X-Text", "X-Absent"]).received
    sent = [pair for pair in request.headers if pair[0] in ("authorization", "x-MANY", "X-Text")]
    assert sent == [
        *(("authorization", "Bearer token"), ("x-MANY", "one"), ("x-MANY", "two")),
        ("X-Text", "grün".encode().decode("latin-1")),
    ]
    assert not request.values("X-Absent")


def test_names_of_headers_are_not_trimmed() -> None:
    (request,) = forwarding(["X-Text", " Authorization"]).received
    assert not request.values("Authorization")


def test_no_header_of_the_client_takes_the_place_of_one_of_the_request() -> None:
    (request,) = forwarding(["Host", "content-type", "Content-Length"]).received
    assert request.values("Content-Type") == ["application/json"]
    assert request.values("Host")[0].startswith("127.0.0.1:")
    assert len(request.values("Content-Length")) == 1


# --- attempts ---


@pytest.mark.parametrize("status", [500, 502, 503, 599])
def test_a_server_error_is_asked_again(status: int) -> None:
    with receiver(Reply(status), Reply(status), Reply(body=b'{"RejectUpload":true}')) as hooks:
        assert ask(hooks.url).reject_upload
    assert len(hooks.received) == 3


@pytest.mark.parametrize(("retry", "attempts"), [(3, 3), (1, 1), (0, 1), (-1, 1), (2, 2)])
def test_the_number_is_that_of_all_attempts(retry: int, attempts: int) -> None:
    with receiver(Reply(500, b"down")) as hooks:
        error = failure_of(hooks.url, retry=retry)
    assert str(error) == "unexpected response code from hook endpoint (500): down"
    assert not error.was_received
    assert len(hooks.received) == attempts


def test_the_pause_between_attempts_is_always_the_same() -> None:
    with receiver(Reply(500)) as hooks:
        failure_of(hooks.url, backoff=0.5)
    first, second, third = [request.at for request in hooks.received]
    assert 0.5 <= second - first < 1
    assert 0.5 <= third - second < 1


def test_a_connection_that_breaks_is_a_network_error() -> None:
    with receiver(Reply(hangs_up=True), Reply()) as hooks:
        ask(hooks.url)
    assert len(hooks.received) == 2


def test_a_receiver_that_is_not_there_is_asked_as_often() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    before = time.monotonic()
    error = failure_of(f"http://127.0.0.1:{port}/secret-path", backoff=0.1)
    assert time.monotonic() - before >= 0.2
    assert str(error).startswith("hook endpoint could not be asked: ")
    assert "secret-path" not in str(error)
    assert not error.was_received


@pytest.mark.parametrize("reply", [Reply(429), Reply(404), Reply(400), Reply(body=b"no")])
def test_other_trouble_is_not_asked_again(reply: Reply) -> None:
    with receiver(reply) as hooks:
        failure_of(hooks.url)
    assert len(hooks.received) == 1


@pytest.mark.parametrize(
    "replies",
    [[Reply(delay=DEADLINE)], [Reply(pause=DEADLINE)], [Reply(500, delay=0.3)]],
    ids=["no answer", "no body", "slow 500"],
)
def test_one_limit_of_time_stands_over_all_attempts(replies: list[Reply]) -> None:
    with receiver(*replies) as hooks:
        error = failure_of(hooks.url, timeout=0.5, retry=100)
    assert str(error) == "hook endpoint did not answer within 500ms"
    assert not error.was_received


def test_without_time_no_hook_succeeds() -> None:
    with receiver() as hooks:
        assert str(failure_of(hooks.url, timeout=0)) == "hook endpoint did not answer within 0s"


def test_a_call_can_be_cancelled() -> None:
    async def cancel(url: str) -> None:
        backend = HttpBackend(url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(backend.call(call_about()), 0.2)
        await backend.close()

    with receiver(Reply(delay=1)) as hooks:
        asyncio.run(cancel(hooks.url))


# --- the answer ---

CHECKED = [
    (Reply(404, b"nobody here"), "unexpected response code from hook endpoint (404): nobody here"),
    (Reply(302, b"", {}), "unexpected response code from hook endpoint (302): "),
    (Reply(400, b"x" * 6000, {}), "unexpected response code from hook endpoint (400): " + "x" * 5121),
    (Reply(200, b"x" * 5121, {}), "hook response exceeded maximum size of 5120 bytes"),
    (
        Reply(200, b"{}", {}),
        "hook response does not contain the 'Content-Type: application/json' header",
    ),
    (
        Reply(200, b"", {"Content-Type": "text/html; charset=utf-8"}),
        "expected hook response Content-Type to be application/json, but got 'text/html; charset=utf-8'",
    ),
    (Reply(200, b""), "failed to parse hook response: "),
    (Reply(200, b"hello"), "failed to parse hook response: "),
    (Reply(200, b'{"RejectUpload":"yes"}'), "failed to parse hook response: "),
]


@pytest.mark.parametrize(("reply", "text"), CHECKED)
def test_an_answer_is_checked_in_tusds_order_and_words(reply: Reply, text: str) -> None:
    with receiver(reply) as hooks:
        error = failure_of(hooks.url)
    assert str(error).startswith(text)
    assert text.endswith(": ") or str(error) == text
    assert error.was_received == (reply.status == 200)


def test_no_content_is_no_answer() -> None:
    with receiver(Reply(204, b"", {"Content-Length": "0"})) as hooks:
        error = failure_of(hooks.url)
    assert str(error) == "hook response does not contain the 'Content-Type: application/json' header"
    assert error.was_received


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_may_have_parameters(content_type: str) -> None:
    with receiver(Reply(201, headers={"Content-Type": content_type})) as hooks:
        assert ask(hooks.url) == HookAnswer()


def test_an_answer_of_just_the_largest_size_is_read() -> None:
    with receiver(Reply(body=b"{}".ljust(5120))) as hooks:
        assert ask(hooks.url) == HookAnswer()
    with receiver(Reply(body=b"{}".ljust(101))) as hooks:
        text = "hook response exceeded maximum size of 100 bytes"
        assert str(failure_of(hooks.url, size_limit=100)) == text


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    reply = Reply(headers=JSON | {"Content-Length": str(10**12)}, body=b"x" * 1_000_000)
    with receiver(reply) as hooks:
        text = "hook response exceeded maximum size of 5120 bytes"
        assert str(failure_of(hooks.url)) == text


def test_an_answer_may_be_packed() -> None:
    packed = JSON | {"Content-Encoding": "gzip"}
    with receiver(Reply(body=gzip.compress(b'{"RejectUpload":true}'), headers=packed)) as hooks:
        assert ask(hooks.url).reject_upload
    with receiver(Reply(body=gzip.compress(b" " * 20_000_000), headers=packed)) as hooks:
        assert str(failure_of(hooks.url)) == "hook response exceeded maximum size of 5120 bytes"
    for broken in (gzip.compress(b"{}" * 100)[:-9], b"not gzip"):
        with receiver(Reply(body=broken, headers=packed)) as hooks:
            error = failure_of(hooks.url)
        assert str(error).startswith("hook response could not be read: ")
        assert error.was_received


def test_an_answer_that_breaks_off_is_a_failure() -> None:
    with receiver(Reply(headers=JSON | {"Content-Length": "10", "Connection": "close"})) as hooks:
        assert str(failure_of(hooks.url)).startswith("hook response could not be read: ")
    assert len(hooks.received) == 1


# --- redirects ---


def moved(status: int, url: str) -> Reply:
    return Reply(status, b"", {"Location": url})


@pytest.mark.parametrize("status", [307, 308])
def test_a_temporary_redirect_repeats_the_call(status: int) -> None:
    with receiver(moved(status, "/other?x=1"), Reply(body=b'{"RejectUpload":true}')) as hooks:
        assert ask(hooks.url).reject_upload
    first, second = hooks.received
    assert (second.method, second.path, second.body) == ("POST", "/other?x=1", first.body)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_other_redirects_turn_the_call_into_a_get(status: int) -> None:
    with receiver(moved(status, "/other"), Reply(body=b'{"RejectUpload":true}')) as hooks:
        assert ask(hooks.url).reject_upload
    request = hooks.received[1]
    assert (request.method, request.path, request.body) == ("GET", "/other", b"")
    assert request.header("Content-Type") is None


def test_redirects_have_an_end() -> None:
    with receiver(moved(307, "/again")) as hooks:
        assert "stopped after 10 redirects" in str(failure_of(hooks.url, retry=1))
    assert len(hooks.received) == 10


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://[::1/", "http://"])
def test_a_redirect_to_nowhere_is_a_failure(location: str) -> None:
    with receiver(moved(307, location)) as hooks:
        assert str(failure_of(hooks.url)).startswith("hook endpoint could not be asked: ")


SECRETS = {"Authorization": ["Bearer s3cret"], "Cookie": ["s3cret"], "X-Key": ["s3cret"], "X-Open": ["open"]}


def test_credentials_do_not_follow_to_another_host() -> None:
    call = call_about(header=SECRETS)
    with receiver() as other, receiver(moved(307, other.url)) as hooks:
        endpoint = hooks.url.replace("//", "//me:s3cret@")
        ask(endpoint, call, forward_headers=["Authorization", "x-key"], secret=b"k" * 32)
    (request,) = other.received
    assert "s3cret" not in str(request)
    assert request.document["Event"]["HTTPRequest"]["Header"] == {"X-Open": ["open"]}
    assert request.header("webhook-signature") == signature(
        b"k" * 32, request.header("webhook-timestamp"), request.body
    )
    (first,) = hooks.received
    assert first.body == encode_call(call)
    assert first.header("authorization") == "Bearer s3cret"


def test_credentials_stay_with_their_host() -> None:
    with receiver(moved(308, "/other"), Reply()) as hooks:
        ask(hooks.url, call_about(header=SECRETS), forward_headers=["Authorization", "X-Key"])
    assert hooks.received[1].header("Authorization") == "Bearer s3cret"
    assert hooks.received[1].header("X-Key") == "s3cret"


# --- signatures ---


def signature(key: bytes, timestamp: str | None, body: bytes, call_id: str = "call-1") -> str:
    """Standard Webhooks' `v1`, by the definition of HMAC (RFC 2104)."""
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    message = f"{call_id}.{timestamp}.".encode() + body
    digest = hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).digest()
    return "v1," + base64.b64encode(digest).decode()


KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (b"whsec_" + base64.b64encode(KEY), KEY),
        (b" whsec_" + base64.b64encode(KEY) + b"\n", KEY),
        (b"a passphrase that is long enough", b"a passphrase that is long enough"),
    ],
)
def test_requests_are_signed(secret: bytes, key: bytes) -> None:
    with receiver() as hooks:
        ask(hooks.url, secret=secret)
    (request,) = hooks.received
    assert request.header("webhook-id") == "call-1"
    assert request.header("webhook-signature") == signature(key, request.header("webhook-timestamp"), request.body)


def test_every_attempt_has_its_own_time() -> None:
    before = int(time.time())
    with receiver(Reply(500), Reply()) as hooks:
        ask(hooks.url, secret=KEY, backoff=1.1)
    times = [int(request.header("webhook-timestamp") or 0) for request in hooks.received]
    assert before <= times[0] < times[1] <= time.time()
    assert {request.header("webhook-id") for request in hooks.received} == {"call-1"}


def test_an_example_of_the_specification_is_met() -> None:
    """With the values that the specification's own libraries test with."""
    key = webhook_key(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signature_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", [b"", b"short", b"whsec_" + base64.b64encode(b"short"), b"whsec_not base64 at all!"])
def test_a_weak_or_broken_secret_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="the secret"):
        HttpBackend("http://127.0.0.1/", secret=secret)


@pytest.mark.parametrize(
    "endpoint", ["", "localhost:8000", "ftp://host/", "http://", "/hook", "http://[::1", "http://[bad"]
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="must be an http or https URL"):
        HttpBackend(endpoint)


# --- TLS ---


def test_certificates_are_verified_unless_that_is_switched_off(tmp_path: Path) -> None:
    with receiver(wrap=with_tls(tmp_path)) as hooks:
        assert "certificate" in str(failure_of(hooks.url, retry=1)).lower()
        assert hooks.received == []
        assert ask(hooks.url, call_about(event=Event.PRE_CREATE), skip_verify=True) == HookAnswer()
