"""tus concatenation."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.running import (
    CHUNK,
    DEADLINE,
    TUS,
    Answer,
    Server,
    ServerStarter,
    eventually,
    read_all,
    request_head,
    uploads_in,
)
from tests.tusd_directory import write_as_tusd


def part(server: Server, body: bytes) -> str:
    url = server.create(len(body), Upload_Concat="partial")
    assert server.patch(url, 0, body).status == 204
    return url


def final(server: Server, references: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", headers=TUS | {"Upload-Concat": "final;" + references} | named)


def test_parts_become_a_final_upload_in_the_order_given(server: Server) -> None:
    one, two = part(server, b"hello "), part(server, b"world")
    for references, expected in ((f"{one} {two}", b"hello world"), (f"{two} {one}", b"worldhello ")):
        answer = final(server, references)
        assert answer.status == 201
        url = answer.headers["location"]
        head = server.request("HEAD", url, TUS).headers
        assert (head["upload-offset"], head["upload-length"]) == ("11", "11")
        assert head["upload-concat"] == "final;" + references
        assert server.request("GET", url).body == expected
    assert server.request("HEAD", one, TUS).headers["upload-concat"] == "partial"
    info = json.loads(Path(f"{server.path_of(url)}.info").read_text())
    assert info["IsFinal"] is True
    assert info["PartialUploads"] == [two.rpartition("/")[2], one.rpartition("/")[2]]


@pytest.mark.parametrize("form", ["absolute", "path", "relative", "after a blank", "several blanks"])
def test_parts_may_be_named_by_any_url_of_this_server(server: Server, form: str) -> None:
    one, two = part(server, b"a"), part(server, b"b")
    path_one, path_two = urlsplit(one).path, urlsplit(two).path
    references = {
        "absolute": f"{one} {two}",
        "path": f"{path_one} {path_two}",
        "relative": f"{path_one.rpartition('/')[2]} {path_two.rpartition('/')[2]}",
        "after a blank": f" {one} {two}",
        "several blanks": f"{one}   {two}",
    }[form]
    answer = final(server, references)
    assert answer.status == 201
    assert server.request("GET", answer.headers["location"]).body == b"ab"


def test_metadata_of_parts_stays_with_them(server: Server) -> None:
    one = server.create(0, Upload_Concat="partial", Upload_Metadata="a YQ==")
    assert "upload-metadata" not in server.request("HEAD", final(server, one).headers["location"], TUS).headers
    named = final(server, one, Upload_Metadata="b Yg==").headers["location"]
    assert server.request("HEAD", named, TUS).headers["upload-metadata"] == "b Yg=="


def test_a_part_may_come_several_times_and_in_several_finals(server: Server) -> None:
    one = part(server, b"ab")
    assert server.request("GET", final(server, f"{one} {one}").headers["location"]).body == b"abab"
    assert server.request("GET", final(server, one).headers["location"]).body == b"ab"
    many = final(server, " ".join([urlsplit(one).path] * 1000))
    assert server.request("GET", many.headers["location"]).body == b"ab" * 1000


def test_a_thousand_parts_become_one(server: Server) -> None:
    paths = []
    for number in range(1000):
        write_as_tusd(server.upload_dir, f"part{number}", b"%04d" % number, Size=4, IsPartial=True)
        paths.append(f"/files/part{number}")
    url = final(server, " ".join(paths)).headers["location"]
    assert server.request("GET", url).body == b"".join(b"%04d" % number for number in range(1000))
    assert server.request("HEAD", url, TUS).headers["upload-concat"] == "final;" + " ".join(paths)
    before = server.files()
    for bad in ("/files/unknown", url):
        assert final(server, " ".join([*paths[:999], bad])).status == 400
    assert server.files() == before


def test_a_final_lives_on_without_its_parts(server: Server) -> None:
    one = part(server, b"ab")
    url = final(server, one).headers["location"]
    assert server.request("DELETE", one, TUS).status == 204
    assert server.request("GET", url).body == b"ab"


def test_a_final_is_never_modified(server: Server) -> None:
    url = final(server, part(server, b"ab")).headers["location"]
    for offset in (0, 2, 5):
        for content_type in ("application/offset+octet-stream", "text/plain"):
            answer = server.patch(url, offset, b"x", Content_Type=content_type)
            assert (answer.status, answer.code) == (403, "ERR_MODIFY_FINAL")
    assert server.request("GET", url).body == b"ab"


def test_a_final_of_empty_parts_is_empty(server: Server) -> None:
    empty = server.create(0, Upload_Concat="partial")
    url = final(server, f"{empty} {empty}").headers["location"]
    assert server.request("HEAD", url, TUS).headers["upload-length"] == "0"


def test_what_cannot_be_concatenated_is_refused_and_nothing_created(server: Server) -> None:
    good = part(server, b"ab")
    plain = server.create(2)
    server.patch(plain, 0, b"ab")
    whole = final(server, good).headers["location"]
    unfinished = server.create(5, Upload_Concat="partial")
    deferred = server.create(None, Upload_Concat="partial")
    before = uploads_in(server.upload_dir)
    path = urlsplit(good).path
    refused = {
        "unknown": final(server, server.url + "0" * 32),
        "not partial": final(server, f"{good} {plain}"),
        "final": final(server, f"{good} {whole}"),
        "unfinished": final(server, f"{good} {unfinished}"),
        "deferred": final(server, deferred),
        "foreign host": final(server, f"http://example.org{path}"),
        "outside": final(server, "/other/" + path.rpartition("/")[2]),
        "traversal": final(server, "/files/../data"),
        "broken url": final(server, "http://[::1/files/x"),
        "empty": final(server, ""),
        "blank": final(server, " "),
        "with length": final(server, good, Upload_Length="2"),
        "deferred length": final(server, good, Upload_Defer_Length="1"),
        "bad metadata": final(server, good, Upload_Metadata="a !"),
    }
    assert {name: answer.status for name, answer in refused.items()} == dict.fromkeys(refused, 400)
    for value in ("", "final", "foo", "partial;x", "Partial", "final ;" + good):
        assert server.request("POST", headers=TUS | {"Upload-Concat": value, "Upload-Length": "2"}).status == 400
    body = server.request("POST", headers=CHUNK | {"Upload-Concat": "final;" + good}, body=b"x")
    assert (body.status, body.code) == (403, "ERR_MODIFY_FINAL")
    assert uploads_in(server.upload_dir) == before


def test_the_sum_of_the_parts_is_bounded(start: ServerStarter) -> None:
    server = start("-max-size", "100")
    one = part(server, b"x" * 60)
    assert final(server, one).status == 201
    answer = final(server, f"{one} {one}")
    assert (answer.status, answer.code) == (413, "ERR_MAX_SIZE_EXCEEDED")


def test_a_concatenation_that_does_not_fit_on_the_disk_is_refused(server: Server) -> None:
    """A sparse part of half the free space: once fits, three times cannot."""
    one = server.create(0, Upload_Concat="partial")
    status = os.statvfs(server.upload_dir)
    size = status.f_bavail * status.f_frsize // 2
    os.truncate(server.path_of(one), size)
    info = Path(f"{server.path_of(one)}.info")
    info.write_text(json.dumps(json.loads(info.read_text()) | {"Size": size}))
    before = uploads_in(server.upload_dir)
    answer = final(server, f"{one} {one} {one}")
    assert (answer.status, answer.code) == (507, "ERR_DISK_FULL")
    assert uploads_in(server.upload_dir) == before


def test_compat_tusd_takes_what_tusd_takes(start: ServerStarter) -> None:
    """tusd-compat 2.9: parts need not be partial, hosts are not compared, an unknown base path is 404."""
    server = start("-compat", "tusd")
    plain = server.create(2)
    server.patch(plain, 0, b"ab")
    path = urlsplit(plain).path
    answer = final(server, f"http://other.example{path}", Upload_Length="7")
    assert answer.status == 201
    shown = server.request("HEAD", answer.headers["location"], TUS).headers["upload-concat"]
    assert shown == f"final;{plain}"
    assert final(server, "/other/x").status == 404
    assert final(server, "/files/unknown").status == 404


def test_concatenation_can_be_switched_off(start: ServerStarter) -> None:
    server = start("-disable-concatenation")
    for value in ("partial", "final;/files/x"):
        answer = server.request("POST", headers=TUS | {"Upload-Concat": value, "Upload-Length": "2"})
        assert (answer.status, answer.code) == (400, "ERR_CONCATENATION_UNSUPPORTED")


def in_the_making(server: Server, connection: socket.socket) -> list[str]:
    """Ask for a final upload that takes a while, and wait until it is being made; what was there before."""
    one = server.create(0, Upload_Concat="partial")
    size = 64 * 1024 * 1024
    os.truncate(server.path_of(one), size)
    info = Path(f"{server.path_of(one)}.info")
    info.write_text(json.dumps(json.loads(info.read_text()) | {"Size": size}))
    before = uploads_in(server.upload_dir)
    concat = "final;" + " ".join([urlsplit(one).path] * 200)
    connection.sendall(request_head("POST", "/files/", TUS | {"Upload-Concat": concat, "Content-Length": "0"}))
    eventually(lambda: list(workspace(server).iterdir()))
    return before


def workspace(server: Server) -> Path:
    return server.upload_dir / ".tusd-py" / "workspace"


def test_a_concatenation_that_nobody_waits_for_ends(server: Server) -> None:
    with server.connection() as connection:
        before = in_the_making(server, connection)
    eventually(lambda: not list(workspace(server).iterdir()))
    assert uploads_in(server.upload_dir) == before


def test_a_stop_ends_a_concatenation_and_leaves_nothing(start: ServerStarter) -> None:
    server = start()
    with server.connection() as connection:
        before = in_the_making(server, connection)
        server.process.send_signal(signal.SIGTERM)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"ERR_SERVER_SHUTDOWN" in answer
    assert server.process.wait(DEADLINE) == 0
    assert list(workspace(server).iterdir()) == []
    assert uploads_in(server.upload_dir) == before
