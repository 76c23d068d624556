"""aiotus (https://pypi.org/project/aiotus/), an asynchronous client on aiohttp that retries by itself."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import aiotus
import pytest

from tests.clients import MIB, Source, assert_downloads, assert_stored, random_file
from tests.running import TUS, Server

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # by aiohttp, to aiotus


def test_aiotus_uploads_a_file_and_reads_its_metadata_back(server: Server, tmp_path: Path) -> None:
    source = random_file(tmp_path)
    metadata = {"filename": "größe 1.bin".encode(), "bare": None}
    with source.path.open("rb") as file:
        url = asyncio.run(aiotus.upload(server.url, file, metadata))
    assert url is not None
    assert_stored(server, str(url), source)
    assert_downloads(server, str(url), source)
    assert asyncio.run(aiotus.metadata(url)) == metadata


def test_aiotus_uploads_files_in_parallel_that_become_one(server: Server, tmp_path: Path) -> None:
    parts = [random_file(tmp_path, 18 * MIB + number, f"part-{number}.bin") for number in range(3)]
    with ExitStack() as stack:
        files = [stack.enter_context(part.path.open("rb")) for part in parts]
        url = asyncio.run(aiotus.upload_multiple(server.url, files, {"filename": b"all.bin"}))
    assert url is not None
    whole = b"".join(part.path.read_bytes() for part in parts)
    assert_stored(server, str(url), Source(tmp_path, len(whole), sha256(whole).hexdigest()))
    assert server.request("HEAD", str(url), TUS).headers["upload-concat"].startswith("final;")
