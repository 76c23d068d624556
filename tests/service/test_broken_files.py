"""Files that somebody took away or spoilt: each request is answered, no other upload suffers, put back all goes on."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.patching import patch_head
from tests.running import TUS, Server, eventually, read_head


class Statuses(NamedTuple):
    """Of the answers to each method, and to the creation of a final upload with it as a part."""

    head: int
    get: int
    patch: int
    delete: int
    final: int


def statuses(server: Server, url: str) -> Statuses:
    return Statuses(
        server.request("HEAD", url, TUS).status,
        server.request("GET", url).status,
        server.patch(url, 2, b"llo").status,
        server.request("DELETE", url, TUS).status,
        server.request("POST", headers=TUS | {"Upload-Concat": f"final;{url}"}).status,
    )


def half_done(server: Server) -> str:
    url = server.create(5, Upload_Concat="partial")
    server.patch(url, 0, b"he")
    return url


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "cut by one": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "noise": lambda content: bytes(255 - byte for byte in content),
    "twice": lambda content: content * 2,
    "no object": lambda _content: b"null",
    "deep": lambda _content: b"[" * 100_000,
    "a large number": lambda content: content.replace(b'"Size":5', b'"Size":' + b"9" * 10_000),
    "a negative size": lambda content: content.replace(b'"Size":5', b'"Size":-5'),
    "a size in words": lambda content: content.replace(b'"Size":5', b'"Size":"five"'),
    "a list of paths": lambda content: content.replace(b'"Path":', b'"Path":[],"Was":'),
    "metadata that is no text": lambda content: content.replace(b'"MetaData":{', b'"MetaData":{"a":1'),
}


def test_a_spoilt_description_is_our_error_and_harms_no_other_upload(server: Server) -> None:
    other = server.create(1000)
    for number, (name, spoil) in enumerate(SPOILT.items()):
        url = half_done(server)
        info = Path(f"{server.path_of(url)}.info")
        content = info.read_bytes()
        assert spoil(content) != content, name
        info.write_bytes(spoil(content))
        before = server.files()
        assert statuses(server, url) == Statuses(*[500] * 5), name
        assert server.files() == before, name
        assert server.patch(other, number, b"x").status == 204, name
        info.write_bytes(content)
        assert server.patch(url, 2, b"llo").status == 204, name
        assert server.path_of(url).read_bytes() == b"hello", name


VANISHED: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _path: None,
    "a directory": Path.mkdir,
    "a loop of links": lambda path: path.symlink_to(path.name),
    "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("ending", ["", ".info"], ids=["data", "description"])
def test_an_upload_without_one_of_its_files_does_not_exist_until_it_is_back(server: Server, ending: str) -> None:
    for name, put in VANISHED.items():
        url = half_done(server)
        path = Path(f"{server.path_of(url)}{ending}")
        spare = path.rename(path.with_name("spare"))
        put(path)
        is_spoilt = ending == ".info" and path.is_fifo()
        expected = Statuses(*[500] * 5) if is_spoilt else Statuses(404, 404, 404, 404, 400)
        assert statuses(server, url) == expected, name
        if path.is_dir():
            path.rmdir()
        spare.rename(path)
        assert server.patch(url, 2, b"llo").status == 204, name
        assert server.path_of(url).read_bytes() == b"hello", name


@pytest.mark.parametrize("endings", [[""], [".info"], ["", ".info"]], ids=["data", "description", "both"])
@pytest.mark.parametrize("is_checked", [False, True])
def test_nobody_is_told_that_the_bytes_of_a_vanished_upload_were_kept(
    server: Server, endings: list[str], is_checked: bool
) -> None:
    for size in (200_000, 400_000):
        url = server.create(size)
        body = bytes(size)
        digest = b64encode(sha256(body).digest()).decode()
        more = f"Upload-Checksum: sha256 {digest}" if is_checked else "X: y"
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, size, more) + body[:-1])
            eventually(server.path_of(url).read_bytes)
            for ending in endings:
                Path(f"{server.path_of(url)}{ending}").unlink()
            connection.sendall(body[-1:])
            assert read_head(connection).startswith(b"HTTP/1.1 404 ")
        assert server.request("HEAD", url, TUS).status == 404
    assert not list((server.upload_dir / ".tusd-py" / "unverified").iterdir())
