"""What tusd was seen to answer, header by header (tusd-compat, appendix A), and where this server answers otherwise.

Headers that stand in no list must not be there; `Date` is left out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.patching import chunked, patch_head
from tests.running import CHUNK, DEADLINE, TUS, Server, ServerStarter, read_all

HEX = "[0-9a-f]{32}"
TEXT = {"content-type": "text/plain; charset=utf-8"}
BROKEN_OFF = {"connection": "close"}
METADATA = "filename d29ybGQudHh0,filetype dGV4dC9wbGFpbg==,is_confidential"
HTTP_DATE = r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"


def error(text: str) -> dict[str, str]:
    """The headers of an error with this body."""
    return TEXT | {"content-length": str(len(text))}


@dataclass(frozen=True)
class Row:
    """A request, made when `prepare` has made the upload that it is for, and tusd's answer.

    Values of headers are regular expressions; `body` None is not looked at. `instead` says how the answer of this
    server differs, by fields of this row (of `headers`, those that differ; None for one that is not there), and `why`.
    Afterwards the upload has the bytes `stored`, and so many files are `made`, if that is said.
    """

    name: str
    prepare: Callable[[Server], str]
    method: str
    headers_sent: Mapping[str, str]
    sent: bytes | None
    status: int
    headers: Mapping[str, str]
    body: bytes | None = b""
    instead: Mapping[str, object] = field(default_factory=dict)
    why: str = ""
    stored: bytes | None = None
    made: int | None = None


# --- the uploads that requests are for ---


def nothing(server: Server) -> str:
    return server.url


def unknown(server: Server) -> str:
    return server.url + "0" * 32


def new(server: Server) -> str:
    return server.create(11)


def deferred(server: Server) -> str:
    return server.create(None)


def described(server: Server) -> str:
    return server.create(11, Upload_Metadata=METADATA)


def half_done(server: Server) -> str:
    url = new(server)
    server.patch(url, 0, b"hello ")
    return url


def complete(server: Server) -> str:
    url = new(server)
    server.patch(url, 0, b"hello world")
    return url


def complete_and_described(server: Server) -> str:
    url = described(server)
    server.patch(url, 0, b"hello world")
    return url


def final(server: Server) -> str:
    parts = [server.create(3, Upload_Concat="partial") for _ in range(2)]
    for part, body in zip(parts, (b"abc", b"def"), strict=True):
        server.patch(part, 0, body)
    answer = server.request("POST", headers=TUS | {"Upload-Concat": f"final;{parts[0]} {parts[1]}"})
    return answer.headers["location"]


def terminated(server: Server) -> str:
    url = new(server)
    server.request("DELETE", url, TUS)
    return url


# --- the table ---

EXTENSIONS = "creation,creation-with-upload,termination,concatenation,creation-defer-length"
LOCATION = {"location": rf"http://127\.0\.0\.1:\d+/files/{HEX}"}
EMPTY = {"content-length": "0"}
NEVER_CACHED = {"cache-control": "no-store"}
MISMATCHED = b"ERR_MISMATCHED_OFFSET: mismatched offset\n"
TOO_LARGE = b"ERR_UPLOAD_SIZE_EXCEEDED: upload's size exceeded\n"
UNKNOWN = b"ERR_UPLOAD_NOT_FOUND: upload not found\n"
VERSION = b"ERR_UNSUPPORTED_VERSION: missing, invalid or unsupported Tus-Resumable header\n"
FINAL = b"ERR_MODIFY_FINAL: modifying a final upload is not allowed\n"
DOWNLOADED = {"accept-ranges": "bytes", "last-modified": HTTP_DATE, "content-length": "11"}
PLAIN = {"content-disposition": 'inline;filename="world\\.txt"', "content-type": "text/plain"}


def at(offset: int) -> dict[str, str]:
    return CHUNK | {"Upload-Offset": str(offset)}


ROWS = [
    Row(
        *("what the server can do", nothing, "OPTIONS", {}, None),
        *(200, EMPTY | {"tus-version": r"1\.0\.0", "tus-extension": EXTENSIONS}),
        instead={
            "headers": {
                "tus-extension": EXTENSIONS + ",checksum,checksum-trailer",
                "tus-checksum-algorithm": "sha1,sha256,sha512,md5,crc32",
            }
        },
        why="our extensions stand behind tusd's",
    ),
    Row("a new upload", nothing, "POST", TUS | {"Upload-Length": "11"}, None, 201, EMPTY | LOCATION),
    Row(
        *("a new upload without a version", nothing, "POST", {"Upload-Length": "11"}, None),
        *(412, TEXT | {"content-length": "78"}, VERSION),
        instead={"headers": {"tus-version": r"1\.0\.0"}},
        why="the specification wants the versions of the server in this answer",
    ),
    Row(
        *("a new upload with its first bytes", nothing, "POST", CHUNK | {"Upload-Length": "5"}, b"hel"),
        *(201, EMPTY | LOCATION | {"upload-offset": "3"}),
    ),
    Row(
        *("a new upload with too many bytes", nothing, "POST", CHUNK | {"Upload-Length": "2"}, b"hello"),
        *(413, TEXT | {"content-length": "49"}, TOO_LARGE),
        made=2,
        instead={"made": 0},
        why="an upload whose address nobody knows is of no use",
    ),
    Row(
        *("what metadata looks like", described, "HEAD", TUS, None),
        200,
        NEVER_CACHED
        | {"content-length": "11", "upload-length": "11", "upload-metadata": METADATA, "upload-offset": "0"},
    ),
    Row("the first bytes", new, "PATCH", at(0), b"hello ", 204, {"upload-offset": "6"}, stored=b"hello "),
    Row(
        *("another offset", half_done, "PATCH", at(3), b"lo", 409, TEXT | {"content-length": "41"}, MISMATCHED),
        instead={"headers": {"upload-offset": "6"}},
        why="a client that is told the offset need not ask for it",
        stored=b"hello ",
    ),
    Row(
        *("more in pieces than is missing", half_done, "PATCH", at(6) | {"Transfer-Encoding": "chunked"}, b"x" * 14),
        *(413, TEXT | BROKEN_OFF | {"content-length": "49"}, TOO_LARGE),
        instead={"headers": {"connection": None}, "stored": b"hello xxxx"},
        why="nothing finishes by a body that is wrong, and so short a rest is read",
        stored=b"hello xxxxx",
    ),
    Row("the end of a complete upload", complete, "PATCH", at(11), b"", 204, {"upload-offset": "11"}),
    Row(
        *("bytes behind the end", complete, "PATCH", at(11), b"!", 204, {"upload-offset": "11"}),
        instead={"status": 413, "headers": error(TOO_LARGE.decode()) | {"upload-offset": None}, "body": TOO_LARGE},
        why="bytes that are dropped are not said to be there",
        stored=b"hello world",
    ),
    Row(
        *("bytes for a final upload", final, "PATCH", at(6), b"x", 403, TEXT | {"content-length": "58"}, FINAL),
        stored=b"abcdef",
    ),
    Row(
        *("an upload of deferred length", deferred, "HEAD", TUS, None),
        *(200, NEVER_CACHED | {"upload-defer-length": "1", "upload-offset": "0"}),
    ),
    Row(
        *("a final upload", final, "HEAD", TUS, None),
        200,
        NEVER_CACHED
        | {
            "upload-concat": rf"final;http://127\.0\.0\.1:\d+/files/{HEX} http://127\.0\.0\.1:\d+/files/{HEX}",
            "upload-length": "6",
            "upload-offset": "6",
            "content-length": "6",
        },
    ),
    Row(
        *("an upload that is not there", unknown, "HEAD", TUS, None, 404, TEXT),
        instead={"headers": NEVER_CACHED},
        why="the specification wants no HEAD to be cached",
    ),
    Row(
        *("a download", complete_and_described, "GET", {}, None),
        *(200, DOWNLOADED | PLAIN, b"hello world"),
    ),
    Row(
        *("a download without metadata", complete, "GET", {}, None, 200),
        DOWNLOADED | {"content-disposition": "attachment", "content-type": "application/octet-stream"},
        b"hello world",
    ),
    Row(
        *("a part of a download", complete_and_described, "GET", {"Range": "bytes=2-4"}, None),
        *(206, DOWNLOADED | PLAIN | {"content-range": "bytes 2-4/11", "content-length": "3"}, b"llo"),
    ),
    Row("the end of an upload", complete, "DELETE", TUS, None, 204, {}),
    Row("its second end", terminated, "DELETE", TUS, None, 404, error(UNKNOWN.decode()), UNKNOWN),
    Row(
        *("a listing of uploads", nothing, "GET", {}, None),
        *(405, TEXT | {"allow": "POST", "content-length": "18"}, b"method not allowed"),
    ),
]


@pytest.fixture(scope="module")
def spec(start_shared: ServerStarter) -> Server:
    return start_shared()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("compat", ["spec", "lenient"])
def test_the_answer_is_tusds_but_for_what_is_decided(request: pytest.FixtureRequest, compat: str, row: Row) -> None:
    """Where tusd may be followed further (`-compat tusd`), none of these differs."""
    server: Server = request.getfixturevalue(compat)
    url = row.prepare(server)
    before = server.files().keys()
    if "Transfer-Encoding" in row.headers_sent:
        answer = chunked(server, url, int(row.headers_sent["Upload-Offset"]), [row.sent or b""])
    else:
        answer = server.request(row.method, url, row.headers_sent, row.sent)
    assert bool(row.instead) <= bool(row.why)
    changes = row.instead.get("headers", {})
    assert isinstance(changes, Mapping)
    expected = {"tus-resumable": r"1\.0\.0", "x-content-type-options": "nosniff", **row.headers, **changes}
    expected = {name: value for name, value in expected.items() if value is not None}
    assert answer.status == row.instead.get("status", row.status)
    assert {name for name in answer.headers if name != "date"} == expected.keys()
    for name, value in expected.items():
        assert re.fullmatch(value, answer.headers[name]), name
    assert answer.body == row.instead.get("body", row.body)
    if row.stored is not None:
        assert server.path_of(url).read_bytes() == row.instead.get("stored", row.stored)
    if row.made is not None:
        assert len(server.files().keys() - before) == row.instead.get("made", row.made)


# --- with flags of their own ---


def hook(folder: Path, event: str, script: str) -> tuple[str, ...]:
    """The flags of a hook program for this event."""
    program = folder / "hooks" / event
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return ("-hooks-dir", str(program.parent), "-hooks-enabled-events", event)


def test_a_body_that_stalls_ends_with_the_network_time_out(start: ServerStarter) -> None:
    server = start("-network-timeout", "300ms")
    url = server.create(100)
    with server.connection() as connection:
        began = time.monotonic()
        connection.sendall(patch_head(url, 0, 100) + b"0123456789")
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert 0.3 <= time.monotonic() - began < DEADLINE / 2
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nconnection: close" in head
    assert body == b"ERR_READ_TIMEOUT: timeout while reading request body\n"
    assert server.offset(url) == 10


def test_a_failing_pre_finish_hook_is_a_server_error_that_is_asked_again(start: ServerStarter, tmp_path: Path) -> None:
    """With tusd the second request gets 204, and nobody ever hears of the end of the upload."""
    server = start(*hook(tmp_path, "pre-finish", f"cat >/dev/null; [ -e {tmp_path}/ok ] || {{ printf boom; exit 1; }}"))
    url = new(server)
    for offset, body in ((0, b"hello world"), (11, b"")):
        answer = server.patch(url, offset, body)
        assert answer.status == 500
        assert answer.body == b"ERR_INTERNAL_SERVER_ERROR: unexpected return code 1 from hook endpoint: boom\n"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["content-length"] == str(len(answer.body))
    (tmp_path / "ok").touch()
    assert server.patch(url, 11, b"").status == 204
    assert server.offset(url) == 11


def test_a_hook_that_stops_an_upload_says_what_the_client_is_told(start: ServerStarter, tmp_path: Path) -> None:
    response = '{"StatusCode": 402, "Body": "pay", "Header": {"X-Price": "5"}}'
    script = f'cat >/dev/null; echo \'{{"StopUpload": true, "HTTPResponse": {response}}}\''
    server = start(*hook(tmp_path, "post-receive", script), "-progress-hooks-interval", "50ms")
    url = new(server)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 11) + b"hello")
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 402 ")
    for line in (b"x-price: 5", b"content-type: text/plain; charset=utf-8", b"connection: close"):
        assert b"\r\n" + line in head
    assert body == b"pay"
    assert server.request("HEAD", url, TUS).status == 404


def test_a_lock_of_nobody_is_no_lock(start: ServerStarter) -> None:
    before = start()
    urls = [half_done(before) for _ in range(3)]
    before.terminate()
    for url, text in zip(urls, ("999999999\n", "", "nobody"), strict=True):
        Path(f"{before.path_of(url)}.lock").write_text(text)
    server = start(port=before.port)
    assert [server.offset(url) for url in urls] == [6, 6, 6]


def test_a_lock_of_a_running_tusd_is_waited_for_by_the_operator(start: ServerStarter, tmp_path: Path) -> None:
    """tusd answers 500 after 20 seconds; this server does not start beside one that does not know its locks."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.lock").write_text("1\n")
    server = start(wait=False)
    assert server.process.wait(DEADLINE) == 1
    assert "a.lock" in server.output()


# --- -compat tusd ---


@pytest.fixture(scope="module")
def lenient(start_shared: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return start_shared("-compat", "tusd", upload_dir=tmp_path_factory.mktemp("lenient"))


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "application/json"])
def test_a_body_of_another_type_is_dropped(spec: Server, lenient: Server, content_type: str) -> None:
    headers = TUS | {"Upload-Length": "5", "Content-Type": content_type}
    assert spec.request("POST", headers=headers, body=b"hello").status == 415
    answer = lenient.request("POST", headers=headers, body=b"hello")
    assert answer.status == 201
    assert "upload-offset" not in answer.headers
    assert lenient.offset(answer.headers["location"]) == 0


@pytest.mark.parametrize(
    ("sent", "by_the_specification", "by_tusd"),
    [
        ("a !!!,b Yg==", None, "b Yg=="),
        ("a Yg,b Yg==", None, "b Yg=="),
        ("a _-8=,b Yg==", None, "b Yg=="),
        ("a  Yg==,b Yg==", None, "b Yg=="),
        ("a YQ==,a Yg==", None, "a Yg=="),
        ("a YQ==,a !!!", None, "a YQ=="),
        ("a 4oI=", "a 4oI=", "a 77+977+9"),
        ("a YQ==, b Yg==", "a YQ==, b Yg==", "a YQ==,b Yg=="),
        ("a YQ==,b", "a YQ==,b", "a YQ==,b"),
    ],
)
def test_metadata_is_read_as_by_tusd_and_not_echoed(
    spec: Server, lenient: Server, sent: str, by_the_specification: str | None, by_tusd: str
) -> None:
    headers = TUS | {"Upload-Length": "5", "Upload-Metadata": sent}
    for server, expected in ((spec, by_the_specification), (lenient, by_tusd)):
        answer = server.request("POST", headers=headers)
        assert answer.status == (201 if expected is not None else 400)
        if expected is not None:
            assert server.request("HEAD", answer.headers["location"]).headers["upload-metadata"] == expected


def references(server: Server, form: str) -> str:
    """A list of parts; `normal` is no partial upload, `foreign` on another host, `elsewhere` below another path."""
    normal = server.create(0)
    partial = server.create(0, Upload_Concat="partial")
    return {
        "normal": normal,
        "foreign": partial.replace("127.0.0.1", "other.example"),
        "unknown": server.url + "0" * 32,
        "elsewhere": partial.replace("/files/", "/elsewhere/"),
    }[form]


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ("normal", 201, ""),
        ("foreign", 201, ""),
        ("unknown", 404, "ERR_UPLOAD_NOT_FOUND"),
        ("elsewhere", 404, "ERR_UPLOAD_NOT_FOUND"),
    ],
)
def test_parts_may_be_what_tusd_takes(spec: Server, lenient: Server, form: str, status: int, code: str) -> None:
    refused = spec.request("POST", headers=TUS | {"Upload-Concat": f"final;{references(spec, form)}"})
    assert (refused.status, refused.code) == (400, "ERR_INVALID_CONCAT")
    answer = lenient.request("POST", headers=TUS | {"Upload-Concat": f"final;{references(lenient, form)}"})
    assert (answer.status, answer.code) == (status, code)


def test_lengths_beside_the_parts_are_ignored_and_the_list_is_written_anew(spec: Server, lenient: Server) -> None:
    for server, status in ((spec, 400), (lenient, 201)):
        part = server.create(0, Upload_Concat="partial")
        path = urlsplit(part).path
        headers = TUS | {"Upload-Concat": f"final; {path}  {path}", "Upload-Length": "7"}
        answer = server.request("POST", headers=headers)
        assert answer.status == status
    head = lenient.request("HEAD", answer.headers["location"]).headers
    assert head["upload-concat"] == f"final;{part} {part}"
