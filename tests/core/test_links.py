import base64
import hashlib
import hmac
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tusd_py.core import errors
from tusd_py.core.errors import Problem, UploadError
from tusd_py.core.links import LinkSigner

OLD_KEY, KEY = b"1" * 32, b"2" * 32
FILE_ID = "f_0123456789abcdef0123456789abcdef"
EXPIRES = 1_900_000_000
NOW = EXPIRES - 60.0

SIGNER = LinkSigner([KEY])
GOOD_SIGNATURE = SIGNER.sign(FILE_ID, EXPIRES)

KEYS = st.binary(min_size=32, max_size=80)
FILE_IDS = st.text("0123456789abcdef", min_size=32, max_size=32).map("f_".__add__)
SUBJECTS = FILE_IDS | st.builds("{}/thumbnail/{}".format, FILE_IDS, st.integers(1, 4096))
EXPIRIES = st.integers(1, 10**12)
ANYTHING = st.text() | st.text("expires=sig&019-_%+ABC")


def problem_of(signer: LinkSigner, subject: str, query: str, now: float = NOW) -> Problem:
    with pytest.raises(UploadError) as caught:
        signer.verify(subject, query, now)
    return caught.value.problem


@given(KEYS, SUBJECTS, EXPIRIES)
def test_a_link_is_good_until_it_expires(key: bytes, subject: str, expires: int) -> None:
    signer = LinkSigner([key])
    query = signer.query(subject, expires)
    signer.verify(subject, query, 0)
    signer.verify(subject, query, expires - 0.001)
    assert problem_of(signer, subject, query, expires) is errors.INVALID_LINK
    assert problem_of(signer, subject, query, expires + 10**6) is errors.INVALID_LINK


@given(KEYS, SUBJECTS, EXPIRIES)
def test_the_signature_is_one_hmac_that_an_edge_can_make_too(key: bytes, subject: str, expires: int) -> None:
    digest = hmac.digest(key, f"{subject}:{expires}".encode(), hashlib.sha256)
    expected = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert LinkSigner([key]).query(subject, expires) == f"expires={expires}&sig={expected}"


@given(SUBJECTS, SUBJECTS, EXPIRIES)
def test_a_link_is_good_for_nothing_else(subject: str, other: str, expires: int) -> None:
    assume(subject != other)
    assert problem_of(SIGNER, other, SIGNER.query(subject, expires), 0) is errors.INVALID_LINK


@given(st.text("0123456789", min_size=1, max_size=30))
def test_a_link_with_another_expiry_is_not_good(expires: str) -> None:
    assume(expires != str(EXPIRES))
    assert problem_of(SIGNER, FILE_ID, f"expires={expires}&sig={GOOD_SIGNATURE}", 0) is errors.INVALID_LINK


@pytest.mark.parametrize(
    "expires", [f"0{EXPIRES}", f"+{EXPIRES}", f"{EXPIRES} ", f"{EXPIRES}.0", "1_900_000_000", "1.9e9", "١٩٠٠٠٠٠٠٠٠", ""]
)
def test_an_expiry_has_one_spelling(expires: str) -> None:
    assert problem_of(SIGNER, FILE_ID, f"expires={expires}&sig={GOOD_SIGNATURE}") is errors.INVALID_LINK


def test_an_expiry_of_more_digits_than_a_64_bit_number_has_is_not_good() -> None:
    assert problem_of(SIGNER, FILE_ID, SIGNER.query(FILE_ID, 10**19)) is errors.INVALID_LINK
    SIGNER.verify(FILE_ID, SIGNER.query(FILE_ID, 10**19 - 1), NOW)


@given(st.integers(0, 42), st.sampled_from(string.printable))
def test_a_signature_with_another_character_is_not_good(position: int, character: str) -> None:
    assume(character not in (GOOD_SIGNATURE[position], "&"))
    altered = GOOD_SIGNATURE[:position] + character + GOOD_SIGNATURE[position + 1 :]
    assert problem_of(SIGNER, FILE_ID, f"expires={EXPIRES}&sig={altered}") is errors.INVALID_LINK


@given(st.integers(0, 43), st.text("=. +/\n\x00é\ud800%AZaz09-_", min_size=1))
def test_a_signature_with_more_characters_is_not_good(position: int, characters: str) -> None:
    altered = GOOD_SIGNATURE[:position] + characters + GOOD_SIGNATURE[position:]
    assert problem_of(SIGNER, FILE_ID, f"expires={EXPIRES}&sig={altered}") is errors.INVALID_LINK


@given(st.integers(0, 42))
def test_a_signature_with_fewer_characters_is_not_good(length: int) -> None:
    assert problem_of(SIGNER, FILE_ID, f"expires={EXPIRES}&sig={GOOD_SIGNATURE[:length]}") is errors.INVALID_LINK


@given(KEYS)
def test_a_link_of_a_foreign_key_is_not_good(foreign: bytes) -> None:
    # HMAC fills a short key up with zeros.
    assume(foreign.rstrip(b"\0") != KEY)
    assert problem_of(SIGNER, FILE_ID, LinkSigner([foreign]).query(FILE_ID, EXPIRES)) is errors.INVALID_LINK


def test_after_a_rotation_links_of_the_old_key_are_good_and_new_ones_are_of_the_new_key() -> None:
    before, between, after = LinkSigner([OLD_KEY]), LinkSigner([OLD_KEY, KEY]), LinkSigner([KEY])
    old_link, new_link = before.query(FILE_ID, EXPIRES), between.query(FILE_ID, EXPIRES)
    between.verify(FILE_ID, old_link, NOW)
    between.verify(FILE_ID, new_link, NOW)
    assert new_link == after.query(FILE_ID, EXPIRES) != old_link
    after.verify(FILE_ID, new_link, NOW)
    assert problem_of(after, FILE_ID, old_link) is errors.INVALID_LINK


def test_the_order_of_the_parameters_does_not_matter() -> None:
    SIGNER.verify(FILE_ID, f"sig={GOOD_SIGNATURE}&expires={EXPIRES}", NOW)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "expires&sig",
        f"expires={EXPIRES}",
        f"sig={GOOD_SIGNATURE}",
        f"?expires={EXPIRES}&sig={GOOD_SIGNATURE}",
        f"expires={EXPIRES}&sig={GOOD_SIGNATURE}&",
        f"expires={EXPIRES}&sig={GOOD_SIGNATURE}&download=1",
        f"expires={EXPIRES};sig={GOOD_SIGNATURE}",
        f"Expires={EXPIRES}&Sig={GOOD_SIGNATURE}",
        f"%65xpires={EXPIRES}&sig={GOOD_SIGNATURE}",
        f"expires={EXPIRES}&sig=%{ord(GOOD_SIGNATURE[0]):02x}{GOOD_SIGNATURE[1:]}",
    ],
)
def test_a_query_that_is_not_exactly_that_of_a_link_is_not_good(query: str) -> None:
    assert problem_of(SIGNER, FILE_ID, query) is errors.INVALID_LINK


@pytest.mark.parametrize(
    "more", [f"expires={EXPIRES}", "expires=1", "expires", f"sig={GOOD_SIGNATURE}", "sig=", "a=1&a=1", "&"]
)
def test_a_parameter_that_stands_twice_is_said(more: str) -> None:
    assert problem_of(SIGNER, FILE_ID, f"{SIGNER.query(FILE_ID, EXPIRES)}&{more}") is errors.INVALID_QUERY
    assert problem_of(SIGNER, FILE_ID, f"{more}&{SIGNER.query(FILE_ID, EXPIRES)}") is errors.INVALID_QUERY


@given(ANYTHING)
def test_a_query_is_refused_as_an_upload_error_whatever_it_is(query: str) -> None:
    assert problem_of(SIGNER, FILE_ID, query) in (errors.INVALID_LINK, errors.INVALID_QUERY)


def test_what_is_said_of_a_link_does_not_hold_its_signature() -> None:
    for now, query in ((EXPIRES + 1, SIGNER.query(FILE_ID, EXPIRES)), (NOW, SIGNER.query(FILE_ID, EXPIRES) + "&a=b")):
        with pytest.raises(UploadError) as caught:
            SIGNER.verify(FILE_ID, query, now)
        assert GOOD_SIGNATURE not in repr(caught.value) + str(caught.value)
