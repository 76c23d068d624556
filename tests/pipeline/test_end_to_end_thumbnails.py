"""Thumbnails of finished files, and what is left of files that are removed."""

from __future__ import annotations

import time
from io import BytesIO

import pytest
from PIL import Image

from tests.chunked import fields_of, state_of
from tests.pipeline.clamav import ClamAV
from tests.pipeline.sending import SENDERS, TEXT, Sent, by_tus, png, record_when_settled, signed_link
from tests.running import TUS, Server, ServerStarter
from tusd_py.core.links import LinkSigner
from tusd_py.pipeline.probes import EICAR

# --- thumbnails ---


@pytest.mark.parametrize("protocol", SENDERS)
def test_thumbnails_are_served_by_signed_link_only(start: ServerStarter, small: ClamAV, protocol: str) -> None:
    server = start("-clamd", small.unix, "-thumbnails", "128,32")
    sent = SENDERS[protocol](server, png(400, 100), "image/png")
    record = record_when_settled(server, sent.file_id)
    assert [(each["size"], each["width"], each["height"]) for each in record["thumbnails"]] == [
        ("32", 32, 8),
        ("128", 128, 32),
    ]
    minted = fields_of(server.request("GET", f"/api/files/{sent.file_id}/download"))
    assert set(minted["thumbnailUrls"]) == {"32", "128"}
    link = minted["thumbnailUrls"]["128"]
    answer = server.request("GET", link)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/webp")
    with Image.open(BytesIO(answer.body)) as image:
        assert (image.format, image.size) == ("WEBP", (128, 32))
    head = server.request("HEAD", link)
    assert (head.status, head.headers["content-length"]) == (200, str(len(answer.body)))
    path, _, query = link.partition("?")
    for refused in (path, link.replace("/128?", "/32?"), f"/files/{sent.file_id}?{query}", path + "?" + query[:-4]):
        assert server.request("GET", refused).status == 403, refused
    keys = (state_of(server) / "signing.keys").read_bytes().split()
    for size, status in (("64", 404), ("../128", 403), ("128.webp", 403)):
        subject = f"{sent.file_id}/thumbnail/{size}"
        query = LinkSigner(keys).query(subject, int(time.time()) + 60)
        assert server.request("GET", f"/files/{subject}?{query}").status == status, size


def test_what_is_no_image_has_no_thumbnails(start: ServerStarter, small: ClamAV) -> None:
    server = start("-clamd", small.unix, "-thumbnails", "32")
    sent = by_tus(server, TEXT)
    assert record_when_settled(server, sent.file_id)["thumbnails"] == []
    assert "thumbnailUrls" not in fields_of(server.request("GET", f"/api/files/{sent.file_id}/download"))


# --- removing ---


def left_of(server: Server, sent: Sent) -> list[str]:
    """Files that are named after an upload or its file, or hold its bytes."""
    names = [str(path.relative_to(server.upload_dir)) for path in server.upload_dir.rglob("*")]
    return sorted(name for name in names if sent.upload_id in name or sent.file_id in name)


@pytest.mark.parametrize("protocol", SENDERS)
@pytest.mark.parametrize("way", ["/files/", "/api/uploads/"])
def test_removing_an_upload_removes_everything_of_its_file(
    start: ServerStarter, small: ClamAV, protocol: str, way: str
) -> None:
    server = start("-clamd", small.unix, "-thumbnails", "32")
    good, bad = SENDERS[protocol](server, png(80, 40), "image/png"), SENDERS[protocol](server, EICAR)
    assert record_when_settled(server, good.file_id)["status"] == "ready"
    assert record_when_settled(server, bad.file_id)["status"] == "quarantined"
    link = signed_link(server, good.file_id)
    state = state_of(server).relative_to(server.upload_dir)
    assert {f"{state}/public/{good.file_id}", f"{state}/thumbnails/{good.file_id}/32.webp"} <= set(
        left_of(server, good)
    )
    assert f"{state}/quarantine/{bad.file_id}" in left_of(server, bad)
    for sent in (good, bad):
        assert server.request("DELETE", way + sent.upload_id, TUS).status == 204
        assert left_of(server, sent) == []
        assert server.request("GET", f"/api/files/{sent.file_id}").status == 404
        assert server.request("GET", f"/api/uploads/{sent.upload_id}/status").status == 404
        assert server.request("DELETE", way + sent.upload_id, TUS).status == 404
    assert server.request("GET", link).status == 404
