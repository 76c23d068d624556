"""Log events with tusd's names, levels and attributes (tusd-compat 5.2)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cli.test_command import accepts_connections
from tests.cli.test_metrics import values
from tests.hooks.receivers import Reply, receiver
from tests.patching import patch_head
from tests.running import START_DEADLINE, TUS, Server, ServerStarter, eventually, has_size, read_all, reserved_port
from tests.web.test_golden_exchanges import hook

LINE = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} level=(\w+) event=(\w+) (.*)$", re.MULTILINE)
ATTRIBUTE = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)')


@dataclass(frozen=True)
class Line:
    """One line of the log; what is quoted is without its quotes."""

    level: str
    event: str
    attributes: dict[str, str]


def lines_of(server: Server) -> list[Line]:
    return [
        Line(level, event, {name: json.loads(v) if v.startswith('"') else v for name, v in ATTRIBUTE.findall(rest)})
        for level, event, rest in LINE.findall(server.output())
    ]


def the(server: Server, event: str) -> Line:
    """The one line of this event, when it is there."""
    lines: list[Line] = eventually(lambda: [line for line in lines_of(server) if line.event == event])
    assert len(lines) == 1
    return lines[0]


def test_the_lines_of_an_upload_are_tusds_in_tusds_order(start: ServerStarter) -> None:
    server = start()
    url = server.create(5)
    server.patch(url, 0, b"hello", X_Request_ID="abc")
    server.terminate()
    upload_id = url.rpartition("/")[2]
    lines = [line for line in lines_of(server) if line.attributes.get("method")]
    assert [(line.level, line.event, line.attributes["method"]) for line in lines] == [
        ("INFO", "RequestIncoming", "POST"),
        ("INFO", "UploadCreated", "POST"),
        ("INFO", "ResponseOutgoing", "POST"),
        ("INFO", "RequestIncoming", "PATCH"),
        ("INFO", "ChunkWriteStart", "PATCH"),
        ("INFO", "ChunkWriteComplete", "PATCH"),
        ("INFO", "UploadFinished", "PATCH"),
        ("INFO", "ResponseOutgoing", "PATCH"),
    ]
    assert lines[0].attributes["path"] == ""
    created, patched = lines[1].attributes, [line.attributes for line in lines[3:]]
    assert list(created) == ["method", "path", "requestId", "id", "size", "url"]
    assert (created["id"], created["size"], created["url"]) == (upload_id, "5", url)
    about = {"method": "PATCH", "path": upload_id, "requestId": "abc"}
    assert patched == [
        about,
        about | {"id": upload_id, "maxSize": "5", "offset": "0"},
        about | {"id": upload_id, "bytesWritten": "5"},
        about | {"id": upload_id, "size": "5"},
        about | {"id": upload_id, "status": "204", "body": ""},
    ]


def test_an_error_is_logged_with_what_the_client_was_told(start: ServerStarter) -> None:
    server = start()
    server.request("POST", headers={"Upload-Length": "5"})
    answer = the(server, "ResponseOutgoing").attributes
    assert answer["status"] == "412"
    assert answer["body"] == "ERR_UNSUPPORTED_VERSION: missing, invalid or unsupported Tus-Resumable header\n"


def test_the_end_of_an_upload_is_logged(start: ServerStarter) -> None:
    server = start()
    url = server.create(5)
    server.request("DELETE", url, TUS)
    line = the(server, "UploadTerminated")
    assert (line.level, line.attributes["id"]) == ("INFO", url.rpartition("/")[2])


def test_a_hook_that_fails_is_an_error_of_the_server(start: ServerStarter, tmp_path: Path) -> None:
    server = start(*hook(tmp_path, "pre-create", "cat >/dev/null; printf boom; exit 3"))
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5"})
    assert (answer.status, answer.code) == (500, "ERR_INTERNAL_SERVER_ERROR")
    line = the(server, "InternalServerError")
    assert line.level == "ERROR"
    assert line.attributes["message"] == "unexpected return code 3 from hook endpoint: boom"
    assert answer.body.decode() == f"ERR_INTERNAL_SERVER_ERROR: {line.attributes['message']}\n"


def test_a_body_that_breaks_off_is_an_error_that_is_named(start: ServerStarter) -> None:
    server = start()
    url = server.create(100)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 100) + b"hello")
        eventually(has_size(server.path_of(url), 5))
    line = the(server, "BodyReadError")
    assert line.level == "ERROR"
    assert line.attributes["error"].startswith("ERR_UNEXPECTED_EOF: server expected to receive more bytes")
    assert the(server, "ChunkWriteComplete").attributes["bytesWritten"] == "5"


def test_a_request_that_another_one_replaces_is_logged(start: ServerStarter) -> None:
    server = start()
    url = server.create(100)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 100) + b"hello")
        eventually(has_size(server.path_of(url), 5))
        assert server.offset(url) == 5
        assert b"ERR_UPLOAD_INTERRUPTED" in read_all(connection)
    line = the(server, "UploadInterrupted")
    assert (line.level, line.attributes["method"]) == ("INFO", "PATCH")
    assert the(server, "BodyReadError").attributes["error"].startswith("ERR_UPLOAD_INTERRUPTED: ")


def test_calls_of_hooks_are_logged_with_their_type_and_id_and_counted(start: ServerStarter) -> None:
    stop = Reply(body=b'{"StopUpload":true}')
    with receiver(Reply(), Reply(404), stop) as hooks:
        events = ("-hooks-enabled-events", "pre-create,pre-terminate,post-receive")
        server = start("-hooks-http", hooks.url, *events, "-progress-hooks-interval", "50ms")
        url = server.create(100)
        upload_id = url.rpartition("/")[2]
        assert server.request("DELETE", url, TUS).status == 500
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, 100) + b"hello")
            assert b"ERR_UPLOAD_STOPPED" in read_all(connection)
    lines = [line for line in lines_of(server) if line.event.startswith("Hook")]
    failure = "unexpected response code from hook endpoint (404): {}"
    of_request = ("method", "path", "requestId")
    said = [{name: text for name, text in line.attributes.items() if name not in of_request} for line in lines]
    assert [(line.level, line.event, about) for line, about in zip(lines, said, strict=True)] == [
        ("DEBUG", "HookInvocationStart", {"type": "pre-create", "id": ""}),
        ("DEBUG", "HookInvocationFinish", {"type": "pre-create", "id": ""}),
        ("DEBUG", "HookInvocationStart", {"type": "pre-terminate", "id": upload_id}),
        ("ERROR", "HookInvocationError", {"type": "pre-terminate", "id": upload_id, "error": failure}),
        ("DEBUG", "HookInvocationStart", {"type": "post-receive", "id": upload_id}),
        ("DEBUG", "HookInvocationFinish", {"type": "post-receive", "id": upload_id}),
        ("INFO", "HookStopUpload", {"id": upload_id}),
    ]
    calls, failures = values(server, "tusd_hook_invocations_total"), values(server, "tusd_hook_errors_total")
    assert {kind for kind, count in calls.items() if count} == {
        f'hooktype="{kind}"' for kind in ("pre-create", "pre-terminate", "post-receive")
    }
    assert {kind: count for kind, count in failures.items() if count} == {'hooktype="pre-terminate"': 1}


def test_what_an_error_is_about_never_hides_its_status(start: ServerStarter) -> None:
    server = start()
    upload_id = server.create(5).rpartition("/")[2]
    assert server.request("GET", f"/api/uploads/{upload_id}/download").code == '{"error"'
    lines = [line.attributes for line in lines_of(server) if line.event == "ResponseOutgoing"]
    assert lines[-1]["status"] == "409"


def test_json_logs_have_the_event_under_msg(start: ServerStarter) -> None:
    server = start("-log-format", "json")
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5", "X-Request-ID": 'a"b' + "c" * 50})
    assert "x-request-id" not in answer.headers
    server.terminate()
    lines = [json.loads(line) for line in server.output().splitlines()]
    assert all(list(line)[:3] == ["time", "level", "msg"] for line in lines)
    (incoming,) = [line for line in lines if line["msg"] == "RequestIncoming"]
    assert (incoming["method"], incoming["path"], incoming["requestId"]) == ("POST", "", 'a"b' + "c" * 33)


def redirected(redirections: str) -> tuple[str, ...]:
    """A wrapper for a server: its standard streams are where these redirections of the shell lead."""
    return ("sh", "-c", f'exec "$@" {redirections}', "sh")


def starting(start: ServerStarter, redirections: str, port: int) -> Server:
    """A server that cannot say when it takes uploads, when it does."""
    server = start(wrapper=redirected(redirections), port=port, wait=False)
    server.url = f"http://127.0.0.1:{port}/files/"
    eventually(lambda: accepts_connections(port), START_DEADLINE)
    return server


def test_a_log_that_cannot_be_written_is_complained_of_once_and_uploads_go_on(start: ServerStarter) -> None:
    with reserved_port() as port:
        server = starting(start, ">/dev/full", port)
        for _ in range(3):
            assert server.patch(server.create(5), 0, b"hello").status == 204
        assert server.terminate() == 0
        assert server.output() == "lines of the log are lost: No space left on device\n"


def test_standard_streams_that_are_closed_are_nothing_else(start: ServerStarter) -> None:
    with reserved_port() as port:
        server = starting(start, "<&- >&- 2>&-", port)
        assert [os.readlink(f"/proc/{server.pid}/fd/{number}") for number in range(3)] == ["/dev/null"] * 3
        assert server.patch(server.create(5), 0, b"hello").status == 204
        assert server.terminate() == 0
