import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.calling import problem_of
from tusd_py.core import errors
from tusd_py.core.chunks import (
    DEFAULT_TYPES,
    Initiation,
    check_type,
    parse_chunk_number,
    parse_initiation,
    parse_sha256,
)
from tusd_py.core.errors import UploadError

CHECKSUM = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
UNIT = 64 * 1024
LARGEST = 2**63 - 1
GOOD = {"fileName": "world.txt", "fileSize": 11, "contentType": "text/plain", "checksum": CHECKSUM, "ownerId": "me"}

TEXTS = st.text(min_size=1)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
INITIATIONS = st.builds(
    Initiation,
    file_name=TEXTS,
    file_size=st.integers(0, LARGEST),
    content_type=TEXTS,
    checksum=DIGESTS,
    owner_id=TEXTS,
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(list(GOOD.values()))
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=3)
DOCUMENTS = st.dictionaries(st.sampled_from([*GOOD, "other"]), VALUES, max_size=2).map(lambda changes: GOOD | changes)
JSON = st.tuples(DOCUMENTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])).map(
    lambda pair: json.dumps(pair[0]).encode(pair[1])
)


def initiation_of(fields: object, *, allowed_types: tuple[str, ...] = (), max_size: int = 0) -> Initiation:
    return parse_initiation(json.dumps(fields).encode(), allowed_types=allowed_types, max_size=max_size)


# --- initiation ---


@given(st.binary() | JSON, st.sampled_from([(), DEFAULT_TYPES]), st.integers(0, 20))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_body_raises_anything_but_an_upload_error_and_what_passes_is_what_it_says(
    body: bytes, allowed_types: tuple[str, ...], max_size: int
) -> None:
    problem = None
    try:
        initiation = parse_initiation(body, allowed_types=allowed_types, max_size=max_size)
    except UploadError as error:
        problem = error.problem
    if problem is not None:
        assert problem.status in {400, 413, 415}
        return
    assert 0 <= initiation.file_size <= (max_size or LARGEST)
    assert parse_sha256(initiation.checksum, UploadError(errors.INVALID_FIELD)) == initiation.checksum
    assert not allowed_types or initiation.content_type.partition(";")[0].strip().lower() in allowed_types
    for text in (initiation.file_name, initiation.content_type, initiation.owner_id):
        assert text
        assert text.encode().decode() == text


@given(INITIATIONS)
def test_an_initiation_is_what_was_sent(initiation: Initiation) -> None:
    fields = {
        "fileName": initiation.file_name,
        "fileSize": initiation.file_size,
        "contentType": initiation.content_type,
        "checksum": initiation.checksum,
        "ownerId": initiation.owner_id,
        "somethingElse": [1],
    }
    assert initiation_of(fields) == initiation


def test_without_an_owner_a_file_is_anonymous() -> None:
    del (fields := dict(GOOD))["ownerId"]
    assert initiation_of(fields).owner_id == "anonymous"
    assert initiation_of(GOOD | {"ownerId": None}).owner_id == "anonymous"


def test_a_checksum_in_capital_letters_is_the_same_checksum() -> None:
    assert initiation_of(GOOD | {"checksum": CHECKSUM.upper()}).checksum == CHECKSUM


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/", "a\\b", "C:\\a", "a\0b", "\r\nX: y", "\x7f", "x" * 10_000, "имя", "😀", " ", "."],
    ids=lambda name: repr(name[:20]),
)
def test_a_name_is_data_and_never_a_path(name: str) -> None:
    assert initiation_of(GOOD | {"fileName": name}).file_name == name


def test_text_that_is_no_unicode_becomes_some_that_is() -> None:
    assert initiation_of(GOOD | {"fileName": "a\ud800b"}).file_name == "a?b"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}}",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"\xff\xfe",
        b"{'fileName': 1}",
        b"[" * 100_000,
        b'{"fileSize":' + b"1" * 5000 + b"}",
    ],
    ids=["empty", "cut", "more", "null", "list", "text", "number", "bytes", "quotes", "deep", "digits"],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    parse = lambda: parse_initiation(body, allowed_types=(), max_size=0)  # noqa: E731 -- for `problem_of`
    assert problem_of(parse) is errors.INVALID_JSON


@pytest.mark.parametrize("name", ["fileName", "fileSize", "contentType", "checksum"])
def test_a_field_that_is_missing_is_named(name: str) -> None:
    fields = {field: value for field, value in GOOD.items() if field != name}
    with pytest.raises(UploadError) as caught:
        initiation_of(fields)
    assert caught.value.problem is errors.INVALID_FIELD
    assert caught.value.evidence == {"field": name}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("fileSize", value) for value in (True, 1.5, 1.0, 1e3, "10", "", None, [1], {"a": 1}, -1, 2**63, 10**30)),
        *(("fileName", value) for value in (None, "", 1, True, ["a"], {"a": 1}, "x" * 70_000)),
        *(("contentType", value) for value in (None, "", 1, ["text/plain"], "x" * 70_000)),
        *(("checksum", value) for value in (None, "", 1, CHECKSUM[1:], CHECKSUM + "0", "g" * 64, CHECKSUM + "\n")),
        ("checksum", "٣" * 64),
        *(("ownerId", value) for value in ("", 1, False, ["a"], "x" * 70_000)),
    ],
    ids=lambda value: f"{value!r:.12}{repr(value)[-4:]}",
)
def test_a_field_of_the_wrong_type_or_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(UploadError) as caught:
        initiation_of(GOOD | {name: value})
    assert caught.value.problem is errors.INVALID_FIELD
    assert caught.value.evidence == {"field": name}


def test_a_file_may_be_empty_and_as_large_as_the_limit_and_no_larger() -> None:
    assert initiation_of(GOOD | {"fileSize": 0}, max_size=10).file_size == 0
    assert initiation_of(GOOD | {"fileSize": 10}, max_size=10).file_size == 10
    assert problem_of(lambda: initiation_of(GOOD | {"fileSize": 11}, max_size=10)) is errors.MAX_SIZE_EXCEEDED
    assert initiation_of(GOOD | {"fileSize": LARGEST}).file_size == LARGEST


@pytest.mark.parametrize("claim", ["image/png", "IMAGE/PNG", "image/png; q=1", " image/png ;a=b"])
def test_a_type_on_the_list_is_accepted_with_parameters_and_in_any_case(claim: str) -> None:
    check_type(claim, DEFAULT_TYPES)


@pytest.mark.parametrize("claim", ["text/html", "image/*", "image", "", "image/svg+xml", "image/png, text/html", "*/*"])
def test_a_type_that_is_not_on_the_list_is_refused(claim: str) -> None:
    assert problem_of(lambda: check_type(claim, DEFAULT_TYPES)) is errors.TYPE_NOT_ALLOWED
    check_type(claim, ())


# --- chunk numbers ---


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("10", 10), ("1234567890", 1234567890)])
def test_a_chunk_number_is_written_in_ascii_digits(text: str, number: int) -> None:
    assert parse_chunk_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e0", "1.0", "٣", "00", "01", "0x1", " 1", "1 ", "1\n", "1_0", str(10**18), "²", "a"]
)
def test_what_else_could_be_read_as_a_number_is_none(text: str) -> None:
    assert problem_of(lambda: parse_chunk_number(text)) is errors.INVALID_CHUNK_NUMBER


@given(st.text() | st.text("0123456789eE+-._ ٣"))
def test_no_text_makes_a_chunk_number_raise_anything_but_an_upload_error(text: str) -> None:
    try:
        number = parse_chunk_number(text)
    except UploadError:
        return
    assert str(number) == text
