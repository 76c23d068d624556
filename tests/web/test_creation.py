"""tus creation, creation-with-upload, creation-defer-length."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.patching import chunked
from tests.running import CHUNK, TUS, Server, ServerStarter, request_head, uploads_in


def test_an_upload_is_created_where_its_location_says(server: Server) -> None:
    before = uploads_in(server.upload_dir)
    answer = server.request("POST", headers=TUS | {"Upload-Length": "11"})
    assert answer.status == 201
    assert answer.headers["location"].startswith(f"http://127.0.0.1:{server.port}/files/")
    upload_id = answer.headers["location"].rpartition("/")[2]
    assert len(upload_id) == 32
    assert int(upload_id, 16) >= 0
    assert answer.headers["content-length"] == "0"
    assert "upload-offset" not in answer.headers
    assert uploads_in(server.upload_dir) == sorted([*before, upload_id, upload_id + ".info"])


def test_the_creation_url_works_without_its_slash(server: Server) -> None:
    path = urlsplit(server.url).path.rstrip("/")
    assert server.request("POST", path, TUS | {"Upload-Length": "1"}).status == 201


def test_the_info_file_is_tusds(server: Server) -> None:
    """The keys and their order are those of tusd-compat 3.1; ours stand in one more."""
    metadata = "filename d29ybGQudHh0,filetype dGV4dC9wbGFpbg==,is_confidential"
    url = server.create(11, Upload_Metadata=metadata)
    path = server.path_of(url)
    text = Path(f"{path}.info").read_text()
    info = json.loads(text)
    assert "\n" not in text
    assert list(info) == [
        *("ID", "Size", "SizeIsDeferred", "Offset", "MetaData", "IsPartial", "IsFinal", "PartialUploads", "Storage"),
        "TusdPy",
    ]
    assert info["ID"] == path.name
    assert (info["Size"], info["SizeIsDeferred"], info["Offset"]) == (11, False, 0)
    assert info["MetaData"] == {"filename": "world.txt", "filetype": "text/plain", "is_confidential": ""}
    assert (info["IsPartial"], info["IsFinal"], info["PartialUploads"]) == (False, False, None)
    assert info["Storage"] == {"InfoPath": f"{path}.info", "Path": str(path), "Type": "filestore"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "ERR_INVALID_UPLOAD_LENGTH"),
        ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, "ERR_AMBIGUOUS_UPLOAD_LENGTH"),
        ({"Upload-Length": "5", "Upload-Concat": "partially"}, "ERR_INVALID_CONCAT"),
        ({"Upload-Length": "5", "Upload-Checksum": "sha1"}, ""),
    ],
)
def test_contradicting_headers_are_refused(server: Server, headers: dict[str, str], code: str) -> None:
    before = uploads_in(server.upload_dir)
    answer = server.request("POST", headers=TUS | headers)
    if not code:  # a checksum without a body is not looked at
        assert answer.status == 201
        return
    assert (answer.status, answer.code) == (400, code)
    assert uploads_in(server.upload_dir) == before


def test_an_empty_upload_is_complete_at_once(start: ServerStarter) -> None:
    server = start()
    url = server.create(0)
    head = server.request("HEAD", url, TUS).headers
    assert (head["upload-offset"], head["upload-length"]) == ("0", "0")
    assert server.request("GET", url).body == b""
    assert "tusd_uploads_finished 1.0" in server.request("GET", "/metrics").body.decode()


def test_the_largest_size_is_enforced(start: ServerStarter) -> None:
    server = start("-max-size", "1000")
    assert server.request("POST", headers=TUS | {"Upload-Length": "1000"}).status == 201
    answer = server.request("POST", headers=TUS | {"Upload-Length": "1001"})
    assert (answer.status, answer.code) == (413, "ERR_MAX_SIZE_EXCEEDED")
    assert len(uploads_in(server.upload_dir)) == 2


# --- Upload-Metadata ---


@pytest.mark.parametrize(
    "metadata",
    ["b Yg==,a YQ==,c", "a YQ==", "a,b Yg==", "a ,b Yg==", "a YQ==, b Yg==", "~!#$%&'*+-.^_`| YQ==", "a /+8="],
)
def test_metadata_is_echoed_to_the_byte(server: Server, metadata: str) -> None:
    url = server.create(5, Upload_Metadata=metadata)
    assert server.request("HEAD", url, TUS).headers["upload-metadata"] == metadata


def test_an_empty_metadata_header_is_no_metadata(server: Server) -> None:
    assert "upload-metadata" not in server.request("HEAD", server.create(5, Upload_Metadata=""), TUS).headers


def test_ten_thousand_pairs_of_metadata_are_taken_and_shown(server: Server) -> None:
    metadata = ",".join(f"key{number} {b64encode(b'value').decode()}" for number in range(10_000))
    fields = TUS | {"Connection": "close"}
    before = set(server.upload_dir.glob("*.info"))
    created = server.raw(request_head("POST", "/files/", fields | {"Upload-Length": "5", "Upload-Metadata": metadata}))
    assert created.startswith(b"HTTP/1.1 201 ")
    (info,) = set(server.upload_dir.glob("*.info")) - before
    assert len(json.loads(info.read_bytes())["MetaData"]) == 10_000
    shown = server.raw(request_head("HEAD", f"/files/{info.stem}", fields))
    assert f"\r\nupload-metadata: {metadata}\r\n".encode() in shown
    assert server.patch(server.url + info.stem, 0, b"hello").status == 204
    assert server.request("GET", server.url + info.stem).body == b"hello"


def test_ten_thousand_pairs_of_metadata_with_one_that_is_bad_create_nothing(server: Server) -> None:
    pairs = [f"key{number} {b64encode(b'value').decode()}" for number in range(9_999)]
    before = server.files()
    for bad in ("key5 YQ==", "key !"):
        metadata = ",".join([*pairs, bad])
        fields = TUS | {"Connection": "close", "Upload-Length": "5", "Upload-Metadata": metadata}
        assert b"ERR_INVALID_METADATA" in server.raw(request_head("POST", "/files/", fields))
    assert server.files() == before


def test_compat_tusd_reads_metadata_as_tusd_does(start: ServerStarter) -> None:
    server = start("-compat", "tusd")
    url = server.create(5, Upload_Metadata="a !!!,b Yg==,c  Yw==,b eA==,d")
    assert server.request("HEAD", url, TUS).headers["upload-metadata"] == "b eA==,d"


# --- creation-with-upload ---


def test_the_first_bytes_may_come_with_the_creation(server: Server) -> None:
    answer = server.request("POST", headers=CHUNK | {"Upload-Length": "100"}, body=b"hello")
    assert (answer.status, answer.headers["upload-offset"]) == (201, "5")
    assert server.patch(answer.headers["location"], 5, b"x" * 95).status == 204


def test_the_whole_file_may_come_with_the_creation(server: Server) -> None:
    body = bytes(range(256)) * 4096
    answer = server.request("POST", headers=CHUNK | {"Upload-Length": str(len(body))}, body=body)
    assert (answer.status, answer.headers["upload-offset"]) == (201, str(len(body)))
    assert server.path_of(answer.headers["location"]).read_bytes() == body


def test_an_empty_body_of_the_tus_type_gets_an_offset(server: Server) -> None:
    answer = server.request("POST", headers=CHUNK | {"Upload-Length": "5"})
    assert (answer.status, answer.headers["upload-offset"]) == (201, "0")


def test_a_deferred_upload_may_bring_bytes(server: Server) -> None:
    answer = server.request("POST", headers=CHUNK | {"Upload-Defer-Length": "1"}, body=b"hello")
    assert (answer.status, answer.headers["upload-offset"]) == (201, "5")


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", None])
def test_a_body_of_another_type_is_refused_and_nothing_created(server: Server, content_type: str | None) -> None:
    headers = TUS | {"Upload-Length": "5"} | ({"Content-Type": content_type} if content_type else {})
    before = uploads_in(server.upload_dir)
    assert server.request("POST", headers=headers, body=b"hello").status == 415
    assert uploads_in(server.upload_dir) == before


def test_another_type_without_a_body_is_ignored(server: Server) -> None:
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5", "Content-Type": "application/json"})
    assert answer.status == 201
    empty = "Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n0\r\n\r\n"
    head = "POST /files/ HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n"
    assert server.raw((head + empty).encode()).startswith(b"HTTP/1.1 201 ")


def test_compat_tusd_drops_a_body_of_another_type(start: ServerStarter) -> None:
    server = start("-compat", "tusd")
    answer = server.request("POST", headers=TUS | {"Upload-Length": "5", "Content-Type": "text/plain"}, body=b"hello")
    assert answer.status == 201
    assert server.offset(answer.headers["location"]) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "3"}, 413),
        ({"Upload-Length": "3", "Transfer-Encoding": "chunked"}, 413),
        ({"Upload-Length": "5", "Upload-Checksum": "sha1 " + "A" * 27 + "="}, 460),
        ({"Upload-Length": "5", "Upload-Checksum": "sha3 " + "A" * 27 + "="}, 400),
    ],
)
def test_a_creation_that_is_refused_by_its_body_leaves_nothing(
    server: Server, headers: dict[str, str], status: int
) -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n" if "Transfer-Encoding" in headers else b"hello"
    before = uploads_in(server.upload_dir)
    assert server.request("POST", headers=CHUNK | headers, body=body).status == status
    assert uploads_in(server.upload_dir) == before


# --- creation-defer-length ---


def test_a_deferred_length_is_shown_until_it_is_known(server: Server) -> None:
    url = server.create(None)
    server.patch(url, 0, b"hello")
    head = server.request("HEAD", url, TUS).headers
    assert (head["upload-defer-length"], head["upload-offset"]) == ("1", "5")
    assert "upload-length" not in head
    assert "content-length" not in head
    assert server.patch(url, 5, b" world", Upload_Length="11").status == 204
    head = server.request("HEAD", url, TUS).headers
    assert (head["upload-length"], head["upload-offset"]) == ("11", "11")
    assert "upload-defer-length" not in head


def test_an_empty_patch_may_close_a_deferred_upload(start: ServerStarter) -> None:
    server = start()
    url = server.create(None)
    server.patch(url, 0, b"hello")
    assert server.patch(url, 5, b"", Upload_Length="5").status == 204
    assert "tusd_uploads_finished 1.0" in server.request("GET", "/metrics").body.decode()


def test_a_length_once_set_never_changes(server: Server) -> None:
    url = server.create(None)
    assert server.patch(url, 0, b"hello", Upload_Length="11").status == 204
    assert server.patch(url, 5, b"", Upload_Length="11").status == 204
    answer = server.patch(url, 5, b" world", Upload_Length="12")
    assert (answer.status, answer.code) == (400, "ERR_INVALID_UPLOAD_LENGTH")
    assert server.request("HEAD", url, TUS).headers["upload-length"] == "11"


def test_a_length_below_the_offset_or_above_the_largest_is_refused(start: ServerStarter) -> None:
    server = start("-max-size", "1000")
    url = server.create(None)
    server.patch(url, 0, b"hello")
    assert server.patch(url, 5, b"", Upload_Length="4").status == 400
    assert server.patch(url, 5, b"", Upload_Length="1001").status == 413
    assert server.request("HEAD", url, TUS).headers["upload-defer-length"] == "1"


def test_the_largest_size_binds_deferred_uploads_too(start: ServerStarter) -> None:
    server = start("-max-size", "1000")
    url = server.create(None)
    assert server.patch(url, 0, b"x" * 1001).status == 413
    assert server.offset(url) == 0
    assert chunked(server, url, 0, [b"x" * 600, b"x" * 401]).status == 413
    assert server.offset(url) <= 1000
