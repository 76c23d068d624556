from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tusd_py.core.go_values import format_duration, parse_duration, parse_integer, parse_mode, parse_truth

ANYTHING = st.text() | st.text("0123456789abcdefx_+-.nuµsmhoTF")


@pytest.mark.parametrize("parse", [parse_duration, parse_integer, parse_truth, parse_mode])
@given(text=ANYTHING)
@settings(deadline=None)
def test_no_text_makes_a_parser_raise_anything_but_a_value_error(parse: Callable[[str], object], text: str) -> None:
    with suppress(ValueError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("+0", 0.0),
        ("-0", 0.0),
        ("0s", 0.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("20s", 20.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("+5s", 5.0),
        ("-1m", -60.0),
        ("1m1m", 120.0),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("3μs", 3e-6),
        ("7ns", 7e-9),
        ("2562047h47m16.854775807s", 9223372036.854775807),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "s", ".", ".s", "1", "1 s", "1s ", " 1s", "1d", "1S", "--1s", "++1s", "+-1s", "-+1s", "1s-1s"),
        *("1e3s", "٣s", "1_0s", "2562047h47m16.854775808s", "9" * 5000 + "s"),
    ],
)
def test_a_duration_without_a_unit_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (0.123456789, "123.456789ms"),
        (0.000001, "1µs"),
        (0.0000001, "100ns"),
        (1.5, "1.5s"),
        (59.0, "59s"),
        (60.0, "1m0s"),
        (90.0, "1m30s"),
        (3600.0, "1h0m0s"),
        (5400.5, "1h30m0.5s"),
        (-90.0, "-1m30s"),
        (-0.25, "-250ms"),
        (86400.0, "24h0m0s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(-(10**15), 10**15))
def test_every_number_of_microseconds_is_read_back(microseconds: int) -> None:
    seconds = microseconds / 10**6
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("10", 10),
        ("+10", 10),
        ("-10", -10),
        ("010", 8),
        ("0o17", 15),
        ("0O17", 15),
        ("0x10", 16),
        ("0X_Ff", 255),
        ("-0x10", -16),
        ("0b101", 5),
        ("1_000", 1000),
        ("0_7", 7),
        ("00", 0),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
    ],
)
def test_an_integer_has_gos_bases(text: str, value: int) -> None:
    assert parse_integer(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "+", "1e9", "08", "0x", "0b2", "0o8", "1__0", "1_", "_1", "0x_", "1.0", " 1", "1 ", "٣", "--1"),
        *(str(2**63), str(-(2**63) - 1), "1" * 5000),
    ],
)
def test_an_integer_that_go_does_not_know_or_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_integer(text)


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["{}", "{:#x}", "{:#o}", "{:#b}", "{:_}"]))
def test_every_64_bit_integer_is_read_in_each_base(value: int, form: str) -> None:
    assert parse_integer(form.format(value)) == value


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True"])
def test_go_has_six_words_for_true(text: str) -> None:
    assert parse_truth(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False"])
def test_go_has_six_words_for_false(text: str) -> None:
    assert parse_truth(text) is False


@pytest.mark.parametrize("text", ["", "yes", "no", "on", "tRUE", "2", " true"])
def test_any_other_word_is_neither_true_nor_false(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        parse_truth(text)


@pytest.mark.parametrize(("text", "mode"), [("775", 0o775), ("0775", 0o775), ("0", 0), ("37777777777", 2**32 - 1)])
def test_permissions_are_octal_digits(text: str, mode: int) -> None:
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", ["", "0o775", "778", "-1", "+7", "7_7", " 7", "40000000000"])
def test_permissions_are_nothing_else_and_of_32_bits(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        parse_mode(text)
