import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.core.disposition import content_disposition, content_type, go_quote

OCTET_STREAM = "application/octet-stream"


@pytest.mark.parametrize(
    "claim",
    [
        "text/plain",
        "TEXT/Plain",
        "text",
        "text/plain; charset=utf-8",
        'text/plain;charset="utf-8"; a=b',
        r'text/plain; a="quoted \" mark"',
        "image/svg+xml",
    ],
)
def test_a_claim_that_is_a_media_type_is_sent_as_it_stands(claim: str) -> None:
    assert content_type({"filetype": claim}) == claim


@pytest.mark.parametrize(
    "claim",
    [
        "",
        "/",
        "text/",
        "text/plain/x",
        "te xt/plain",
        "text/plain; charset",
        "text/plain; =x",
        "text/plain; a=b; a=c",
        "text/plain; a=b; A=c",
        'text/plain; a="open',
        'text/plain; a="line\nbreak"',
        "text/plain\r\nSet-Cookie: a=b",
        "täxt/plain",
    ],
)
def test_a_claim_that_is_no_media_type_is_sent_as_plain_bytes(claim: str) -> None:
    assert content_type({"filetype": claim}) == OCTET_STREAM


def test_without_a_claim_a_download_is_plain_bytes_to_be_saved() -> None:
    assert content_type({}) == OCTET_STREAM
    assert content_disposition({}) == "attachment"


@pytest.mark.parametrize(
    "claim",
    [
        *("text/plain", "image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp", "application/ogg"),
        *("audio/wave", "audio/wav", "audio/x-wav", "audio/x-pn-wav", "audio/webm", "audio/ogg"),
        *("video/mp4", "video/webm", "video/ogg", "Video/MP4", "text/plain; charset=utf-8"),
    ],
)
def test_types_that_tusd_shows_in_place_are_shown_in_place(claim: str) -> None:
    assert content_disposition({"filetype": claim}) == "inline"


@pytest.mark.parametrize(
    "claim", ["text/html", "image/svg+xml", "application/pdf", "text/javascript", "text/xml", "text/plain; x", "junk/"]
)
def test_everything_else_is_saved(claim: str) -> None:
    assert content_disposition({"filetype": claim}) == "attachment"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", 'attachment;filename="a.png"'),
        ("", 'attachment;filename=""'),
        ('say "hi" \\o/', 'attachment;filename="say \\"hi\\" \\\\o/"'),
        ("a\tb\x01", 'attachment;filename="a\\tb\\x01"'),
        ("grün.txt", "attachment;filename=\"grün.txt\";filename*=UTF-8''gr%C3%BCn.txt"),
        ("\u20ac 1", "attachment;filename=\"\u20ac 1\";filename*=UTF-8''%E2%82%AC%201"),
    ],
)
def test_the_clients_name_follows_quoted_as_go_does_it(name: str, expected: str) -> None:
    assert content_disposition({"filename": name}) == expected


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('"\\', r'"\"\\"'),
        ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        ("\x00\x1b\x7f", r'"\x00\x1b\x7f"'),
        ("\u00a0", r'"\u00a0"'),
        ("\u0085\u2028\ufeff", r'"\u0085\u2028\ufeff"'),
        ("\U000e0001", r'"\U000e0001"'),
        ("ü€😀", '"ü€😀"'),
    ],
)
def test_what_cannot_be_printed_is_escaped(text: str, quoted: str) -> None:
    assert go_quote(text) == quoted


@given(st.dictionaries(st.sampled_from(["filename", "filetype"]), st.text(st.characters())))
def test_no_metadata_puts_a_control_character_into_the_disposition(metadata: dict[str, str]) -> None:
    value = content_disposition(metadata)
    assert value.isprintable()
    assert value.partition(";")[0] in {"inline", "attachment"}


@given(st.text(st.characters()))
def test_a_content_type_is_the_claim_or_plain_bytes(claim: str) -> None:
    assert content_type({"filetype": claim}) in {claim, OCTET_STREAM}
