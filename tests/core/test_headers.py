import base64
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tusd_py.core import errors
from tusd_py.core.digests import ALGORITHMS
from tusd_py.core.errors import Problem, UploadError
from tusd_py.core.headers import (
    Checksum,
    decode_value,
    format_concat,
    format_metadata,
    media_type,
    parse_checksum,
    parse_concat,
    parse_integer,
    parse_metadata,
    parse_metadata_as_tusd,
)

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1)
METADATA = st.dictionaries(KEYS, st.text())
ANYTHING = st.text() | st.text("0123456789abcXYZ+/=-_ ,;\t%\x00é")


def problem_of(parse: Callable[[str], object], text: str) -> Problem:
    with pytest.raises(UploadError) as caught:
        parse(text)
    return caught.value.problem


def as_length(text: str) -> int:
    return parse_integer(text, errors.INVALID_UPLOAD_LENGTH)


@pytest.mark.parametrize("parse", [as_length, parse_metadata, parse_metadata_as_tusd, parse_checksum, parse_concat])
@given(text=ANYTHING)
@settings(deadline=None)
def test_no_text_makes_a_parser_raise_anything_but_an_upload_error(parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except UploadError as error:
        status = error.problem.status
    else:
        return
    assert status == 400


# --- integers ---


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("5", 5), ("007", 7), ("9007199254740993", 2**53 + 1), (str(2**63 - 1), 2**63 - 1)]
)
def test_an_integer_is_up_to_nineteen_ascii_digits_of_63_bits(text: str, value: int) -> None:
    assert as_length(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.0", "abc", "1_0", "٣", "1" * 30, str(2**63), " 5", "5 ", "5\n", "0x5", "1e3", "0" * 20, "5,5"],
)
def test_what_python_or_a_lenient_reader_would_take_as_an_integer_is_refused(text: str) -> None:
    assert problem_of(as_length, text) is errors.INVALID_UPLOAD_LENGTH


@given(st.integers(0, 2**63 - 1))
def test_every_63_bit_number_is_read_back(value: int) -> None:
    assert as_length(str(value)) == value


# --- media types ---


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ""),
        ("", ""),
        ("application/offset+octet-stream", "application/offset+octet-stream"),
        ("Application/Offset+Octet-Stream", "application/offset+octet-stream"),
        ("application/offset+octet-stream; charset=utf-8", "application/offset+octet-stream"),
        ("  text/plain ;q=1", "text/plain"),
    ],
)
def test_a_media_type_is_compared_without_case_and_parameters(header: str | None, expected: str) -> None:
    assert media_type(header) == expected


# --- metadata ---


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("", {}),
        (" \t", {}),
        ("filename d29ybGQudHh0", {"filename": "world.txt"}),
        (
            "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential",
            {"filename": "world_domination_plan.pdf", "is_confidential": ""},
        ),
        ("is_confidential ,filename d29ybGQudHh0", {"is_confidential": "", "filename": "world.txt"}),
        ("a YQ==, b Yg==", {"a": "a", "b": "b"}),
        ("naïve YQ==".replace("ï", "i"), {"naive": "a"}),
        ("value 4oI=", {"value": "\ufffd\ufffd"}),
        ("name w7w=", {"name": "ü"}),
    ],
)
def test_metadata_as_clients_send_it_is_read(text: str, metadata: dict[str, str]) -> None:
    assert parse_metadata(text) == metadata


@pytest.mark.parametrize(
    "text",
    [
        "a YQ",
        "a YQ===",
        "a Y Q==",
        "a  YQ==",
        "a\tYQ==",
        "a !!!!",
        "a _-8=",
        "a YQ==,a Yg==",
        "a,a",
        "a YQ==,",
        ",a YQ==",
        "a YQ==,,b Yg==",
        "ü YQ==",
        "a é",
        "a YQ==\n",
        "a YQ==YQ==",
    ],
)
def test_metadata_that_the_protocol_does_not_allow_is_refused(text: str) -> None:
    assert problem_of(parse_metadata, text) is errors.INVALID_METADATA


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("", {}),
        ("a YQ==,,b Yg==", {"a": "a", "b": "b"}),
        (" a YQ== , b Yg== ", {"a": "a", "b": "b"}),
        ("a", {"a": ""}),
        ("a ,b", {"a": "", "b": ""}),
        ("a YR==", {"a": "a"}),
        ("a YQ,b Yg==", {"b": "b"}),
        ("a _-8=,b Yg==", {"b": "b"}),
        ("a  YQ==", {}),
        ("a YQ== Yg==", {}),
        ("a\tYQ==", {"a\tYQ==": ""}),
        ("a YQ==,a Yg==", {"a": "b"}),
        ("a YQ==,a !", {"a": "a"}),
        ("ü YQ==", {"ü": "a"}),
        ("value 4oI=", {"value": "\ufffd\ufffd"}),
    ],
)
def test_in_compatible_mode_metadata_is_read_with_tusds_leniency(text: str, metadata: dict[str, str]) -> None:
    assert parse_metadata_as_tusd(text) == metadata


@given(METADATA)
def test_written_metadata_is_read_back_by_both_readers(metadata: dict[str, str]) -> None:
    text = format_metadata(metadata)
    assert parse_metadata(text) == metadata
    assert parse_metadata_as_tusd(text) == metadata


def test_metadata_is_written_with_commas_alone_and_bare_keys_for_empty_values() -> None:
    assert format_metadata({"filename": "world.txt", "secret": ""}) == "filename d29ybGQudHh0,secret"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        ("grün €".encode(), "grün €"),
        (b"\xe2\x82", "\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xf0\x9f\x98", "\ufffd\ufffd\ufffd"),
        (b"\xc0\xaf", "\ufffd\ufffd"),
        (b"a\xffb", "a\ufffdb"),
    ],
)
def test_each_byte_that_is_not_utf8_becomes_one_replacement_character(value: bytes, text: str) -> None:
    assert decode_value(value) == text


@given(st.binary())
def test_a_metadata_value_is_always_text_that_can_be_written_again(value: bytes) -> None:
    text = decode_value(value)
    assert decode_value(text.encode()) == text


# --- checksums ---


def test_the_checksum_of_the_specification_is_read() -> None:
    checksum = parse_checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
    assert checksum == Checksum("sha1", bytes.fromhex("2aae6c35c94fcfb415dbe95f408b9ce91ee846ed"))


@given(st.data())
def test_every_checksum_is_read_back(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ALGORITHMS)))
    size = ALGORITHMS[name].size
    digest = data.draw(st.binary(min_size=size, max_size=size))
    assert parse_checksum(f"{name} {base64.b64encode(digest).decode()}") == Checksum(name, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha1",
        "sha1 ",
        "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 !!!",
        "sha1 YQ==",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0",
        "sha1 Kq5sNclPz7QV2-lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0= ",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=\n",
        "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    ],
)
def test_a_checksum_that_is_malformed_or_of_the_wrong_length_is_refused(text: str) -> None:
    assert problem_of(parse_checksum, text) is errors.INVALID_CHECKSUM


@pytest.mark.parametrize("name", ["whirlpool", "sha3", "crc32c"])
def test_an_algorithm_that_is_not_announced_has_an_error_of_its_own(name: str) -> None:
    assert problem_of(parse_checksum, f"{name} Kq5sNclPz7QV2+lfQIuc6R7oRu0=") is errors.UNSUPPORTED_CHECKSUM


# --- concatenation ---


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("partial", None),
        ("final;/files/a /files/b", ("/files/a", "/files/b")),
        ("final; /files/a  b ", ("/files/a", "b")),
        ("final;https://example.org/files/a", ("https://example.org/files/a",)),
        ("final;a a", ("a", "a")),
    ],
)
def test_the_two_kinds_of_concatenation_are_told_apart(text: str, references: tuple[str, ...] | None) -> None:
    assert parse_concat(text) == references


@pytest.mark.parametrize(
    "text", ["", "final", "final;", "final;  ", "foo", "partial;x", "partial ", "Partial", "FINAL;a", " final;a"]
)
def test_any_other_concatenation_is_refused(text: str) -> None:
    assert problem_of(parse_concat, text) is errors.INVALID_CONCAT


@given(st.lists(st.text(st.characters(exclude_characters=" "), min_size=1), min_size=1))
def test_written_references_are_read_back_in_order(references: list[str]) -> None:
    assert parse_concat(format_concat(references)) == tuple(references)
