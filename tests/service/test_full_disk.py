"""A disk without space: clients are told, what was received is kept, nothing is half made, and all goes on later."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chunked import fields_of
from tests.patching import chunked
from tests.running import CHUNK, TUS, Answer, Server, ServerStarter

BODY = bytes(range(250)) * 8000
CHECKSUM = "sha256 " + b64encode(hashlib.sha256(BODY).digest()).decode()
PIECES = [BODY[start : start + 100_000] for start in range(0, len(BODY), 100_000)]


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """All but about `left` bytes of the disk are taken."""
    ballast = disk / ".ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(file.tell() - left)
    yield
    ballast.unlink()


def is_full(answer: Answer) -> bool:
    return (answer.status, answer.code) == (507, "ERR_DISK_FULL")


def uploads(server: Server) -> dict[str, bytes]:
    return {name: data for name, data in server.files().items() if name != ".ballast"}


@pytest.mark.parametrize("way", ["length", "chunked", "no byte"])
def test_bytes_that_found_space_are_kept_and_the_rest_comes_when_there_is_more(
    start: ServerStarter, disk: Path, way: str
) -> None:
    server = start(upload_dir=disk)
    url = server.create(len(BODY))
    with filled(disk, 0 if way == "no byte" else 1_000_000):
        answer = chunked(server, url, 0, PIECES) if way == "chunked" else server.patch(url, 0, BODY)
        assert is_full(answer)
        offset = server.offset(url)
        assert (offset == 0) if way == "no byte" else (0 < offset < len(BODY))
        assert is_full(server.patch(url, offset, BODY[offset:]))
        assert server.request("GET", url).body == BODY[:offset]
    assert server.patch(url, offset, BODY[offset:]).status == 204
    assert server.path_of(url).read_bytes() == BODY


def test_a_client_that_goes_on_sending_can_read_that_the_disk_is_full(start: ServerStarter, disk: Path) -> None:
    server = start(upload_dir=disk)
    url = server.create(50_000_000)
    answer = server.patch(url, 0, os.urandom(1_000_000) * 50)
    assert is_full(answer)
    assert answer.headers["connection"] == "close"
    assert 0 < server.offset(url) < 5_000_000


@pytest.mark.parametrize("left", [0, 1_000_000], ids=["no byte", "half of it"])
def test_a_checked_body_that_found_no_space_does_not_count(start: ServerStarter, disk: Path, left: int) -> None:
    server = start(upload_dir=disk)
    url = server.create(len(BODY))
    before = uploads(server)
    with filled(disk, left):
        for answer in (
            server.patch(url, 0, BODY, Upload_Checksum=CHECKSUM),
            chunked(server, url, 0, PIECES, Upload_Checksum=CHECKSUM),
        ):
            assert is_full(answer)
            assert server.offset(url) == 0
            assert server.request("GET", url).body == b""
    assert server.patch(url, 0, BODY, Upload_Checksum=CHECKSUM).status == 204
    assert server.path_of(url).read_bytes() == BODY
    assert uploads(server).keys() == before.keys()


@pytest.mark.parametrize("left", [0, 4096, 1_000_000])
def test_nothing_is_created_where_there_is_no_space_for_it(start: ServerStarter, disk: Path, left: int) -> None:
    server = start(upload_dir=disk)
    part = server.create(len(BODY), Upload_Concat="partial")
    server.patch(part, 0, BODY)
    concat = {"Upload-Concat": f"final;{part} {part}"}
    before = uploads(server)
    long_metadata = ",".join(f"key{number} {b64encode(bytes(1000)).decode()}" for number in range(4))
    with filled(disk, left):
        assert is_full(server.request("POST", headers=TUS | concat))
        assert is_full(server.request("POST", headers=CHUNK | {"Upload-Length": str(len(BODY))}, body=BODY))
        assert is_full(server.request("POST", headers=CHUNK | {"Upload-Defer-Length": "1"}, body=BODY))
        checked = {"Upload-Length": str(len(BODY)), "Upload-Checksum": CHECKSUM}
        assert is_full(server.request("POST", headers=CHUNK | checked, body=BODY))
        if left <= 4096:
            described = {"Upload-Length": "5", "Upload-Metadata": long_metadata}
            assert is_full(server.request("POST", headers=TUS | described))
        assert uploads(server) == before
    url = server.create(len(BODY))
    assert server.patch(url, 0, BODY[:1000]).status == 204


def test_nothing_is_created_where_there_is_no_place_for_a_name(start: ServerStarter, disk: Path) -> None:
    server = start(upload_dir=disk)
    url = server.create(5)
    names = [disk / f".{number}" for number in range(100)]
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012 -- how many there is room for is not known
        for name in names:
            name.touch()
    last = max(number for number, name in enumerate(names) if name.exists())
    for room in range(3):
        before = uploads(server)
        answer = server.request("POST", headers=TUS | {"Upload-Length": "5"})
        assert answer.status in ({507} if room < 2 else {201, 507}), room
        assert answer.status == 201 or uploads(server) == before, room
        names[last - room].unlink()
    assert server.patch(url, 0, b"hello").status == 204


def test_a_length_that_finds_no_space_is_not_declared(start: ServerStarter, disk: Path) -> None:
    server = start(upload_dir=disk)
    url = server.create(None)
    before = uploads(server)
    with filled(disk, 0):
        assert is_full(server.patch(url, 0, b"", Upload_Length="5"))
        assert server.request("HEAD", url, TUS).headers["upload-defer-length"] == "1"
        assert uploads(server) == before
    assert server.patch(url, 0, b"hello", Upload_Length="5").status == 204


def test_a_file_that_finds_no_space_for_its_record_is_finished_later(start: ServerStarter, disk: Path) -> None:
    server = start("-downloads", "signed", upload_dir=disk)
    url = server.create(5)
    server.patch(url, 0, b"hell")
    with filled(disk, 0):
        assert is_full(server.patch(url, 4, b"o"))
        looked_at = server.request("HEAD", url, TUS)
        assert looked_at.status == 423  # a client must not take it for finished, nor begin again
        assert "retry-after" in looked_at.headers
    assert server.offset(url) == 5
    status = server.request("GET", f"/api/uploads/{server.path_of(url).name}/status")
    assert "fileId" in fields_of(status)


def test_a_removal_needs_no_space_and_makes_some(start: ServerStarter, disk: Path) -> None:
    server = start(upload_dir=disk)
    large, other = server.create(len(BODY)), server.create(len(BODY))
    server.patch(large, 0, BODY)
    with filled(disk, 0):
        assert is_full(server.patch(other, 0, BODY))
        assert server.request("DELETE", large, TUS).status == 204
        assert server.patch(other, 0, BODY).status == 204
        assert server.request("GET", other).body == BODY
