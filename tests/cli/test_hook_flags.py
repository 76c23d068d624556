"""The flags about hooks on the command line, each seen by a real receiver (tusd-compat 1.2 and 4)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

from tests.hooks.grpc_receiver import generated, grpc_receiver
from tests.hooks.receivers import Reply, receiver, with_tls
from tests.running import CHUNK, DEADLINE, TUS, Answer, Server, ServerStarter, eventually, request_head
from tests.server.certificates import files_in

SECRET = b"0123456789abcdef0123456789abcdef"
PRE_CREATE = ("-hooks-enabled-events", "pre-create")


def creation(server: Server, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", headers=TUS | {"Upload-Length": "5"} | named)


# --- HTTP ---


def test_headers_are_forwarded_as_the_list_names_them_without_trimming(start: ServerStarter) -> None:
    with receiver() as hooks:
        server = start(
            "-hooks-http", hooks.url, *PRE_CREATE, "-hooks-http-forward-headers", "X-Team,authorization, X-B"
        )
        assert creation(server, X_Team="blue", Authorization="Bearer a", X_B="b").status == 201
    [received] = hooks.received
    assert dict(received.headers).items() >= {"X-Team": "blue", "authorization": "Bearer a"}.items()
    assert received.header("X-B") is None


@pytest.mark.parametrize(
    ("retry", "attempts"), [((), 3), (("-hooks-http-retry", "2"), 2), (("-hooks-http-retry=0",), 1)]
)
def test_the_number_of_attempts_is_that_of_all(start: ServerStarter, retry: tuple[str, ...], attempts: int) -> None:
    with receiver(Reply(503, b"busy")) as hooks:
        server = start("-hooks-http", hooks.url, *PRE_CREATE, "-hooks-http-backoff", "1ms", *retry)
        answer = creation(server)
    assert (answer.status, answer.code) == (500, "ERR_INTERNAL_SERVER_ERROR")
    assert b"unexpected response code from hook endpoint (503): busy" in answer.body
    assert len(hooks.received) == attempts


def test_attempts_are_apart_as_long_as_the_flag_says(start: ServerStarter) -> None:
    """Longer than the second that it is by default."""
    with receiver(Reply(500), Reply()) as hooks:
        server = start("-hooks-http", hooks.url, *PRE_CREATE, "-hooks-http-backoff", "1300ms")
        assert creation(server).status == 201
    assert [later.at - earlier.at > 1.29 for earlier, later in pairwise(hooks.received)] == [True]


def test_an_answer_has_the_time_that_the_flag_says(start: ServerStarter) -> None:
    with receiver(Reply(delay=DEADLINE)) as hooks:
        server = start("-hooks-http", hooks.url, *PRE_CREATE, "-hooks-http-timeout", "400ms")
        answer = creation(server)
    assert answer.status == 500
    assert b"hook endpoint did not answer within 400ms" in answer.body
    assert len(hooks.received) == 1


def test_an_answer_may_be_as_long_as_the_flag_says(start: ServerStarter) -> None:
    text = b'{"HTTPResponse":{"Header":{"X-Said":"%s"}}}' % (b"x" * 100)
    with receiver(Reply(body=text)) as hooks:
        flags = ("-hooks-http", hooks.url, *PRE_CREATE, "-hooks-http-size-limit")
        assert creation(start(*flags, str(len(text)))).headers["x-said"] == "x" * 100
        answer = creation(start(*flags, str(len(text) - 1)))
    assert f"hook response exceeded maximum size of {len(text) - 1} bytes" in answer.body.decode()


def test_a_certificate_is_verified_unless_the_flag_says_otherwise(start: ServerStarter, tmp_path: Path) -> None:
    with receiver(wrap=with_tls(tmp_path)) as hooks:
        flags = ("-hooks-http", hooks.url, *PRE_CREATE)
        answer = creation(start(*flags, "-hooks-http-retry", "1"))
        assert answer.status == 500
        assert b"certificate" in answer.body.lower()
        assert creation(start(*flags, "-hooks-http-skip-verify")).status == 201
    assert len(hooks.received) == 1


def test_calls_are_signed_with_the_secret_in_the_file(start: ServerStarter, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    with receiver() as hooks:
        assert (
            creation(start("-hooks-http", hooks.url, *PRE_CREATE, "-hooks-http-secret-file", str(secret))).status == 201
        )
    [received] = hooks.received
    signed = f"{received.header('webhook-id')}.{received.header('webhook-timestamp')}.".encode() + received.body
    signature = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert received.header("webhook-signature") == f"v1,{signature}"


def test_headers_to_be_forgotten_are_not_kept_on_disk(start: ServerStarter) -> None:
    with receiver(Reply(500)) as hooks:
        events = ("-hooks-enabled-events", "post-create")
        server = start("-hooks-http", hooks.url, *events, "-hooks-forget-headers", "X-Key, X-Token")
        assert creation(server, X_Key="s3cret", X_Token="s3cret", Cookie="s3cret", X_Team="blue").status == 201
        [path] = eventually(lambda: list((server.upload_dir / ".tusd-py/hooks").rglob("*-http.json")))
    kept = path.read_text()
    assert "s3cret" not in kept
    assert '"X-Team":["blue"]' in kept


# --- programs, events ---


def test_a_program_has_the_time_that_the_flag_says(start: ServerStarter, tmp_path: Path) -> None:
    program = tmp_path / "pre-create"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    answer = creation(start("-hooks-dir", str(tmp_path), "-hooks-timeout", "300ms"))
    assert answer.status == 500
    assert b"hook program pre-create did not end within 300ms" in answer.body


def test_an_empty_list_of_events_means_all_of_tusds(start: ServerStarter) -> None:
    with receiver() as hooks:
        server = start("-hooks-http", hooks.url, "-hooks-enabled-events", "")
        url = server.create(5)
        server.patch(url, 0, b"hello")
        server.request("DELETE", url, TUS)
        eventually(lambda: "post-terminate" in [body["Type"] for body in hooks.bodies])
    events = "pre-create post-create pre-finish post-finish pre-terminate post-terminate"
    assert {body["Type"] for body in hooks.bodies} == set(events.split())


def test_progress_is_told_as_often_as_the_flag_says(start: ServerStarter) -> None:
    with receiver() as hooks:
        events = ("-hooks-enabled-events", "post-receive,post-finish")
        server = start("-hooks-http", hooks.url, *events, "-progress-hooks-interval", "100ms")
        url = server.create(200)
        head = request_head("PATCH", urlsplit(url).path, CHUNK | {"Upload-Offset": "0", "Content-Length": "200"})
        with server.connection() as connection:
            connection.sendall(head + b"x" * 100)
            eventually(lambda: hooks.received)
            connection.sendall(b"x" * 100)
            eventually(lambda: "post-finish" in [body["Type"] for body in hooks.bodies])
        assert hooks.bodies[0]["Event"]["Upload"]["Offset"] == 100

        seldom = start("-hooks-http", hooks.url, *events, "-progress-hooks-interval", "1h")
        told = len(hooks.received)
        url = seldom.create(1000)
        seldom.patch(url, 0, b"x" * 1000)
        eventually(lambda: len(hooks.received) > told)
    assert [body["Type"] for body in hooks.bodies[told:]] == ["post-finish"]


@pytest.mark.parametrize(("interval", "seconds"), [("2500ms", 2.5), ("0", 1.0)])
def test_progress_is_told_after_the_interval_which_is_a_second_where_it_is_none(
    start: ServerStarter, interval: str, seconds: float
) -> None:
    with receiver() as hooks:
        events = ("-hooks-enabled-events", "post-receive")
        server = start("-hooks-http", hooks.url, *events, "-progress-hooks-interval", interval)
        url = server.create(200)
        head = request_head("PATCH", urlsplit(url).path, CHUNK | {"Upload-Offset": "0", "Content-Length": "200"})
        with server.connection() as connection:
            began = time.monotonic()
            connection.sendall(head + b"x" * 100)
            eventually(lambda: hooks.received)
    assert hooks.received[0].at - began > seconds - 0.02


# --- gRPC ---


def answered(**fields: Any) -> Any:
    return generated()[0].HookResponse(**fields)


def test_a_grpc_receiver_is_asked_and_told(start: ServerStarter) -> None:
    seen: list[Any] = []

    def hook(request: Any, _context: grpc.ServicerContext) -> Any:
        seen.append(request)
        is_large = request.type == "pre-create" and request.event.upload.size > 5
        return answered(rejectUpload=is_large)

    with grpc_receiver(hook) as target:
        server = start("-hooks-grpc", target)
        assert server.request("POST", headers=TUS | {"Upload-Length": "6"}).code == "ERR_UPLOAD_REJECTED"
        url = server.create(5)
        server.patch(url, 0, b"hello")
        server.request("DELETE", url, TUS)
        eventually(lambda: "post-terminate" in [request.type for request in seen])
    told = ["pre-create", "pre-create", "post-create", "post-finish", "post-terminate"]
    assert [request.type for request in seen] == told  # what is enabled by default
    assert {request.event.upload.id for request in seen[2:]} == {url.rpartition("/")[2]}
    assert [request.event.httpRequest.method for request in seen[2:]] == ["POST", "PATCH", "DELETE"]


@pytest.mark.parametrize(
    ("retry", "attempts", "backoff"),
    [((), 3, 0.2), (("-hooks-grpc-retry", "2"), 2, 1.3), (("-hooks-grpc-retry=0",), 1, 0.2)],
)
def test_a_grpc_receiver_without_room_is_asked_as_often_and_as_far_apart_as_the_flags_say(
    start: ServerStarter, retry: tuple[str, ...], attempts: int, backoff: float
) -> None:
    """Once longer than the second that it is by default."""
    seen: list[float] = []

    def hook(_request: object, context: grpc.ServicerContext) -> Any:
        seen.append(time.monotonic())
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "not today")

    with grpc_receiver(hook) as target:
        answer = creation(start("-hooks-grpc", target, *PRE_CREATE, "-hooks-grpc-backoff", f"{backoff}s", *retry))
    assert answer.status == 500
    assert b"rpc error: code = ResourceExhausted desc = not today" in answer.body
    assert [later - earlier > backoff - 0.01 for earlier, later in pairwise(seen)] == [True] * (attempts - 1)


def test_headers_are_forwarded_by_grpc(start: ServerStarter) -> None:
    seen: dict[str, Any] = {}

    def hook(_request: object, context: grpc.ServicerContext) -> Any:
        seen.update(context.invocation_metadata())
        return answered()

    with grpc_receiver(hook) as target:
        server = start("-hooks-grpc", target, *PRE_CREATE, "-hooks-grpc-forward-headers", "X-Team,Authorization, X-B")
        assert creation(server, X_Team="blue", Authorization="Bearer a", X_B="b").status == 201
    assert seen.items() >= {"x-team": "blue", "authorization": "Bearer a"}.items()
    assert "x-b" not in seen


def test_a_grpc_receiver_may_ask_for_tls_in_both_directions(start: ServerStarter, tmp_path: Path) -> None:
    ours, others = files_in(tmp_path / "ours"), files_in(tmp_path / "others")
    ours.hold("localhost")
    others.hold("localhost", "ec")
    with grpc_receiver(lambda _request, _context: answered(), tls=ours) as target:
        flags = ("-hooks-grpc", target, *PRE_CREATE, "-hooks-grpc-secure", "-hooks-grpc-retry", "1")
        trusted = ("-hooks-grpc-server-tls-certificate", str(ours.certificate))
        shown = (
            "-hooks-grpc-client-tls-certificate",
            str(ours.certificate),
            "-hooks-grpc-client-tls-key",
            str(ours.key),
        )
        assert creation(start(*flags, *trusted, *shown)).status == 201
        assert b"code = Unavailable" in creation(start(*flags, *trusted)).body
        distrusted = ("-hooks-grpc-server-tls-certificate", str(others.certificate))
        assert b"code = Unavailable" in creation(start(*flags, *distrusted, *shown)).body


def test_several_kinds_of_receivers_are_asked_one_after_the_other(start: ServerStarter, tmp_path: Path) -> None:
    program = tmp_path / "pre-create"
    program.write_text("""#!/bin/sh\necho '{"HTTPResponse":{"Header":{"X-Program":"1"}}}'\n""")
    program.chmod(0o755)
    asked: list[str] = []

    def hook(request: Any, _context: grpc.ServicerContext) -> Any:
        asked.append(request.type)
        return answered()

    with receiver(Reply(), Reply(body=b'{"RejectUpload":true}')) as hooks, grpc_receiver(hook) as target:
        server = start("-hooks-dir", str(tmp_path), "-hooks-http", hooks.url, "-hooks-grpc", target, *PRE_CREATE)
        answer = creation(server)
        assert (answer.status, answer.headers["x-program"]) == (201, "1")
        assert creation(server).code == "ERR_UPLOAD_REJECTED"
    assert asked == ["pre-create"]
