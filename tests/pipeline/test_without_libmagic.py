"""A server that cannot detect types: it says so, takes what it need not look at, and goes on when it can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chunked import fields_of, sha256
from tests.pipeline.sending import TEXT, by_tus, record_when_settled, status_of
from tests.running import CHUNK, ServerStarter


@pytest.fixture
def no_libmagic(tmp_path: Path) -> dict[str, str]:
    """The environment of a server, and of its children, that find no libmagic."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "magic.py").write_text("raise ImportError('failed to find libmagic.  Check your installation')")
    return {"PYTHONPATH": str(folder)}


def test_it_starts_degraded_names_the_package_and_takes_no_chunk_uploads(
    start: ServerStarter, no_libmagic: dict[str, str]
) -> None:
    server = start(environment=no_libmagic)
    health = server.request("GET", "/health")
    assert (health.status, fields_of(health)["status"]) == (200, "degraded")
    assert "apt-get install libmagic1" in fields_of(health)["parts"]["detection"]
    announced = {"fileName": "a", "fileSize": 5, "contentType": "text/plain", "checksum": sha256(b"hello")}
    answer = server.request("POST", "/api/uploads/initiate", body=json.dumps(announced).encode())
    assert (answer.status, fields_of(answer)["code"]) == (503, "ERR_DETECTION_UNAVAILABLE")
    url = server.create(5)
    assert server.request("PATCH", url, CHUNK | {"Upload-Offset": "0"}, b"hello").status == 204
    assert server.request("GET", url).body == b"hello"


def test_files_that_have_to_be_looked_at_wait_for_it(start: ServerStarter, no_libmagic: dict[str, str]) -> None:
    server = start("-detect", "-allowed-types", "text/plain", environment=no_libmagic)
    sent = by_tus(server, TEXT)
    assert status_of(server, sent) == "processing"
    answer = server.request("GET", sent.path)
    assert (answer.status, answer.code) == (409, "ERR_FILE_NOT_READY")
    server.terminate()
    server = start("-detect", "-allowed-types", "text/plain", upload_dir=server.upload_dir)
    record = record_when_settled(server, sent.file_id)
    assert (record["status"], record["detectedType"]) == ("ready", "text/plain")
