import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.core.ranges import (
    ByteRange,
    Conditions,
    RangeError,
    failed_condition,
    http_date,
    parse_range,
    range_applies,
)

CHANGED_AT = 784111777.25
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-9", ByteRange(0, 10)),
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=3-5", ByteRange(3, 3)),
        ("bytes=3-", ByteRange(3, 7)),
        ("bytes=3-99", ByteRange(3, 7)),
        ("bytes=9-9", ByteRange(9, 1)),
        ("bytes=-3", ByteRange(7, 3)),
        ("bytes=-99", ByteRange(0, 10)),
        ("bytes= 3 - 5 ", ByteRange(3, 3)),
        ("bytes=0-1,3-4", None),
        ("bytes=10-", RangeError.UNSATISFIABLE),
        ("bytes=99-100", RangeError.UNSATISFIABLE),
        ("bytes=-0", RangeError.UNSATISFIABLE),
        ("foo=5", RangeError.MALFORMED),
        ("bytes", RangeError.MALFORMED),
        ("bytes=-", RangeError.MALFORMED),
        ("bytes=5", RangeError.MALFORMED),
        ("bytes=5-3", RangeError.MALFORMED),
        ("bytes=a-b", RangeError.MALFORMED),
        ("bytes=--5", RangeError.MALFORMED),
        ("bytes=+1-5", RangeError.MALFORMED),
        ("bytes=1_0-", RangeError.MALFORMED),
        ("bytes=٣-", RangeError.MALFORMED),
        ("bytes=0-" + "9" * 5000, RangeError.MALFORMED),
    ],
)
def test_the_range_of_a_file_of_ten_bytes(header: str | None, expected: ByteRange | RangeError | None) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-9", "bytes=-5", "bytes=5-"])
def test_a_range_of_an_empty_file_is_ignored(header: str) -> None:
    assert parse_range(header, 0) is None


def test_the_two_kinds_of_bad_range_have_gos_words() -> None:
    assert RangeError.MALFORMED.value == "invalid range"
    assert RangeError.UNSATISFIABLE.value == "invalid range: failed to overlap"


@given(header=st.text() | st.text("0123456789-, =").map("bytes={}".format), size=st.integers(0, 50))
def test_a_range_that_is_served_lies_in_the_file_and_is_not_empty(header: str, size: int) -> None:
    wanted = parse_range(header, size)
    if isinstance(wanted, ByteRange):
        assert wanted.start >= 0
        assert wanted.length > 0
        assert wanted.start + wanted.length <= size


@given(content=st.binary(min_size=1), data=st.data())
def test_first_and_last_position_are_inclusive(content: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(content) - 1))
    last = data.draw(st.integers(first, len(content) + 10))
    wanted = parse_range(f"bytes={first}-{last}", len(content))
    assert isinstance(wanted, ByteRange)
    assert content[wanted.start : wanted.start + wanted.length] == content[first : last + 1]


@given(content=st.binary(min_size=1), length=st.integers(1, 200))
def test_a_suffix_is_the_end_of_the_file(content: bytes, length: int) -> None:
    wanted = parse_range(f"bytes=-{length}", len(content))
    assert isinstance(wanted, ByteRange)
    assert content[wanted.start : wanted.start + wanted.length] == content[-length:]


# --- conditions ---


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        (Conditions(), None),
        (Conditions(if_modified_since=DATE), 304),
        (Conditions(if_modified_since=LATER), 304),
        (Conditions(if_modified_since=EARLIER), None),
        (Conditions(if_modified_since="yesterday"), None),
        (Conditions(if_unmodified_since=DATE), None),
        (Conditions(if_unmodified_since=LATER), None),
        (Conditions(if_unmodified_since=EARLIER), 412),
        (Conditions(if_unmodified_since="yesterday"), None),
        (Conditions(if_none_match="*"), 304),
        (Conditions(if_none_match='"x"'), None),
        (Conditions(if_none_match='"x"', if_modified_since=DATE), None),
        (Conditions(if_match="*"), None),
        (Conditions(if_match='"x"'), 412),
        (Conditions(if_match="*", if_unmodified_since=EARLIER), None),
        (Conditions(if_match="*", if_none_match="*"), 304),
        (Conditions(if_unmodified_since=EARLIER, if_none_match="*"), 412),
    ],
)
def test_conditions_are_decided_in_the_order_of_the_specification(conditions: Conditions, status: int | None) -> None:
    assert failed_condition(conditions, CHANGED_AT) == status


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [(None, True), (DATE, True), (EARLIER, False), (LATER, False), ('"x"', False), ("", False)],
)
def test_a_range_counts_only_for_the_file_that_the_client_knows(if_range: str | None, applies: bool) -> None:
    assert range_applies(Conditions(if_range=if_range), CHANGED_AT) is applies


@given(st.text() | st.text("0123456789 :,+-.SunNovJaGMT"))
def test_no_text_in_a_condition_raises(text: str) -> None:
    conditions = Conditions(text, text, text, text, text)
    failed_condition(conditions, CHANGED_AT)
    failed_condition(Conditions(if_modified_since=text), CHANGED_AT)
    failed_condition(Conditions(if_unmodified_since=text), CHANGED_AT)
    range_applies(conditions, CHANGED_AT)


# --- dates ---


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XXX5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_date_is_written_in_greenwich_time_whatever_the_zone(far_from_greenwich: None) -> None:
    assert http_date(CHANGED_AT) == DATE


@pytest.mark.parametrize("date", [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_all_three_forms_of_a_date_mean_greenwich_time_whatever_the_zone(far_from_greenwich: None, date: str) -> None:
    assert range_applies(Conditions(if_range=date), CHANGED_AT)
