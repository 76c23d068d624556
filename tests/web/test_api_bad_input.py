"""Bad input to the JSON API gets a clear answer and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.chunked import fields_of, sha256
from tests.running import ServerStarter, request_head
from tests.web.api import CHUNK, SMALL_CHUNKS, ApiClient, announcement, chunk_of, error_of, read_answer, some_bytes

DATA = some_bytes(2 * CHUNK + 5)
GOOD = announcement(DATA)

IMPOSSIBLE: dict[str, list[Any]] = {
    "fileName": [1, True, [], {}, ["a"], "", "x" * 65_537],
    "fileSize": [True, False, 1.5, 1.0, 1e3, "10", "", [], {}, -1, -(2**70), 2**63, 10**400],
    "contentType": [1, True, [], {}, ""],
    "checksum": [
        *(1, True, [], {}, "", "0" * 63, "0" * 65, "g" * 64, "٣" * 64, " " + "0" * 63, "0" * 64 + "\n"),
        "sha256 " + "0" * 57,
    ],
    "ownerId": [1, True, [], {}, "", "x" * 65_537],
}

UNKNOWN_IDS = [
    *("0" * 32, "unknown", "..", "../..", "a/../b", "a//b", ".tusd-py", ".tusd-py/run", "x.info", "x" * 300),
    *("f_" + "0" * 32, "\0", "a\nb", "a\r\nX: y", "٣", "\ud7ff", "%", "a/b/c", "initiate", "status", "x" * 5000),
]


@pytest.fixture(scope="module")
def session(api: ApiClient) -> str:
    """An upload of three chunks, of which the last is here."""
    upload_id = api.initiate(DATA)
    api.send(upload_id, DATA, [2])
    return upload_id


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(api: ApiClient, session: str) -> Iterator[None]:
    before = everything_in(api)
    yield
    assert everything_in(api) == before
    status = api.status(session)
    assert (status["status"], status["uploadedChunks"]) == ("uploading", [2])


def everything_in(api: ApiClient) -> list[str]:
    """All files and directories of the server, but for its sockets."""
    return sorted(str(path) for path in api.server.upload_dir.rglob("*") if path.parent.name != "run")


# --- announcements ---


@pytest.mark.parametrize("field", ["fileName", "fileSize", "contentType", "checksum"])
def test_a_field_that_is_missing_is_named(api: ApiClient, field: str) -> None:
    for fields in (GOOD | {field: None}, {name: value for name, value in GOOD.items() if name != field}):
        answer = api.announce(fields)
        assert error_of(answer) == (400, "ERR_INVALID_FIELD")
        assert fields_of(answer)["field"] == field


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, bad in IMPOSSIBLE.items() for value in bad])
def test_a_field_that_is_mistyped_or_has_no_possible_value_is_named(api: ApiClient, field: str, value: Any) -> None:
    answer = api.announce(GOOD | {field: value})
    assert error_of(answer) == (400, "ERR_INVALID_FIELD")
    assert fields_of(answer)["field"] == field


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"\x00", b"{]", b"{'fileName': 'a'}", b"<a/>"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"{" * 1_000_000, b'{"fileSize": ' + b"9" * 10_000 + b"}"),
        json.dumps(GOOD).encode() + b"x",
        json.dumps([GOOD]).encode(),
    ],
)
def test_what_is_no_json_object_is_refused(api: ApiClient, body: bytes) -> None:
    assert error_of(api.announce(body)) == (400, "ERR_INVALID_JSON")


@pytest.mark.parametrize("size", [5 * 1024**3 + 1, 2**62, 2**63 - 1])
def test_a_file_over_the_limit_is_refused_with_the_limit(api: ApiClient, size: int) -> None:
    answer = api.announce(GOOD | {"fileSize": size})
    assert error_of(answer) == (413, "ERR_MAX_SIZE_EXCEEDED")
    assert (fields_of(answer)["allowed"], fields_of(answer)["received"]) == (5 * 1024**3, size)


@pytest.mark.parametrize("flags", [("-max-size", "100"), ("-max-size", "100", "-chunk-max-size", "0")])
def test_the_limit_of_all_uploads_is_one_of_those_in_chunks(start: ServerStarter, flags: tuple[str, ...]) -> None:
    api = ApiClient(start(*flags))
    assert error_of(api.announce(GOOD | {"fileSize": 101})) == (413, "ERR_MAX_SIZE_EXCEEDED")
    assert api.announce(GOOD | {"fileSize": 100}).status == 201


@pytest.mark.parametrize("limit", ["0", str(2**62)])
def test_a_file_of_more_than_a_hundred_thousand_chunks_is_refused(start: ServerStarter, limit: str) -> None:
    api = ApiClient(start(*SMALL_CHUNKS, "-chunk-max-size", limit))
    before = everything_in(api)
    for size in (100_000 * CHUNK + 1, 2**50, 2**63 - 1):
        answer = api.announce(GOOD | {"fileSize": size})
        assert error_of(answer) == (413, "ERR_MAX_SIZE_EXCEEDED")
        assert fields_of(answer)["allowed"] == 100_000 * CHUNK
    assert everything_in(api) == before
    upload_id = fields_of(api.announce(GOOD | {"fileSize": 100_000 * CHUNK}))["uploadId"]
    assert len(api.status(upload_id)["missingChunks"]) == 100_000


def test_a_file_that_the_file_system_cannot_hold_leaves_nothing(start: ServerStarter) -> None:
    api = ApiClient(start("-chunk-size", str(2**48), "-chunk-max-size", "0"))
    before = everything_in(api)
    answer = api.announce(GOOD | {"fileSize": 2**63 - 1})
    if answer.status != 201:  # a few can
        assert error_of(answer) == (507, "ERR_DISK_FULL")
        assert everything_in(api) == before


@pytest.mark.parametrize(
    "kind", ["text/html", "image/svg+xml", "text", "application/octet-stream", "x", "image/jpegx", ";", "\0", "*/*"]
)
def test_a_type_that_is_not_on_the_list_is_refused(api: ApiClient, kind: str) -> None:
    assert error_of(api.announce(GOOD | {"contentType": kind})) == (415, "ERR_TYPE_NOT_ALLOWED")


def test_a_type_is_compared_without_case_and_parameters(start: ServerStarter) -> None:
    api = ApiClient(start())
    assert api.announce(GOOD | {"contentType": "Text/PLAIN; charset=utf-8"}).status == 201


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../../x", "a\\b", "..", ".", "C:\\x", "a\0b", "a\r\nSet-Cookie: x", "\x1b[31m", "x" * 10_240),
        *('"', "naïve €.txt", "\u202ecod.exe", "f_" + "0" * 32, "a.info", " ", "\U0001f600", "\ud800"),
    ],
)
def test_every_name_is_taken_for_what_it_is_and_never_for_a_path(api: ApiClient, name: str) -> None:
    upload_id, file_id = api.upload(b"hello", fileName=name)
    kept = name.replace("\ud800", "?")
    assert api.file(file_id)["fileName"] == kept
    answer = api.server.request("GET", api.link(upload_id))
    assert answer.body == b"hello"
    assert "set-cookie" not in answer.headers
    assert api.call("DELETE", f"/uploads/{upload_id}").status == 204
    folder = api.server.upload_dir / ".tusd-py" / "files" / file_id[2:4]
    if not list(folder.iterdir()):
        folder.rmdir()  # which the server keeps


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 2 * 1024 * 1024, 2**60])
@pytest.mark.parametrize("expectation", [{}, {"Expect": "100-continue"}])
def test_json_that_is_too_large_is_refused_before_it_is_read(
    api: ApiClient, size: int, expectation: dict[str, str]
) -> None:
    head = request_head("POST", "/api/uploads/initiate", {"Content-Length": str(size)} | expectation)
    with api.server.connection() as connection:
        connection.sendall(head)
        answer = read_answer(connection)
        assert error_of(answer) == (413, "ERR_BODY_TOO_LARGE")
        assert answer.headers["connection"] == "close"


def test_json_of_two_mebibytes_is_refused_in_chunked_coding_as_well(api: ApiClient) -> None:
    head = request_head("POST", "/api/uploads/initiate", {"Transfer-Encoding": "chunked"})
    with api.server.connection() as connection:
        connection.sendall(head + b"200000\r\n" + b" " * 0x200000 + b"\r\n0\r\n\r\n")
        assert error_of(read_answer(connection)) == (413, "ERR_BODY_TOO_LARGE")


def test_json_of_one_mebibyte_is_read(api: ApiClient) -> None:
    filler = b" " * (1024 * 1024 - len(json.dumps(GOOD | {"fileSize": -1})))
    assert error_of(api.announce(json.dumps(GOOD | {"fileSize": -1}).encode() + filler)) == (400, "ERR_INVALID_FIELD")


def test_json_that_breaks_off_is_refused(api: ApiClient) -> None:
    with api.server.connection() as connection:
        connection.sendall(request_head("POST", "/api/uploads/initiate", {"Content-Length": "100"}) + b'{"file')
        connection.shutdown(1)
        assert error_of(read_answer(connection)) == (400, "ERR_UNEXPECTED_EOF")


# --- chunks ---


@pytest.mark.parametrize(
    "number",
    [
        *("-1", "3", "4", "10000", str(10**10), str(10**18), "1e0", "٣", "1.0", "+1", "01", "00", "0x1", "1_0", " 1"),
        *("1 ", "1\n", "x", "null", "¹", "\0", "9" * 5000),
    ],
)
def test_a_number_that_no_chunk_has_is_refused(api: ApiClient, session: str, number: str) -> None:
    answer = api.put(session, quote(number), chunk_of(DATA, 0))
    assert error_of(answer) == (400, "ERR_INVALID_CHUNK_NUMBER")


@pytest.mark.parametrize("checksum", ["", "x", "0" * 63, "0" * 65, "sha256:" + "0" * 57, "g" * 64, sha256(b"") + ","])
def test_a_checksum_that_is_none_is_refused(api: ApiClient, session: str, checksum: str) -> None:
    answer = api.put(session, 0, chunk_of(DATA, 0), checksum=checksum)
    assert error_of(answer) == (400, "ERR_INVALID_CHUNK_CHECKSUM")


def test_a_checksum_that_is_missing_or_stands_twice_is_refused(api: ApiClient, session: str) -> None:
    path = f"/api/uploads/{session}/chunks/0"
    digest = ("X-Chunk-Checksum", sha256(chunk_of(DATA, 0)))
    for checksums in ([], [digest, digest]):
        head = request_head("PUT", path, [("Content-Length", str(CHUNK)), *checksums])
        with api.server.connection() as connection:
            connection.sendall(head + chunk_of(DATA, 0))
            assert error_of(read_answer(connection)) == (400, "ERR_INVALID_CHUNK_CHECKSUM")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        *((size, (400, "ERR_INVALID_CHUNK_LENGTH")) for size in (0, 1, CHUNK - 1)),
        *((size, (413, "ERR_CHUNK_TOO_LARGE")) for size in (CHUNK + 1, 2 * CHUNK, 40 * CHUNK)),
    ],
)
def test_a_body_that_is_not_as_long_as_the_chunk_is_refused(
    api: ApiClient, session: str, size: int, expected: tuple[int, str]
) -> None:
    answer = api.put(session, 0, some_bytes(size))
    assert error_of(answer) == expected
    assert (fields_of(answer)["expected"], fields_of(answer)["received"]) == (CHUNK, size)


def test_a_body_that_is_too_long_is_not_asked_for(api: ApiClient, session: str) -> None:
    head = api.put_head(session, 0, b"", Content_Length=str(2**50), Expect="100-continue")
    assert api.server.raw(head, until_closed=False).startswith(b"HTTP/1.1 413 ")


def test_the_rest_is_shorter_than_a_chunk_and_must_be(api: ApiClient, session: str) -> None:
    assert error_of(api.put(session, 2, some_bytes(CHUNK))) == (413, "ERR_CHUNK_TOO_LARGE")
    assert error_of(api.put(session, 2, some_bytes(4))) == (400, "ERR_INVALID_CHUNK_LENGTH")


def test_a_body_without_a_length_is_refused(api: ApiClient, session: str) -> None:
    head = api.put_head(session, 0, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunk = chunk_of(DATA, 0)
    with api.server.connection() as connection:
        connection.sendall(head + b"%x\r\n" % len(chunk) + chunk + b"\r\n0\r\n\r\n")
        assert error_of(read_answer(connection)) == (411, "ERR_LENGTH_REQUIRED")
    head = request_head("PUT", f"/api/uploads/{session}/chunks/0", {"X-Chunk-Checksum": "0" * 64})
    with api.server.connection() as connection:
        connection.sendall(head)
        assert error_of(read_answer(connection)) == (400, "ERR_INVALID_CHUNK_LENGTH")


def test_bytes_that_have_another_checksum_do_not_count(api: ApiClient, session: str) -> None:
    answer = api.put(session, 0, chunk_of(DATA, 1), checksum=sha256(chunk_of(DATA, 0)))
    assert error_of(answer) == (422, "ERR_CHUNK_CHECKSUM_MISMATCH")
    assert fields_of(answer)["chunk"] == 0


@pytest.mark.parametrize("chunk", [CHUNK, 16 * CHUNK])
def test_a_client_that_falls_silent_is_told_so(start: ServerStarter, chunk: int) -> None:
    api = ApiClient(start("-chunk-size", str(chunk), "-network-timeout", "300ms"))
    data = some_bytes(chunk)
    upload_id = api.initiate(data)
    with api.server.connection() as connection:
        connection.sendall(api.put_head(upload_id, 0, data) + data[:1000])
        assert error_of(read_answer(connection)) == (408, "ERR_BODY_TIMEOUT")
    assert api.status(upload_id)["missingChunks"] == [0]


# --- addresses ---


@pytest.mark.parametrize("upload_id", UNKNOWN_IDS)
def test_an_unknown_upload_is_unknown_on_every_path(api: ApiClient, upload_id: str) -> None:
    path = f"/uploads/{quote(upload_id, safe='')}"
    unknown = (404, "ERR_UPLOAD_NOT_FOUND")
    assert error_of(api.call("GET", f"{path}/status")) == unknown
    assert error_of(api.call("POST", f"{path}/complete")) == unknown
    assert error_of(api.call("GET", f"{path}/download")) == unknown
    assert error_of(api.put(quote(upload_id, safe=""), 0, b"x")) == unknown
    if upload_id != "initiate":
        assert error_of(api.call("DELETE", path)) == unknown


@pytest.mark.parametrize("file_id", UNKNOWN_IDS)
def test_an_unknown_file_is_unknown_on_every_path(api: ApiClient, file_id: str) -> None:
    for path in (f"/files/{quote(file_id, safe='')}", f"/files/{quote(file_id, safe='')}/download"):
        answer = api.call("GET", path)
        assert error_of(answer) in ((404, "ERR_FILE_NOT_FOUND"), (404, "ERR_NOT_FOUND"))


@pytest.mark.parametrize("path", ["", "/", "/uploads", "/uploads/", "/files", "/files/", "/x", "/openapi.yaml", "//x"])
def test_what_is_not_there_is_not_found(api: ApiClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "PURGE"):
        assert error_of(api.call(method, path)) == (404, "ERR_NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/uploads/initiate", "POST, OPTIONS"),
        ("/uploads/x/chunks/0", "PUT, OPTIONS"),
        ("/uploads/x/status", "GET, HEAD, OPTIONS"),
        ("/uploads/x/complete", "POST, OPTIONS"),
        ("/uploads/x/download", "GET, HEAD, OPTIONS"),
        ("/uploads/x", "DELETE, OPTIONS"),
        ("/files/f_0", "GET, HEAD, OPTIONS"),
        ("/files/f_0/download", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(
    api: ApiClient, path: str, allow: str
) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "PURGE", "TRACE"):
        if method not in allow:
            answer = api.call(method, path)
            assert error_of(answer) == (405, "ERR_METHOD_NOT_ALLOWED")
            assert answer.headers["allow"] == allow
    answer = api.call("OPTIONS", path)
    assert (answer.status, answer.headers["allow"]) == (204, allow)


def test_head_is_get_without_the_body(api: ApiClient, session: str) -> None:
    for path in (f"/uploads/{session}/status", "/uploads/unknown/status", "/openapi.json"):
        got, answer = api.call("GET", path), api.call("HEAD", path)
        assert (answer.status, answer.body) == (got.status, b"")
        assert answer.headers["content-length"] == got.headers["content-length"]


def test_nothing_of_this_was_an_error_of_the_server(api: ApiClient) -> None:
    assert api.announce(GOOD | {"fileSize": 2**62}).status == 413  # which is counted
    metrics = api.server.request("GET", "/metrics").body.decode()
    assert 'status="413"' in metrics
    assert 'status="5' not in metrics
