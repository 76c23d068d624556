"""Paths that are no upload's: nothing is found, made, changed or removed under them, whatever the method."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.running import CHUNK, TUS, Server, ServerStarter, request_head
from tests.tusd_directory import write_as_tusd

METHODS = ("HEAD", "GET", "PATCH", "DELETE")

HOSTILE = [
    *("unknown", "..", ".", "../data", "%2e%2e/data", "..%2fdata", "%2e%2e%2fdata%2f{id}", "../data/{id}", "x/../{id}"),
    *(
        "{id}/../{id}",
        "./{id}",
        "%2e/{id}",
        "{id}/.",
        "a//b",
        "a/b/c",
        "{id}/x",
        "%2f%2f{id}x",
        "{id}.info",
        "{id}.lock",
    ),
    *("{id}.stop", ".tusd-py", ".tusd-py/run", ".tusd-py/planted", ".tusd-py%2fplanted", "%2etusd-py/planted"),
    *("x/../.tusd-py/planted", ".tusd-py/unverified/{id}", ".tusd-py/../{id}", "%00", "{id}%00", "{id}%00.info"),
    *("a%00b", "{id}%0d%0aX:y", "{id}%0a", "{id}%20", "{id}%7f", "{id}%c2%85", "%ff%fe", "{id}%ff", "{id}%e2%80%ae"),
    *("folder/../{id}", "folder/%2e%2e/{id}", "folder/../../outside", "folder%2f..%2f..%2foutside", "folder/./../{id}"),
    *("planted.stop", "planted.lock", "folder/.planted/../../{id}"),
    *("x" * 256, "x" * 300, "x" * 5000, "%41" * 5000, "x/" * 600 + "x", "{id}%3f"),
]
"""`{id}` stands for an upload that is there; `folder` is a directory; what is planted or outside would be uploads."""


def hostile_paths(upload_id: str) -> list[str]:
    return [path.replace("{id}", upload_id) for path in HOSTILE]


def with_an_upload(server: Server) -> str:
    """The id of a partial upload of five bytes, two of which are there."""
    url = server.create(5, Upload_Concat="partial")
    server.patch(url, 0, b"he")
    (server.upload_dir / "folder").mkdir(exist_ok=True)
    for place in (".tusd-py/planted", "planted.stop", "planted.lock", "../outside"):
        write_as_tusd(server.upload_dir, place, b"", Size=0, IsPartial=True)
    return url.rpartition("/")[2]


def test_nothing_is_found_under_a_path_that_is_no_uploads(server: Server) -> None:
    upload_id = with_an_upload(server)
    before = server.files()
    fields = CHUNK | {"Upload-Offset": "0", "Upload-Length": "5", "Connection": "close", "Content-Length": "0"}
    for path in hostile_paths(upload_id):
        for method in METHODS:
            for sent in (method, "POST"):
                override = {"X-HTTP-Method-Override": method} if sent != method else {}
                answer = server.raw(request_head(sent, f"/files/{path}", fields | override))
                what = (sent, method, path[:100], answer)
                assert answer.startswith(b"HTTP/1.1 404 "), what
                assert sent == "HEAD" or answer.endswith(b"\r\n\r\nERR_UPLOAD_NOT_FOUND: upload not found\n"), what
        assert server.raw(request_head("POST", f"/files/{path}", fields)).startswith(b"HTTP/1.1 405 "), path
        assert server.files() == before, path
    assert server.patch(server.url + upload_id, 2, b"llo").status == 204


def test_no_part_is_found_under_such_a_path(server: Server) -> None:
    upload_id = with_an_upload(server)
    assert server.patch(server.url + upload_id, 2, b"llo").status == 204
    before = server.files()
    for path in hostile_paths(upload_id):
        for concat in (f"final;/files/{path}", f"final;{server.url}{path}", f"final;{path}"):
            answer = server.raw(request_head("POST", "/files/", TUS | {"Upload-Concat": concat, "Connection": "close"}))
            assert answer.startswith(b"HTTP/1.1 400 "), (concat, answer)
        assert server.files() == before, path


@pytest.mark.parametrize("byte", [b"\0", b"\n", b"\x7f"], ids=["nul", "newline", "delete"])
def test_a_control_byte_in_a_path_is_no_http(server: Server, byte: bytes) -> None:
    path = urlsplit(server.create(0)).path
    before = server.files()
    for method in (*METHODS, "POST", "OPTIONS"):
        head = request_head(method, path + "BYTE", TUS).replace(b"BYTE", byte)
        assert server.raw(head, until_closed=False).startswith(b"HTTP/1.1 400 "), method
    assert server.files() == before


def test_what_lies_in_the_directory_without_a_description_is_no_upload(start: ServerStarter) -> None:
    server = start()
    (server.upload_dir / "notes").write_text("not an upload")
    (server.upload_dir / "folder").mkdir()
    (server.upload_dir / "folder.info").mkdir()
    shutil.copytree(server.upload_dir / "folder", server.upload_dir / "link.target")
    Path(server.upload_dir / "loop.info").symlink_to("loop.info")
    before = server.files()
    for name in ("notes", "folder", "loop", "link.target"):
        statuses = [server.request(method, server.url + name, TUS).status for method in METHODS]
        assert statuses == [404] * 4, name
    assert server.files() == before


def test_an_id_below_an_upload_does_not_exist(server: Server) -> None:
    url = server.create(5)
    assert server.request("HEAD", url + "/x", TUS).status == 404
    assert server.request("HEAD", url + "/", TUS).status == 200
