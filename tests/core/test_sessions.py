import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.calling import problem_of
from tests.core.test_chunks import CHECKSUM, INITIATIONS, LARGEST, TEXTS, UNIT, VALUES
from tusd_py.core import errors
from tusd_py.core.chunks import Initiation
from tusd_py.core.errors import Problem
from tusd_py.core.sessions import ChunksMissing, Session, check_chunk, decode_session, encode_session

SESSIONS = st.builds(
    Session,
    id=TEXTS,
    file_id=TEXTS,
    announced=INITIATIONS,
    chunk_size=st.integers(1, 2**40).map(lambda count: count * UNIT),
    created_at=st.floats(0, 2**40),
    failure=st.none() | TEXTS,
    path=st.text(),
)


def session_of(size: int, chunk_size: int = UNIT) -> Session:
    return Session("abc", "f", Initiation("name", size, "text/plain", CHECKSUM), chunk_size, 0.0)


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
