"""Hooks as a receiver and a client see them; what is expected stands in tusd's documentation of them."""

from __future__ import annotations

import base64
import http.server
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chunked import Source, complete, initiate, put_all, status
from tests.running import CHUNK, TUS, Server, ServerStarter, eventually, read_all, uploads_in

Document = dict[str, Any]
ALL = "pre-create,post-create,post-receive,pre-finish,post-finish,pre-terminate,post-terminate"


class Receiver:
    """An HTTP endpoint for hooks: `calls` in the order in which they came, `answer` decides what they are told."""

    def __init__(self) -> None:
        self.calls: list[Document] = []
        self.answer: Callable[[Document], Document | int] = lambda _call: {}
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.calls.append(call)
                answer = receiver.answer(call)
                body = json.dumps(answer if isinstance(answer, dict) else {}).encode()
                self.send_response(200 if isinstance(answer, dict) else answer)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def types(self) -> list[str]:
        return [call["Type"] for call in self.calls]

    def call(self, kind: str) -> Document:
        """The first call of this type, once it has come."""
        found: Document = eventually(lambda: next((call for call in self.calls if call["Type"] == kind), None))
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def hooked(start: ServerStarter, receiver: Receiver, *flags: str, events: str = ALL) -> Server:
    return start("-hooks-http", receiver.url, "-hooks-enabled-events", events, *flags)


def metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def test_an_upload_is_told_step_by_step(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    url = server.create(5, Upload_Metadata=metadata(filename="a.txt"))
    server.patch(url, 0, b"hello")
    server.request("DELETE", url, TUS)
    receiver.call("post-terminate")
    assert set(receiver.types()) == set(ALL.split(",")) - {"post-receive"}
    for before, after in (("pre-create", "post-create"), ("pre-finish", "post-finish"), ("post-create", "post-finish")):
        assert receiver.types().index(before) < receiver.types().index(after)


def test_a_call_has_tusds_form(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    url = server.create(5, Upload_Metadata=metadata(filename="a.txt"), X_Request_ID="x1")
    server.patch(url, 0, b"hello")
    upload_id = url.rpartition("/")[2]
    created, finished = receiver.call("pre-create")["Event"], receiver.call("post-finish")["Event"]
    assert created["Upload"] == {
        "ID": "",
        "Size": 5,
        "SizeIsDeferred": False,
        "Offset": 0,
        "MetaData": {"filename": "a.txt"},
        "IsPartial": False,
        "IsFinal": False,
        "PartialUploads": None,
        "Storage": None,
    }
    assert created["HTTPRequest"]["Method"] == "POST"
    assert created["HTTPRequest"]["URI"] == "/files/"
    assert created["HTTPRequest"]["Header"]["X-Request-Id"] == ["x1"]
    assert created["HTTPRequest"]["Header"]["Host"] == [f"127.0.0.1:{server.port}"]
    assert finished["Upload"]["ID"] == upload_id
    assert finished["Upload"]["Offset"] == 5
    assert finished["Upload"]["Storage"] == {
        "InfoPath": str(server.upload_dir / f"{upload_id}.info"),
        "Path": str(server.upload_dir / upload_id),
        "Type": "filestore",
    }


def test_a_refused_creation_leaves_nothing_and_says_what_the_hook_says(
    start: ServerStarter, receiver: Receiver
) -> None:
    server = hooked(start, receiver)
    response = {"StatusCode": 402, "Body": '{"message":"no"}', "Header": {"X-Reason": "quota"}}
    receiver.answer = lambda _call: {"RejectUpload": True, "HTTPResponse": response}
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5"})
    assert (answer.status, answer.body, answer.headers["x-reason"]) == (402, b'{"message":"no"}', "quota")
    assert receiver.types() == ["pre-create"]
    assert not uploads_in(server.upload_dir)


def test_a_refused_creation_without_words_is_400(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    receiver.answer = lambda _call: {"RejectUpload": True}
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5"})
    assert (answer.status, answer.code) == (400, "ERR_UPLOAD_REJECTED")


def test_a_hook_chooses_id_metadata_and_place(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver, events="pre-create")
    receiver.answer = lambda _call: {
        "ChangeFileInfo": {"ID": "team/a", "MetaData": {"filename": "new"}, "Storage": {"Path": "elsewhere/a.bin"}},
        "HTTPResponse": {"StatusCode": 202, "Header": {"X-Team": "t", "Location": "http://else.where/"}},
    }
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5", "Upload-Metadata": metadata(filename="old")})
    assert (answer.status, answer.headers["x-team"]) == (202, "t")
    url = answer.headers["location"]
    assert url.endswith("/files/team/a")
    assert server.patch(url, 0, b"hello").status == 204
    assert server.request("HEAD", url, TUS).headers["upload-metadata"] == metadata(filename="new")
    assert (server.upload_dir / "elsewhere/a.bin").read_bytes() == b"hello"
    taken = server.request("POST", headers=TUS | {"Upload-Length": "5"})
    assert (taken.status, taken.code) == (400, "ERR_UPLOAD_EXISTS")


def test_an_id_that_cannot_be_used_is_an_error_of_the_hook(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    for upload_id in ("/a", "a/", "../a", "a/../b", ".tusd-py/x", "a.info", "a b", "f_" + "0" * 32):
        receiver.answer = lambda _call, upload_id=upload_id: {"ChangeFileInfo": {"ID": upload_id}}  # type: ignore[misc]
        answer = server.request("POST", headers=TUS | {"Upload-Length": "5"})
        assert (answer.status, answer.code) == (500, "ERR_INTERNAL_SERVER_ERROR"), upload_id
        assert not uploads_in(server.upload_dir)


def test_a_place_that_is_not_for_data_is_an_error_of_the_hook(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    ours = (".tusd-py/x", "x/../.tusd-py/public/f")
    for path in ("other.info", "a/b.lock", "a.stop", "a/", ".", "..", *ours, "a\0b"):
        receiver.answer = lambda _call, path=path: {"ChangeFileInfo": {"Storage": {"Path": path}}}  # type: ignore[misc]
        answer = server.request("POST", headers=TUS | {"Upload-Length": "5"})
        assert (answer.status, answer.code) == (500, "ERR_INTERNAL_SERVER_ERROR"), path
        assert b"Storage.Path must not be reserved" in answer.body
        assert not uploads_in(server.upload_dir)


def test_no_two_uploads_have_the_same_place(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver, events="pre-create")
    plain = server.create(5)
    for place in ("place.bin", plain.rpartition("/")[2]):
        receiver.answer = lambda _call, place=place: {"ChangeFileInfo": {"Storage": {"Path": place}}}  # type: ignore[misc]
        answers = [server.request("POST", headers=TUS | {"Upload-Length": "5"}) for _ in range(2)]
        assert (answers[1].status, answers[1].code) == (400, "ERR_UPLOAD_EXISTS")
    assert answers[0].status == 400
    assert server.patch(plain, 0, b"hello").status == 204


def test_a_place_is_cleaned_and_may_be_on_another_file_system(start: ServerStarter, receiver: Receiver) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        server = hooked(start, receiver, events="pre-create,post-finish")
        receiver.answer = lambda _call: {"ChangeFileInfo": {"Storage": {"Path": "nowhere/../whole.bin"}}}
        whole = server.create(5)
        assert server.patch(whole, 0, b"hello").status == 204
        assert server.path_of("/files/whole.bin").read_bytes() == b"hello"

        receiver.answer = lambda _call: {}
        parts = [server.create(3, Upload_Concat="partial") for _ in range(2)]
        for part in parts:
            server.patch(part, 0, b"abc")
        path = f"{elsewhere}/deep/final.bin"
        receiver.answer = lambda _call: {"ChangeFileInfo": {"Storage": {"Path": path}}}
        answer = server.request("POST", headers=TUS | {"Upload-Concat": "final;" + " ".join(parts)})
        assert answer.status == 201
        final = answer.headers["location"]
        assert Path(path).read_bytes() == b"abcabc"
        assert server.request("GET", final).body == b"abcabc"
        taken = server.request("POST", headers=TUS | {"Upload-Concat": "final;" + " ".join(parts)})
        assert (taken.status, taken.code) == (400, "ERR_UPLOAD_EXISTS")
        assert Path(path).read_bytes() == b"abcabc"
        assert server.request("DELETE", final, TUS).status == 204
        assert not Path(path).exists()


def test_a_hook_that_fails_before_a_creation_prevents_it(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    receiver.answer = lambda _call: 404
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5"})
    assert (answer.status, answer.code) == (500, "ERR_INTERNAL_SERVER_ERROR")
    assert b"404" in answer.body
    assert not uploads_in(server.upload_dir)


def test_an_upload_is_not_finished_while_a_hook_does_not_let_it(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    url = server.create(5)
    receiver.answer = lambda call: 400 if call["Type"] == "pre-finish" else {}
    assert server.patch(url, 0, b"hello").status == 500
    waiting = server.request("HEAD", url, TUS)
    assert waiting.status == 423
    assert "retry-after" in waiting.headers
    assert server.patch(url, 5, b"").status == 500
    assert "post-finish" not in receiver.types()
    receiver.answer = lambda _call: {"HTTPResponse": {"Header": {"X-File": "1"}}}
    assert server.offset(url) == 5
    receiver.call("post-finish")
    assert server.patch(url, 5, b"").status == 204
    assert receiver.types().count("post-finish") == 1


def test_an_upload_in_chunks_is_not_completed_while_a_hook_does_not_let_it(
    start: ServerStarter, receiver: Receiver
) -> None:
    server = hooked(start, receiver)
    upload = initiate(server, Source(b"hello"))
    put_all(server, upload)
    receiver.answer = lambda call: 400 if call["Type"] == "pre-finish" else {}
    for _ in range(2):
        answer = complete(server, upload)
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "ERR_INTERNAL_SERVER_ERROR")
        assert "fileId" not in status(server, upload)
        assert server.request("HEAD", f"/files/{upload.id}", TUS).status in {404, 423}
        assert server.request("GET", f"/files/{upload.id}").status in {404, 409, 423}
    assert "post-finish" not in receiver.types()
    receiver.answer = lambda _call: {}
    assert complete(server, upload).status == 200
    receiver.call("post-finish")
    assert complete(server, upload).status == 200
    assert receiver.types().count("post-finish") == 1


def test_a_pre_finish_hook_speaks_in_the_answer(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    url = server.create(5)
    receiver.answer = lambda call: (
        {"HTTPResponse": {"StatusCode": 200, "Body": "stored", "Header": {"X-File": "1"}}}
        if call["Type"] == "pre-finish"
        else {}
    )
    answer = server.patch(url, 0, b"hello")
    assert (answer.status, answer.body, answer.headers["x-file"]) == (200, b"stored", "1")


def test_a_refused_termination_keeps_the_upload(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    url = server.create(5)
    receiver.answer = lambda _call: {"RejectTermination": True}
    answer = server.request("DELETE", url, TUS)
    assert (answer.status, answer.code) == (400, "ERR_UPLOAD_TERMINATION_REJECTED")
    assert server.offset(url) == 0


def test_a_stop_ends_the_upload(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver, "-progress-hooks-interval", "50ms")
    url = server.create(1_000_000)
    receiver.answer = lambda call: (
        {"StopUpload": True, "HTTPResponse": {"StatusCode": 402, "Body": "enough"}}
        if call["Type"] == "post-receive"
        else {}
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in (CHUNK | {"Upload-Offset": "0"}).items())
    with server.connection() as connection:
        path = url.removeprefix(f"http://127.0.0.1:{server.port}")
        connection.sendall(f"PATCH {path} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 1000000\r\n\r\n".encode())
        connection.sendall(bytes(70_000))
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 402 ")
    assert answer.endswith(b"enough")
    receiver.call("post-terminate")
    assert server.request("HEAD", url, TUS).status == 404


def test_finish_events_come_for_whole_files_not_for_parts(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver, events="post-finish")
    parts = [server.create(2, Upload_Concat="partial") for _ in range(2)]
    for part in parts:
        server.patch(part, 0, b"ab")
    final = server.request("POST", headers=TUS | {"Upload-Concat": "final;" + " ".join(parts)})
    assert receiver.call("post-finish")["Event"]["Upload"]["IsFinal"] is True
    assert final.status == 201
    assert receiver.types() == ["post-finish"]


def test_with_compat_tusd_finish_events_come_for_parts_too(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver, "-compat", "tusd", events="pre-finish,post-finish")
    part = server.create(2, Upload_Concat="partial")
    assert server.patch(part, 0, b"ab").status == 204
    assert receiver.call("post-finish")["Event"]["Upload"]["IsPartial"] is True
    assert receiver.types() == ["pre-finish", "post-finish"]


def test_what_has_happened_is_told_after_a_restart(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver, events="post-finish")
    receiver.answer = lambda _call: 503
    url = server.create(5, Authorization="Bearer secret")
    server.request("PATCH", url, CHUNK | {"Upload-Offset": "0", "Authorization": "Bearer secret"}, b"hello")
    receiver.call("post-finish")
    server.kill()
    kept = b"".join(path.read_bytes() for path in (server.upload_dir / ".tusd-py/hooks").rglob("*.json"))
    assert b"post-finish" in kept
    assert b"secret" not in kept
    receiver.calls.clear()
    receiver.answer = lambda _call: {}
    start("-hooks-http", receiver.url, "-hooks-enabled-events", "post-finish", upload_dir=server.upload_dir)
    assert receiver.call("post-finish")["Event"]["Upload"]["Offset"] == 5


def test_access_is_asked_for_and_refused(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver, events="pre-access")
    url = server.create(5)
    receiver.answer = lambda call: {"RejectAccess": call["Event"]["Access"]["Mode"] == "write"}
    assert server.offset(url) == 0
    answer = server.patch(url, 0, b"hello")
    assert (answer.status, answer.code) == (403, "ERR_ACCESS_REJECTED")
    receiver.answer = lambda _call: {"RejectAccess": True, "HTTPResponse": {"StatusCode": 404}}
    for method in ("GET", "HEAD", "DELETE"):
        assert server.request(method, url, TUS).status == 404
    for path in ("status", "download"):
        assert server.request("GET", f"/api/uploads/{url.rpartition('/')[2]}/{path}").status == 404


def test_parts_of_a_concatenation_are_asked_for(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver, events="pre-access")
    part = server.create(0, Upload_Concat="partial")
    receiver.answer = lambda _call: {"RejectAccess": True}
    answer = server.request("POST", headers=TUS | {"Upload-Concat": f"final;{part}"})
    assert (answer.status, answer.code) == (403, "ERR_ACCESS_REJECTED")


def test_a_permission_counts_for_the_time_it_is_given_and_for_nobody_else(
    start: ServerStarter, receiver: Receiver
) -> None:
    server = hooked(start, receiver, events="pre-access")
    url = server.create(5)
    receiver.answer = lambda _call: {"CacheSeconds": 600}
    for _ in range(3):
        assert server.request("HEAD", url, TUS | {"Authorization": "Bearer a"}).status == 200
    assert len(receiver.calls) == 1
    server.request("HEAD", url, TUS | {"Authorization": "Bearer b"})
    assert len(receiver.calls) == 2


def test_the_json_api_does_not_go_round_the_hooks(start: ServerStarter, receiver: Receiver) -> None:
    server = hooked(start, receiver)
    fields = {"fileName": "a", "fileSize": 0, "contentType": "text/plain", "checksum": "0" * 64}
    receiver.answer = lambda _call: {"RejectUpload": True}
    refused = server.request("POST", "/api/uploads/initiate", body=json.dumps(fields).encode())
    assert (refused.status, json.loads(refused.body)["code"]) == (400, "ERR_UPLOAD_REJECTED")
    receiver.answer = lambda _call: {}
    fields["checksum"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    session = json.loads(server.request("POST", "/api/uploads/initiate", body=json.dumps(fields).encode()).body)
    assert server.request("POST", f"/api/uploads/{session['uploadId']}/complete").status == 200
    assert server.request("DELETE", f"/api/uploads/{session['uploadId']}").status == 204
    receiver.call("post-terminate")
    assert set(receiver.types()) == set(ALL.split(",")) - {"post-receive"}


def test_an_upload_that_was_complete_before_there_was_a_hook_is_no_news(
    start: ServerStarter, receiver: Receiver
) -> None:
    server = start()
    url = server.create(1)
    assert server.patch(url, 0, b"x").status == 204
    server.kill()
    server = start("-hooks-http", receiver.url, upload_dir=server.upload_dir, port=server.port)
    assert server.offset(url) == 1
    assert "tusd_uploads_finished 0.0" in server.request("GET", "/metrics").body.decode()
    assert "event=UploadFinished" not in server.output()
    assert receiver.calls == []
