import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tusd_py.core.hook_events import HttpRequest
from tusd_py.core.ids import is_file_id, is_upload_id
from tusd_py.core.records import (
    SETTLED,
    CorruptRecord,
    FileRecord,
    Status,
    Thumbnail,
    claimed_type,
    decode_record,
    encode_record,
    new_file_id,
    public_fields,
    record_of,
    settled,
    timestamp,
)
from tusd_py.core.uploads import Upload

UPLOAD_ID = "da9eb27a48fc7c3bd33a3f2652d82848"
FILE_ID = "f_0123456789abcdef0123456789abcdef"
TEXTS = st.text()
TIMES = st.floats(0, 4e9)
RECORDS = st.builds(
    FileRecord,
    id=st.just(FILE_ID),
    upload_id=TEXTS,
    path=TEXTS,
    file_name=TEXTS,
    size=st.integers(0, 2**63 - 1),
    content_type=TEXTS,
    owner_id=TEXTS,
    created_at=TIMES,
    completed_at=TIMES,
    status=st.sampled_from(Status),
    checksum=st.none() | TEXTS,
    detected_type=st.none() | TEXTS,
    scan_result=st.none() | TEXTS,
    thumbnails=st.lists(
        st.builds(Thumbnail, size=TEXTS, width=st.integers(1, 9), height=st.integers(1, 9), type=TEXTS)
    ).map(tuple),
    chunk_count=st.none() | st.integers(0, 2**40),
    released_at=st.none() | TIMES,
    reopened_at=st.none() | TIMES,
    request=st.none()
    | st.builds(
        HttpRequest,
        method=TEXTS,
        uri=TEXTS,
        remote_addr=TEXTS,
        header=st.dictionaries(TEXTS, st.lists(TEXTS), max_size=3),
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(TEXTS, values),
    max_leaves=6,
)
RECORD = FileRecord(
    id=FILE_ID,
    upload_id=UPLOAD_ID,
    path=f"/srv/data/{UPLOAD_ID}",
    file_name="world.txt",
    size=11,
    content_type="text/plain",
    owner_id="me",
    created_at=1_700_000_000.0,
    completed_at=1_700_000_001.5,
)


# --- on disk and in the API ---


@given(RECORDS)
@settings(deadline=None)
def test_a_record_that_is_written_is_read_back(record: FileRecord) -> None:
    assert decode_record(encode_record(record)) == record


def test_a_record_without_what_was_added_later_is_read() -> None:
    document = json.loads(encode_record(RECORD))
    del document["released"], document["request"]
    assert decode_record(json.dumps(document).encode()) == RECORD


def test_text_that_is_no_unicode_is_written_all_the_same() -> None:
    assert decode_record(encode_record(replace(RECORD, file_name="a\ud800b"))).file_name == "a?b"


@given(
    st.binary()
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.sampled_from(list(json.loads(encode_record(RECORD)))), VALUES).map(
        lambda change: json.dumps(json.loads(encode_record(RECORD)) | {change[0]: change[1]}).encode()
    )
)
@settings(deadline=None)
def test_no_text_makes_a_record_raise_anything_but_corrupt_record(text: bytes) -> None:
    try:
        record = decode_record(text)
    except CorruptRecord:
        return
    assert record.status in Status


@pytest.mark.parametrize(
    "text",
    [
        b"",
        bytes(64),
        b"[" * 100_000,
        b"{}",
        b"[]",
        b"null",
        encode_record(RECORD)[:-1],
        encode_record(RECORD).replace(b"processing", b"unheard"),
        encode_record(RECORD).replace(b'"thumbnails":[]', b'"thumbnails":[{"size":"a"}]'),
    ],
    ids=["empty", "zeros", "deep", "object", "list", "null", "cut", "status", "thumbnail"],
)
def test_what_is_no_record_is_corrupt(text: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode_record(text)


def test_the_api_shows_a_record_with_these_fields() -> None:
    record = replace(
        RECORD,
        status=Status.READY,
        checksum="ab" * 32,
        detected_type="image/png",
        scan_result="clean",
        thumbnails=(Thumbnail("small", 30, 20, "image/webp"),),
        chunk_count=3,
    )
    assert public_fields(record) == {
        "id": FILE_ID,
        "fileName": "world.txt",
        "fileSize": 11,
        "contentType": "text/plain",
        "detectedType": "image/png",
        "checksum": "ab" * 32,
        "ownerId": "me",
        "status": "ready",
        "scanResult": "clean",
        "thumbnails": [{"size": "small", "width": 30, "height": 20, "type": "image/webp"}],
        "createdAt": "2023-11-14T22:13:20.000Z",
        "completedAt": "2023-11-14T22:13:21.500Z",
    }


@given(RECORDS)
@settings(deadline=None)
def test_what_the_api_shows_names_neither_the_upload_nor_its_place(record: FileRecord) -> None:
    secret = replace(record, upload_id=UPLOAD_ID, path=f"/srv/data/{UPLOAD_ID}")
    text = json.dumps(public_fields(secret))
    assert UPLOAD_ID not in text
    assert "/srv/data" not in text


# --- times ---


@given(st.floats(0, 253_402_300_000))
def test_a_time_can_be_read_back_to_the_millisecond(seconds: float) -> None:
    text = timestamp(seconds)
    assert text.endswith("Z")
    difference = datetime.fromisoformat(text) - (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
    assert abs(difference) <= timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.123, "2023-11-14T22:13:20.123Z"),
        (-5.0, "1970-01-01T00:00:00.000Z"),
        (-math.inf, "1970-01-01T00:00:00.000Z"),
        (math.nan, "1970-01-01T00:00:00.000Z"),
        (1e300, "9999-12-31T23:59:59.000Z"),
        (math.inf, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_a_time_that_no_calendar_has_becomes_the_nearest(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


# --- what a record is made of ---


def test_a_file_id_is_no_upload_id_and_never_the_same() -> None:
    ids = {new_file_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(is_file_id(file_id) and not is_upload_id(file_id) for file_id in ids)


def test_the_record_of_a_tus_upload_is_made_of_its_metadata() -> None:
    metadata = {"filename": "world.txt", "filetype": "text/plain", "ownerId": "me", "name": "x", "type": "y"}
    upload = Upload(UPLOAD_ID, 11, metadata, offset=11, path="/srv/data/abc", changed_at=7.0, created_at=5.0)
    assert record_of(upload, FILE_ID, 9.0) == FileRecord(
        id=FILE_ID,
        upload_id=UPLOAD_ID,
        path="/srv/data/abc",
        file_name="world.txt",
        size=11,
        content_type="text/plain",
        owner_id="me",
        created_at=5.0,
        completed_at=9.0,
        status=Status.PROCESSING,
    )


def test_uppys_names_for_the_metadata_count_too() -> None:
    record = record_of(Upload(UPLOAD_ID, 1, {"name": "a.png", "type": "image/png"}, offset=1), FILE_ID, 9.0)
    assert (record.file_name, record.content_type) == ("a.png", "image/png")


def test_an_upload_that_says_nothing_becomes_a_file_of_nobody() -> None:
    record = record_of(Upload(UPLOAD_ID, 1, {"filename": "", "ownerId": ""}, offset=1, changed_at=7.0), FILE_ID, 9.0)
    assert (record.file_name, record.content_type) == ("", "application/octet-stream")
    assert (record.owner_id, record.created_at) == ("anonymous", 7.0)


@pytest.mark.parametrize(
    ("metadata", "claim"),
    [({}, ""), ({"filetype": "a/b"}, "a/b"), ({"type": "c/d"}, "c/d"), ({"filetype": "", "type": "c/d"}, "c/d")],
)
def test_a_claim_is_the_filetype_or_else_the_type(metadata: dict[str, str], claim: str) -> None:
    assert claimed_type(metadata) == claim


def test_what_the_bytes_are_known_to_be_goes_before_the_claim() -> None:
    assert RECORD.type == "text/plain"
    assert replace(RECORD, detected_type="image/png").type == "image/png"


# --- settling ---


def test_four_statuses_are_settled() -> None:
    assert {"ready", "quarantined", "failed", "gone"} == SETTLED
    for status in Status:
        assert replace(RECORD, status=status).is_settled == (status in SETTLED)


def test_a_record_is_settled_with_a_reason_or_keeps_what_the_scan_said() -> None:
    scanned = replace(RECORD, scan_result="clean")
    assert settled(scanned, Status.READY) == replace(scanned, status=Status.READY)
    assert settled(scanned, Status.FAILED, "unreadable") == replace(
        RECORD, status=Status.FAILED, scan_result="unreadable"
    )
