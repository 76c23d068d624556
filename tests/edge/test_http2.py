"""The README's proxy that speaks HTTP/2: nginx in front of the server, curl in front of nginx."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients import MIB, Source, assert_stored, digest_of, random_file, stored_bytes
from tests.edge import readme_block
from tests.edge.nginx import Nginx, configured_nginx
from tests.running import Server, ServerStarter, eventually
from tests.server.certificates import Files, files_in

UPSTREAM = "127.0.0.1:8080"
CERTIFICATE, KEY = (f"/etc/ssl/uploads.example.org/{name}.pem" for name in ("chain", "key"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files = files_in(tmp_path_factory.mktemp("tls"))
    files.hold("uploads.example.org")
    return files


@pytest.fixture(scope="module")
def origin(start_shared: ServerStarter) -> Server:
    return start_shared("-behind-proxy")


@pytest.fixture(scope="module")
def proxy(origin: Server, files: Files) -> Iterator[Nginx]:
    replaced = {
        UPSTREAM: f"127.0.0.1:{origin.port}",
        CERTIFICATE: str(files.certificate),
        KEY: str(files.key),
    }
    with configured_nginx(readme_block("# HTTP/2"), replaced) as running:
        yield running


def curl(files: Files, proxy: Nginx, *arguments: str) -> list[str]:
    """The command that asks the proxy over HTTP/2, as one of the README's name whose certificate is verified."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "--http2", "--cacert", str(files.certificate)]
    command += ["--resolve", f"uploads.example.org:{proxy.port}:127.0.0.1", "--header", "Tus-Resumable: 1.0.0"]
    return [*command, *arguments]


def asked(files: Files, proxy: Nginx, *arguments: str) -> tuple[str, str]:
    """The HTTP version and status, and the Location of an answer."""
    shown = ["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}\n%header{location}"]
    result = subprocess.run([*curl(files, proxy, *shown), *arguments], check=True, capture_output=True, timeout=90)
    status, _, location = result.stdout.decode().partition("\n")
    return status, location


def created(files: Files, proxy: Nginx, source: Source) -> str:
    creation = f"https://uploads.example.org:{proxy.port}/files/"
    length = f"Upload-Length: {source.size}"
    status, location = asked(files, proxy, "--request", "POST", "--header", length, creation)
    assert status == "2 201"
    assert location.startswith(creation)
    return location


def patch(offset: int) -> list[str]:
    fields = ("Content-Type: application/offset+octet-stream", f"Upload-Offset: {offset}")
    return ["--request", "PATCH", *(argument for field in fields for argument in ("--header", field))]


def test_a_large_upload_over_http_2_arrives_as_it_was_sent(
    origin: Server, proxy: Nginx, files: Files, tmp_path: Path
) -> None:
    source = random_file(tmp_path)
    assert source.size > 50 * MIB
    url = created(files, proxy, source)
    status, _ = asked(files, proxy, *patch(0), "--upload-file", str(source.path), url)
    assert status == "2 204"
    assert_stored(origin, urlsplit(url).path, source)
    download = tmp_path / "download.bin"
    subprocess.run(curl(files, proxy, "--fail", "--output", str(download), url), check=True, timeout=90)
    assert digest_of(download) == source.digest


def test_bytes_reach_the_server_as_they_come_and_a_broken_upload_goes_on(
    origin: Server, proxy: Nginx, files: Files, tmp_path: Path
) -> None:
    """A proxy that collected the body first would have none of these bytes to show."""
    source = random_file(tmp_path)
    url = created(files, proxy, source)
    slowly = ["--limit-rate", "16M", "--upload-file", str(source.path), url]
    with subprocess.Popen(curl(files, proxy, *patch(0), *slowly)) as process:
        eventually(lambda: stored_bytes(origin, urlsplit(url).path) >= 8 * MIB)
        assert process.poll() is None
        process.kill()
    offset = origin.offset(urlsplit(url).path)
    assert 8 * MIB <= offset < source.size
    rest = tmp_path / "rest.bin"
    rest.write_bytes(source.path.read_bytes()[offset:])
    status, _ = asked(files, proxy, *patch(offset), "--upload-file", str(rest), url)
    assert status == "2 204"
    assert_stored(origin, urlsplit(url).path, source)
