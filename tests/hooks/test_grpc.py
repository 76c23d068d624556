"""gRPC hooks, seen by a receiver that is generated from the interface."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvloop
from google.protobuf import descriptor_pb2

from tests.hooks.calls import call_about
from tests.hooks.grpc_receiver import Hook, generated, grpc_receiver
from tests.running import DEADLINE, free_port
from tests.server.certificates import files_in
from tusd_py.core.hook_events import (
    NO_REQUEST,
    Access,
    Event,
    HookAnswer,
    HookCall,
    HookFailure,
    HttpRequest,
    HttpResponse,
)
from tusd_py.core.uploads import Upload
from tusd_py.hooks.grpc import GrpcBackend
from tusd_py.hooks.grpc_messages import interface


def ask(target: str, *calls: HookCall, run: Callable[..., HookAnswer] = uvloop.run, **options: Any) -> HookAnswer:
    async def invoke() -> HookAnswer:
        backend = GrpcBackend(target, **{"backoff": 0.0, **options})
        try:
            for call in calls or (call_about(),):
                answer = await backend.call(call)
        finally:
            await backend.close()
        return answer

    return run(invoke())


def failure_of(target: str, **options: Any) -> str:
    with pytest.raises(HookFailure) as caught:
        ask(target, **options)
    assert not caught.value.was_received
    return str(caught.value)


# --- the interface ---

TUSD = {
    "HookRequest": {"type": 1, "event": 2},
    "Event": {"upload": 1, "httpRequest": 2},
    "FileInfo": {
        "id": 1,
        "size": 2,
        "sizeIsDeferred": 3,
        "offset": 4,
        "metaData": 5,
        "isPartial": 6,
        "isFinal": 7,
        "partialUploads": 8,
        "storage": 9,
    },
    "FileInfoChanges": {"id": 1, "metaData": 2, "storage": 3},
    "HTTPRequest": {"method": 1, "uri": 2, "remoteAddr": 3, "header": 4},
    "HookResponse": {"httpResponse": 1, "rejectUpload": 2, "stopUpload": 3, "changeFileInfo": 4},
    "HTTPResponse": {"statusCode": 1, "header": 2, "body": 3},
}
"""The fields that tusd has, by message, with their numbers."""


def test_fields_have_tusds_numbers_and_ours_are_far_from_them() -> None:
    messages, _, _ = generated()
    for name, fields in TUSD.items():
        numbers = {field.name: field.number for field in getattr(messages, name).DESCRIPTOR.fields}
        assert {field: number for field, number in numbers.items() if number < 1000} == fields


def test_the_interface_is_read_as_a_compiler_reads_it() -> None:
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(generated()[2]).file
    file.ClearField("service")
    assert interface() == file


def test_a_receiver_gets_every_field() -> None:
    seen: list[Any] = []
    call = HookCall(
        "call-1",
        Event.POST_FINISH,
        Upload("id", 2**40, {"k": "grün", "bad": "\ud800"}, offset=7, path="/d/id", parts=("a", "b")),
        HttpRequest("PATCH", "/files/id?x", "127.0.0.1:1", {"X-Many": ["one", "two"], "X-None": []}),
        "/d/id.info",
    )

    def hook(request: Any, _context: object) -> Any:
        seen.append(request)
        return generated()[0].HookResponse()

    with grpc_receiver(hook) as target:
        assert ask(target, call) == HookAnswer()
    (request,) = seen
    upload, http = request.event.upload, request.event.httpRequest
    assert request.type == "post-finish"
    assert (upload.id, upload.size, upload.sizeIsDeferred, upload.offset) == ("id", 2**40, False, 7)
    assert (upload.isPartial, upload.isFinal, list(upload.partialUploads)) == (False, True, ["a", "b"])
    assert dict(upload.metaData) == {"k": "grün", "bad": "\ufffd"}
    assert dict(upload.storage) == {"InfoPath": "/d/id.info", "Path": "/d/id", "Type": "filestore"}
    assert (http.method, http.uri, http.remoteAddr) == ("PATCH", "/files/id?x", "127.0.0.1:1")
    assert dict(http.header) == {"X-Many": "one"}


def test_before_a_creation_there_is_no_place() -> None:
    def hook(request: Any, _context: object) -> Any:
        upload = request.event.upload
        assert upload.sizeIsDeferred
        assert (upload.id, upload.size, upload.storage, upload.partialUploads) == ("", 0, {}, [])
        return generated()[0].HookResponse(rejectUpload=True)

    with grpc_receiver(hook) as target:
        assert ask(target, call_about("", Event.PRE_CREATE, size=None)).reject_upload


def test_what_is_not_tusds_is_there_too() -> None:
    access = HookCall("1", Event.PRE_ACCESS, Upload("a", 0), NO_REQUEST, access=Access("read", ("a", "b")))
    file = HookCall("1", Event.POST_FINISH, Upload("a", 0), NO_REQUEST, file={"id": "f_1", "size": 5})

    def hook(request: Any, _context: object) -> Any:
        event = request.event
        if request.type == "pre-access":
            assert (event.access.mode, list(event.access.ids)) == ("read", ["a", "b"])
            return generated()[0].HookResponse(rejectAccess=True, cacheSeconds=5)
        return generated()[0].HookResponse(rejectTermination=json.loads(event.file) == {"id": "f_1", "size": 5})

    with grpc_receiver(hook) as target:
        assert ask(target, access) == HookAnswer(reject_access=True, cache_seconds=5.0)
        assert ask(target, file) == HookAnswer(reject_termination=True)


def test_every_field_of_an_answer_is_read() -> None:
    messages = generated()[0]
    response = messages.HookResponse(
        httpResponse=messages.HTTPResponse(statusCode=403, header={"X-Reason": "quota"}, body="no"),
        rejectUpload=True,
        stopUpload=True,
        changeFileInfo=messages.FileInfoChanges(id="new", metaData={"a": "b"}, storage={"Path": "p", "Other": "x"}),
    )
    with grpc_receiver(lambda _request, _context: response) as target:
        assert ask(target, run=asyncio.run) == HookAnswer(
            response=HttpResponse(403, "no", {"X-Reason": "quota"}),
            reject_upload=True,
            stop_upload=True,
            change_id="new",
            change_metadata={"a": "b"},
            change_path="p",
        )


def test_a_status_that_is_none_is_a_failure() -> None:
    response = generated()[0].HookResponse(httpResponse=generated()[0].HTTPResponse(statusCode=7))
    with grpc_receiver(lambda _request, _context: response) as target, pytest.raises(HookFailure) as caught:
        ask(target)
    assert caught.value.was_received


# --- attempts ---


def aborting(seen: list[float], code: grpc.StatusCode, answer: Any = None, after: int = 100) -> Hook:
    def hook(_request: object, context: grpc.ServicerContext) -> Any:
        seen.append(time.monotonic())
        if len(seen) <= after:
            context.abort(code, "not today")
        return answer

    return hook


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_was_not_taken_is_asked_again(code: grpc.StatusCode) -> None:
    seen: list[float] = []
    with grpc_receiver(aborting(seen, code, generated()[0].HookResponse(), after=2)) as target:
        ask(target, backoff=0.1)
    assert len(seen) == 3
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(seen))


@pytest.mark.parametrize(("retry", "attempts"), [(3, 3), (1, 1), (0, 1)])
def test_the_number_is_that_of_all_attempts(retry: int, attempts: int) -> None:
    seen: list[float] = []
    with grpc_receiver(aborting(seen, grpc.StatusCode.RESOURCE_EXHAUSTED)) as target:
        assert failure_of(target, retry=retry) == "rpc error: code = ResourceExhausted desc = not today"
    assert len(seen) == attempts


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (grpc.StatusCode.INTERNAL, "Internal"),
        (grpc.StatusCode.PERMISSION_DENIED, "PermissionDenied"),
        (grpc.StatusCode.CANCELLED, "Canceled"),
        (grpc.StatusCode.UNKNOWN, "Unknown"),
    ],
)
def test_other_errors_are_not_asked_again(code: grpc.StatusCode, name: str) -> None:
    seen: list[float] = []
    with grpc_receiver(aborting(seen, code)) as target:
        assert failure_of(target) == f"rpc error: code = {name} desc = not today"
    assert len(seen) == 1


def test_nobody_listens() -> None:
    assert failure_of(f"127.0.0.1:{free_port()}").startswith("rpc error: code = Unavailable desc = ")


def test_a_call_has_an_end() -> None:
    is_over = threading.Event()

    def hook(_request: object, _context: object) -> Any:
        is_over.wait(DEADLINE)
        return generated()[0].HookResponse()

    with grpc_receiver(hook) as target:
        assert failure_of(target, timeout=0.3).startswith("rpc error: code = DeadlineExceeded desc = ")
        is_over.set()


def test_a_receiver_that_comes_back_is_found() -> None:
    port = free_port()

    async def invoke() -> HookAnswer:
        backend = GrpcBackend(f"127.0.0.1:{port}", backoff=0.5, retry=200, timeout=DEADLINE)
        asking = asyncio.create_task(backend.call(call_about()))
        await asyncio.sleep(1.2)
        assert not asking.done()
        with grpc_receiver(lambda _request, _context: generated()[0].HookResponse(), port=port):
            answer = await asking
            await backend.close()
        return answer

    assert uvloop.run(invoke()) == HookAnswer()


# --- headers, TLS ---


def metadata_of(header: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def hook(_request: object, context: grpc.ServicerContext) -> Any:
        seen.update({name: value for name, value in context.invocation_metadata() if name != "user-agent"})
        return generated()[0].HookResponse()

    with grpc_receiver(hook) as target:
        ask(target, call_about(header=header), forward_headers=names)
    return seen


def test_headers_are_forwarded_in_lower_case_with_their_first_value() -> None:
    header = {"Authorization": ["Bearer x"], "X-Many": ["one", "two"], "Tenant-Id": ["t"]}
    seen = metadata_of(header, ["authorization", "X-Many", "Tenant-Id", "X-Absent"])
    assert seen == {"authorization": "Bearer x", "x-many": "one", "tenant-id": "t"}


def test_what_grpc_cannot_carry_is_left_out() -> None:
    header = {"Host": ["h"], "X-Text": ["grün"], "Te": ["x"], "Grpc-Timeout": ["1S"], "X~": ["y"], "X-Ok": ["ok"]}
    assert metadata_of(header, [*header]) == {"x-ok": "ok"}


def test_both_sides_can_show_certificates(tmp_path: Path) -> None:
    ours, others = files_in(tmp_path / "ours"), files_in(tmp_path / "others")
    ours.hold("localhost")
    others.hold("localhost", "ec")
    with grpc_receiver(lambda _request, _context: generated()[0].HookResponse(), tls=ours) as target:
        trusted: dict[str, Any] = {"secure": True, "server_certificate": ours.certificate}
        shown: dict[str, Any] = {"client_certificate": str(ours.certificate), "client_key": str(ours.key)}
        assert ask(target, **trusted, **shown) == HookAnswer()
        assert "Unavailable" in failure_of(target, **trusted)
        assert "Unavailable" in failure_of(target, secure=True, server_certificate=others.certificate, **shown)
        assert "Unavailable" in failure_of(target)


def test_tls_needs_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need the certificate"):
        GrpcBackend("localhost:1", secure=True)
    with pytest.raises(ValueError, match="cannot be read"):
        GrpcBackend("localhost:1", secure=True, server_certificate=tmp_path / "absent")
