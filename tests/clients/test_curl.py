"""curl (https://curl.se): the headers are written by the test, the bodies and their framing are curl's."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients import MIB, Source, assert_stored, digest_of, random_file, stored_bytes
from tests.clients.libcurl import send_file_with_trailer
from tests.running import Server, eventually

CURL = ["curl", "--silent", "--show-error", "--max-time", "60"]
TUS = ["--header", "Tus-Resumable: 1.0.0"]
CHUNKED = ["--header", "Transfer-Encoding: chunked"]


@dataclass(frozen=True)
class Head:
    """The first lines of an answer, interim or final."""

    status: int
    headers: Mapping[str, str]


def curl(*arguments: str, body: bytes | None = None) -> list[Head]:
    """Run curl and return the head of every answer, that of `100 Continue` included."""
    command = [*CURL, "--output", "/dev/null", "--dump-header", "-", *TUS, *arguments]
    output = subprocess.run(command, check=True, input=body, stdout=subprocess.PIPE, timeout=300).stdout.decode()
    heads = []
    for head in output.split("\r\n\r\n")[:-1]:
        first, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines)
        heads.append(Head(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}))
    return heads


def created(server: Server, size: int) -> str:
    """The URL of an upload that curl made."""
    [head] = curl("--request", "POST", "--header", f"Upload-Length: {size}", server.url)
    assert head.status == 201
    return head.headers["location"]


def patch_at(offset: int) -> list[str]:
    fields = ["Content-Type: application/offset+octet-stream", f"Upload-Offset: {offset}"]
    return ["--request", "PATCH", *(argument for field in fields for argument in ("--header", field))]


def start_upload_and_kill_curl(server: Server, url: str, source: Source, *arguments: str) -> None:
    """Send the file slowly and kill curl when at least 8 MiB of it are stored."""
    slowly = ["--limit-rate", "8M", "--upload-file", str(source.path)]
    command = [*CURL, *TUS, *patch_at(0), *slowly, *arguments, url]
    with subprocess.Popen(command) as process:
        try:
            eventually(lambda: stored_bytes(server, url) >= 8 * MIB)
            assert process.poll() is None
        finally:
            process.kill()


def test_curl_uploads_a_file_with_its_length_and_downloads_it(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url = created(server, source.size)
    answer = curl(*patch_at(0), "--data-binary", f"@{source.path}", url)[-1]
    assert answer.status == 204
    assert answer.headers["upload-offset"] == str(source.size)
    assert_stored(server, url, source)
    download = tmp_path / "download.bin"
    subprocess.run([*CURL, "--fail", "--output", str(download), url], check=True, timeout=300)
    assert digest_of(download) == source.digest


def test_curl_uploads_a_file_in_chunked_coding(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url = created(server, source.size)
    answer = curl(*patch_at(0), *CHUNKED, "--upload-file", str(source.path), url)[-1]
    assert answer.status == 204
    assert answer.headers["upload-offset"] == str(source.size)
    assert_stored(server, url, source)


def test_curl_that_expects_100_continue_is_told_to_go_on(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url = created(server, source.size)
    expecting = ["--header", "Expect: 100-continue", "--expect100-timeout", "30"]
    answers = curl(*patch_at(0), *expecting, "--upload-file", str(source.path), url)
    assert [answer.status for answer in answers] == [100, 204]
    assert_stored(server, url, source)


def test_curl_that_expects_100_continue_is_refused_before_it_sends_the_file(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    url = created(server, source.size)
    expecting = ["--header", "Expect: 100-continue", "--expect100-timeout", "30"]
    output = ["--output", "/dev/null", "--write-out", "%{http_code} %{size_upload}"]
    command = [*CURL, *TUS, *patch_at(1), *expecting, *output, "--upload-file", str(source.path), url]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300).stdout
    assert answer == b"409 0"
    assert server.offset(url) == 0


@pytest.mark.parametrize(("is_right", "status"), [(True, 204), (False, 460)])
def test_libcurl_sends_the_checksum_of_a_file_behind_it(
    server: Server, tmp_path: Path, is_right: bool, status: int
) -> None:
    source = random_file(tmp_path)
    url = created(server, source.size)
    digest = bytes.fromhex(source.digest) if is_right else bytes(32)
    headers = ["Tus-Resumable: 1.0.0", "Upload-Offset: 0", "Content-Type: application/offset+octet-stream"]
    headers.append("Trailer: Upload-Checksum")
    trailer = f"Upload-Checksum: sha256 {b64encode(digest).decode()}"
    assert send_file_with_trailer(url, headers, source.path, trailer) == status
    if is_right:
        assert_stored(server, url, source)
    else:
        assert server.offset(url) == 0


@pytest.mark.parametrize(
    ("coding", "from_input"),
    [([], ["--data-binary", "@-"]), (CHUNKED, ["--upload-file", "-"])],
    ids=["with_length", "chunked"],
)
def test_a_second_curl_sends_the_rest_of_a_file_after_the_first_was_killed(
    server: Server, tmp_path: Path, coding: list[str], from_input: list[str]
) -> None:
    source = random_file(tmp_path)
    url = created(server, source.size)
    start_upload_and_kill_curl(server, url, source, *coding)

    [head] = curl("--head", url)
    offset = int(head.headers["upload-offset"])
    assert head.status == 200
    assert head.headers["upload-length"] == str(source.size)
    assert 8 * MIB <= offset < source.size

    rest = source.path.read_bytes()[offset:]
    answer = curl(*patch_at(offset), *from_input, url, body=rest)[-1]
    assert answer.status == 204
    assert answer.headers["upload-offset"] == str(source.size)
    assert_stored(server, url, source)
