"""tuspy (https://pypi.org/project/tuspy/), the Python client of the tus project."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient

from tests.clients import MIB, assert_downloads, assert_stored, random_file
from tests.running import TUS, Server, ServerStarter

CHUNK_SIZE = 5 * MIB


def test_tuspy_uploads_a_file_without_metadata(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    with source.path.open("rb") as file:
        uploader: Any = TusClient(server.url).uploader(file_stream=file, chunk_size=CHUNK_SIZE)
        uploader.upload()
    assert uploader.offset == source.size
    assert_stored(server, uploader.url, source)
    assert_downloads(server, uploader.url, source)


def test_tuspy_uploads_a_file_with_metadata(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    metadata = {"filename": "größe 1.bin", "filetype": "application/octet-stream"}
    with source.path.open("rb") as file:
        uploader: Any = TusClient(server.url).uploader(file_stream=file, chunk_size=CHUNK_SIZE, metadata=metadata)
        uploader.upload()
    assert_stored(server, uploader.url, source)
    pairs = server.request("HEAD", uploader.url, TUS).headers["upload-metadata"].split(",")
    assert sorted(pairs) == [f"{name} {b64encode(value.encode()).decode()}" for name, value in metadata.items()]


def test_tuspy_uploads_a_file_with_a_checksum_for_every_chunk(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    with source.path.open("rb") as file:
        uploader: Any = TusClient(server.url).uploader(file_stream=file, chunk_size=CHUNK_SIZE, upload_checksum=True)
        uploader.upload()
    assert_stored(server, uploader.url, source)


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # by aiohttp, to tuspy
def test_tuspy_uploads_a_file_asynchronously(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    with source.path.open("rb") as file:
        uploader: Any = TusClient(server.url).async_uploader(file_stream=file, chunk_size=CHUNK_SIZE)
        asyncio.run(uploader.upload())
    assert_stored(server, uploader.url, source)


def test_tuspy_resumes_after_the_server_was_killed_and_started_again(start: ServerStarter, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    server = start()
    with source.path.open("rb") as file:
        first: Any = TusClient(server.url).uploader(file_stream=file, chunk_size=CHUNK_SIZE)
        first.upload(stop_at=4 * CHUNK_SIZE)
    server.kill()

    restarted = start(port=server.port, upload_dir=server.upload_dir)
    with source.path.open("rb") as file:
        second: Any = TusClient(restarted.url).uploader(file_stream=file, chunk_size=CHUNK_SIZE, url=first.url)
        assert second.offset == 4 * CHUNK_SIZE
        second.upload()
    assert_stored(restarted, first.url, source)
    assert_downloads(restarted, first.url, source)


def test_tuspy_tells_a_deferred_length_in_an_empty_last_chunk(server: Server, tmp_path: Path) -> None:
    """The upload is made by hand, since tuspy 1.1 has no option for it; all its chunks are tuspy's."""
    source = random_file(tmp_path, size=10 * CHUNK_SIZE)
    client: Any = TusClient(server.url)
    with source.path.open("rb") as file:
        uploader = client.uploader(file_stream=file, chunk_size=CHUNK_SIZE, url=server.create(None))
        uploader.upload()
        assert server.request("HEAD", uploader.url, TUS).headers["upload-defer-length"] == "1"
        client.set_headers({"upload-length": str(source.size)})
        uploader.upload_chunk()
    assert uploader.offset == source.size
    head = server.request("HEAD", uploader.url, TUS).headers
    assert head["upload-length"] == str(source.size)
    assert "upload-defer-length" not in head
    assert_stored(server, uploader.url, source)
