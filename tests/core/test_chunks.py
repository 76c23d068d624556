import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tusd_py.core import errors
from tusd_py.core.chunks import (
    DEFAULT_TYPES,
    ChunksMissing,
    Initiation,
    Session,
    check_chunk,
    check_type,
    decode_session,
    encode_session,
    parse_chunk_number,
    parse_initiation,
    parse_sha256,
)
from tusd_py.core.errors import Problem, UploadError

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
SESSIONS = st.builds(
    Session,
    id=TEXTS,
    file_id=TEXTS,
    announced=INITIATIONS,
    chunk_size=st.integers(1, 2**40).map(lambda count: count * UNIT),
    created_at=st.floats(0, 2**40),
    failure=st.none() | TEXTS,
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(list(GOOD.values()))
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=3)
DOCUMENTS = st.dictionaries(st.sampled_from([*GOOD, "other"]), VALUES, max_size=2).map(lambda changes: GOOD | changes)
JSON = st.tuples(DOCUMENTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])).map(
    lambda pair: json.dumps(pair[0]).encode(pair[1])
)


def initiation_of(fields: object, *, allowed_types: tuple[str, ...] = (), max_size: int = 0) -> Initiation:
    return parse_initiation(json.dumps(fields).encode(), allowed_types=allowed_types, max_size=max_size)


def problem_of(action: Callable[[], object]) -> Problem:
    with pytest.raises(UploadError) as caught:
        action()
    return caught.value.problem


def session_of(size: int, chunk_size: int = UNIT) -> Session:
    return Session("abc", "f", Initiation("name", size, "text/plain", CHECKSUM), chunk_size, 0.0)


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


# --- arithmetic ---


@given(st.integers(0, 40 * UNIT), st.integers(1, 8).map(lambda count: count * UNIT))
def test_chunks_cover_the_file_exactly_once(size: int, chunk_size: int) -> None:
    session = session_of(size, chunk_size)
    end = 0
    for number in range(session.chunk_count):
        assert session.offset_of(number) == end
        assert 0 < session.length_of(number) <= chunk_size
        assert session.length_of(number) == chunk_size or number == session.chunk_count - 1
        end += session.length_of(number)
    assert end == size


@given(st.integers(1, LARGEST), st.integers(1, 2**20).map(lambda count: count * UNIT))
def test_the_last_chunk_ends_with_the_file_however_large_that_is(size: int, chunk_size: int) -> None:
    session = session_of(size, chunk_size)
    last = session.chunk_count - 1
    assert session.offset_of(last) + session.length_of(last) == size
    assert session.offset_of(last) < size <= session.offset_of(last + 1)


@given(st.integers(0, 60), st.sets(st.integers(0, 80)))
def test_a_chunk_is_marked_or_missing(count: int, marked: set[int]) -> None:
    missing = session_of(count * UNIT).missing(marked)
    assert list(missing) == sorted(set(range(count)) - marked)


def test_an_empty_file_has_no_chunks() -> None:
    session = session_of(0)
    assert (session.chunk_count, session.missing(())) == (0, ())
    assert problem_of(lambda: check_chunk(session, 0, 0)) is errors.INVALID_CHUNK_NUMBER


@pytest.mark.parametrize(
    ("number", "length", "problem"),
    [
        (3, UNIT, errors.INVALID_CHUNK_NUMBER),
        (10**9, 5, errors.INVALID_CHUNK_NUMBER),
        (0, None, errors.LENGTH_REQUIRED),
        (0, UNIT + 1, errors.CHUNK_TOO_LARGE),
        (2, 6, errors.CHUNK_TOO_LARGE),
        (2, UNIT, errors.CHUNK_TOO_LARGE),
        (0, UNIT - 1, errors.INVALID_CHUNK_LENGTH),
        (0, 0, errors.INVALID_CHUNK_LENGTH),
        (2, 4, errors.INVALID_CHUNK_LENGTH),
    ],
)
def test_a_chunk_of_another_number_or_length_is_refused(number: int, length: int | None, problem: Problem) -> None:
    assert problem_of(lambda: check_chunk(session_of(2 * UNIT + 5), number, length)) is problem


def test_a_chunk_of_its_length_passes() -> None:
    session = session_of(2 * UNIT + 5)
    for number, length in ((0, UNIT), (1, UNIT), (2, 5)):
        check_chunk(session, number, length)


def test_missing_chunks_are_counted_in_the_log_and_kept_for_the_answer() -> None:
    error = ChunksMissing(range(3, 6))
    assert error.missing == (3, 4, 5)
    assert str(error) == "ERR_CHUNKS_MISSING: not all chunks are here (missing_count=3)"


# --- on disk ---


@given(SESSIONS)
def test_a_session_that_is_written_is_read_back(session: Session) -> None:
    assert decode_session(encode_session(session)) == session


def test_the_time_of_the_last_change_is_not_written_down() -> None:
    session = session_of(5)
    assert encode_session(replace(session, changed_at=5.0)) == encode_session(session)


@given(st.binary() | VALUES.map(json.dumps).map(str.encode) | SESSIONS.map(encode_session).map(lambda text: text[:-1]))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_makes_a_session_raise_anything_but_a_value_error(text: bytes) -> None:
    try:
        session = decode_session(text)
    except ValueError:
        return
    pytest.fail(f"{session} was no session")


@pytest.mark.parametrize(
    "text",
    [b"", bytes(64), b"[" * 100_000, b"{}", b"[]", b"null", b"\xff"],
    ids=["empty", "zeros", "deep", "object", "list", "null", "bytes"],
)
def test_what_is_no_session_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_session(text)
