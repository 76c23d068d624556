"""Files of many kinds at once, and what it costs when nothing is to be done with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.chunked import fields_of, state_of
from tests.pipeline.clamav import ClamAV
from tests.pipeline.corpus import Sample, corpus
from tests.pipeline.sending import TEXT, Sent, by_tus, in_chunks, metadata, record_when_settled, signed_link
from tests.running import Server, ServerStarter, eventually

# --- many files ---


def expected(sample: Sample) -> tuple[str, bool]:
    return ("ready" if sample.honest else "quarantined"), sample.picture is not None


def sent_by_turns(server: Server, samples: Sequence[Sample], allowed: frozenset[str]) -> Iterator[tuple[Sample, Sent]]:
    """Every other file in chunks, where its claim allows that."""
    for number, sample in enumerate(samples):
        in_turn = number % 2 and sample.claim in allowed
        yield sample, (in_chunks if in_turn else by_tus)(server, sample.content, sample.claim)


def test_every_file_of_a_mixed_corpus_becomes_what_it_has_to(
    start: ServerStarter, large: ClamAV, request: pytest.FixtureRequest
) -> None:
    samples = corpus(500) if request.config.getoption("--long") else corpus()
    server = start("-clamd", large.unix, "-detect", "-thumbnails", "64,16", "-pipeline-concurrency", "4")
    claims = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "text/plain"})
    sent = list(sent_by_turns(server, samples, claims))
    assert len(sent) >= 60
    outcomes, wanted = {}, {}
    for sample, upload in sent:
        record = record_when_settled(server, upload.file_id)
        outcomes[sample.kind] = (record["status"], bool(record["thumbnails"]), record["detectedType"])
        wanted[sample.kind] = (*expected(sample), sample.detected)
        if sample.honest and sample.content:
            assert server.request("GET", signed_link(server, upload.file_id)).body == sample.content, sample.kind
    assert outcomes == wanted


# --- what it costs when it is off ---


def test_without_a_flag_of_the_pipeline_a_tus_upload_makes_no_record(start: ServerStarter) -> None:
    server = start()
    url = server.create(len(TEXT), Upload_Metadata=metadata(filetype="text/plain"))
    answer = server.patch(url, 0, TEXT)
    assert "link" not in answer.headers
    upload_id = url.rpartition("/")[2]
    state = state_of(server)
    assert [path for folder in ("pending", "files", "public") for path in (state / folder).rglob("*.json")] == []
    assert "FileId" not in (server.upload_dir / f"{upload_id}.info").read_text()
    assert server.request("GET", url).body == TEXT
    assert fields_of(server.request("GET", f"/api/uploads/{upload_id}/status"))["totalChunks"] == 0
    eventually(lambda: list((state / "files").rglob("*.json")))
