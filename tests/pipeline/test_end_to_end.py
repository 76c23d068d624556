"""What becomes of uploads on a server with a real scanner, as their clients see it, by both protocols."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chunked import fields_of, state_of
from tests.pipeline.clamav import MIB, ClamAV, encrypted_zip
from tests.pipeline.polling import assert_out_of_reach, polling
from tests.pipeline.sending import (
    LARGE_SIZE,
    SENDERS,
    SIGNATURE,
    TEXT,
    Sent,
    by_concatenation,
    by_tus,
    file_id_in_advance,
    in_chunks,
    record_when_settled,
    signed_link,
    status_of,
)
from tests.running import DEADLINE, TUS, Server, ServerStarter, eventually
from tusd_py.pipeline.probes import EICAR, Part, zipped


@pytest.fixture(scope="module")
def scanned(start_shared: ServerStarter, small: ClamAV, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that scans."""
    return start_shared("-clamd", small.unix, upload_dir=tmp_path_factory.mktemp("scanned"))


BAD = {
    "plain": (EICAR, "text/plain", SIGNATURE),
    "zip": (zipped(Part("a", EICAR)), "application/zip", SIGNATURE),
    "encrypted zip": (encrypted_zip("a", EICAR, b"secret"), "application/zip", "unscannable: encrypted (Zip)"),
    "beyond the limits": (
        TEXT * (9 * MIB // len(TEXT)) + EICAR,
        "text/plain",
        "unscannable: beyond a limit of the scanner (MaxFileSize)",
    ),
}


@pytest.mark.parametrize("protocol", SENDERS)
@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_clean_is_quarantined_and_nobody_gets_a_byte_at_any_moment(
    scanned: Server, protocol: str, kind: str
) -> None:
    content, claim, result = BAD[kind]
    with polling(scanned) as poller:
        sent = SENDERS[protocol](scanned, content, claim, poller.watch)
        record_when_settled(scanned, sent.file_id)
    assert poller.bytes_got == []
    assert (403, "ERR_FILE_QUARANTINED") in poller.seen
    assert_out_of_reach(scanned, sent, result)
    assert (state_of(scanned) / "quarantine" / sent.file_id).stat().st_size == len(content)


def test_what_becomes_a_virus_by_concatenation_is_quarantined_and_its_parts_cannot_be_had(scanned: Server) -> None:
    with polling(scanned) as poller:
        sent = by_concatenation(scanned, EICAR, poller.watch)
        record_when_settled(scanned, sent.file_id)
    assert poller.bytes_got == []
    assert {(403, "ERR_FILE_QUARANTINED"), (409, "ERR_FILE_NOT_READY")} <= set(poller.seen)
    assert_out_of_reach(scanned, sent, SIGNATURE)
    again = scanned.request("POST", headers=TUS | {"Upload-Concat": "final;" + " ".join(sent.parts)})
    second = again.headers["location"].rpartition("/")[2]
    assert_out_of_reach(scanned, Sent(second, file_id_in_advance(scanned, second), sent.parts), SIGNATURE)


def test_the_end_of_a_large_file_is_scanned(start: ServerStarter, large: ClamAV, tmp_path: Path) -> None:
    server = start("-clamd", large.unix)
    source = tmp_path / "source"
    with source.open("wb+") as file, polling(server) as poller:
        file.seek(LARGE_SIZE - len(EICAR))
        file.write(EICAR)
        sent = by_tus(server, file, "application/octet-stream", poller.watch)
        eventually(lambda: status_of(server, sent) != "processing", 60.0)
    assert poller.bytes_got == []
    assert_out_of_reach(server, sent, SIGNATURE)


def test_the_end_of_a_large_file_in_chunks_is_scanned(
    start: ServerStarter, large: ClamAV, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("takes long: --long")
    server = start("-clamd", large.unix)
    content = TEXT * (LARGE_SIZE // len(TEXT)) + EICAR
    with polling(server) as poller:
        sent = in_chunks(server, content, watch=poller.watch)
        eventually(lambda: status_of(server, sent) != "processing", 60.0)
    assert poller.bytes_got == []
    assert_out_of_reach(server, sent, SIGNATURE)


@pytest.mark.parametrize("protocol", SENDERS)
def test_a_clean_file_is_ready_and_its_link_works(scanned: Server, protocol: str) -> None:
    content = TEXT * 1000
    with polling(scanned) as poller:
        sent = SENDERS[protocol](scanned, content, "text/plain", poller.watch)
        record = record_when_settled(scanned, sent.file_id)
        eventually(lambda: {"public/", sent.path} <= set(poller.bytes_got))
    assert (record["status"], record["scanResult"]) == ("ready", "clean")
    assert status_of(scanned, sent) == "ready"
    link = fields_of(scanned.request("GET", f"/api/uploads/{sent.upload_id}/download"))["downloadUrl"]
    assert scanned.request("GET", link).body == content
    assert scanned.request("GET", sent.path).body == content
    assert scanned.request("GET", link, {"Range": "bytes=0-3"}).body == content[:4]


def test_what_cannot_be_scanned_may_pass_and_is_shown_as_such(start: ServerStarter, small: ClamAV) -> None:
    server = start("-clamd", small.unix, "-scan-unscannable", "pass")
    sent = by_tus(server, encrypted_zip("a", b"harmless", b"secret"), "application/zip")
    record = record_when_settled(server, sent.file_id)
    assert (record["status"], record["scanResult"]) == ("ready", "unscannable: encrypted (Zip)")
    assert server.request("GET", sent.path).status == 200


def test_infected_bytes_can_be_deleted(start: ServerStarter, small: ClamAV) -> None:
    server = start("-clamd", small.tcp, "-infected", "delete")
    sent = by_tus(server, EICAR)
    assert_out_of_reach(server, sent, SIGNATURE)
    assert EICAR not in server.files().values()


def test_a_file_from_before_the_scanner_is_scanned_before_it_is_served(start: ServerStarter, own: ClamAV) -> None:
    server = start()
    bad, good, unknown = in_chunks(server, EICAR), in_chunks(server, TEXT), server.create(len(EICAR))
    assert server.patch(unknown, 0, EICAR).status == 204
    for sent in (bad, good):
        assert record_when_settled(server, sent.file_id)["status"] == "ready"
        assert (state_of(server) / "public" / sent.file_id).exists()
    server.terminate()
    own.stop()
    server = start("-clamd", own.unix, upload_dir=server.upload_dir)
    for path in (bad.path, signed_link(server, good.file_id), "/files/" + unknown.rpartition("/")[2]):
        answer = server.request("GET", path)
        assert (answer.status, answer.code) == (409, "ERR_FILE_NOT_READY")
    eventually(lambda: not list((state_of(server) / "public").iterdir()))
    own.start()
    assert_out_of_reach(server, bad, SIGNATURE)
    assert record_when_settled(server, good.file_id)["scanResult"] == "clean"
    assert server.request("GET", good.path).body == TEXT
    eventually(lambda: server.request("GET", "/files/" + unknown.rpartition("/")[2]).status == 403)


def test_files_from_before_the_scanner_are_scanned_also_if_nobody_asks_for_them(
    start: ServerStarter, small: ClamAV
) -> None:
    server = start()
    files = [in_chunks(server, content) for content in (EICAR, TEXT, TEXT * 2)]
    for sent in files:
        assert record_when_settled(server, sent.file_id)["status"] == "ready"
    server.terminate()
    server = start("-clamd", small.unix, upload_dir=server.upload_dir)
    public = state_of(server) / "public"

    def results() -> list[object]:
        return [fields_of(server.request("GET", f"/api/files/{sent.file_id}"))["scanResult"] for sent in files]

    eventually(lambda: results() == [SIGNATURE, "clean", "clean"], 3 * DEADLINE)
    assert [(public / sent.file_id).exists() for sent in files] == [False, True, True]


def test_a_scanner_that_cannot_be_believed_prevents_the_start(start: ServerStarter, stock: ClamAV) -> None:
    server = start("-clamd", stock.unix, wait=False)
    assert server.process.wait(DEADLINE) == 1
    assert "AlertExceedsMax yes" in server.output()
    trusting = start("-clamd", stock.unix, "-scan-trust-limits")
    assert_out_of_reach(trusting, by_tus(trusting, EICAR), SIGNATURE)
